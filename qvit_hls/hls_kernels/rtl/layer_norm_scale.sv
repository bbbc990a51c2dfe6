// From the moments of a token to what normalises it. With N channels, S = sum(x):
//   q = floor(sqrt(N * sum(x*x) - S*S + epsilon)),  (M, s) = reciprocal(q, multiplier, exponent)
//   factor = N * M,  offset = -S * M,  distance = s - 1
// so that requantize(N*x - S, M, s) = requantize(x*factor + offset, 1, s): one multiplication per value.
// One token per cycle, latency 6 + square_root's + reciprocal's. channels, epsilon, multiplier and exponent stay the
// same while values are inside.
module layer_norm_scale #(
    parameter int CHANNEL_BITS = 8,
    localparam int SUM_BITS = 16 + CHANNEL_BITS,
    localparam int SQUARES_BITS = SUM_BITS + 16,
    localparam int ROOT_BITS = 16 + CHANNEL_BITS,
    localparam int FACTOR_BITS = qvit_pkg::MULTIPLIER_BITS + CHANNEL_BITS,
    localparam int OFFSET_BITS = qvit_pkg::MULTIPLIER_BITS + SUM_BITS
) (
    input  logic                          clk,
    input  logic                          rst,
    input  logic [CHANNEL_BITS-1:0]       channels,
    input  logic [2*ROOT_BITS-1:0]        epsilon,
    input  logic [15:0]                   multiplier,
    input  logic [5:0]                    exponent,
    input  logic                          valid,
    input  logic signed [SUM_BITS-1:0]    sum,
    input  logic [SQUARES_BITS-1:0]       squares,
    output logic                          result_valid,
    output logic [FACTOR_BITS-1:0]        factor,
    output logic signed [OFFSET_BITS-1:0] offset,
    output logic [5:0]                    distance
);
    localparam int BITS_PER_STAGE = 2;
    localparam int ROOT_LATENCY = (ROOT_BITS + BITS_PER_STAGE - 1) / BITS_PER_STAGE;
    localparam int RECIPROCAL_LATENCY = $clog2(ROOT_BITS) + (qvit_pkg::MULTIPLIER_BITS + BITS_PER_STAGE - 1) / BITS_PER_STAGE;
    // Cycles that the sum waits for its multiplier, after the operand register.
    localparam int WAIT = 3 + ROOT_LATENCY + RECIPROCAL_LATENCY;

    // Operands, products, the products' second register, variance.
    logic signed [SUM_BITS-1:0] sum_q;
    logic [SQUARES_BITS-1:0]    squares_q;
    logic [2*ROOT_BITS-1:0]     total_m;
    logic [2*ROOT_BITS-1:0]     total_p;
    logic [2*ROOT_BITS-1:0]     square_m;
    logic [2*ROOT_BITS-1:0]     square_p;
    logic [2*ROOT_BITS-1:0]     variance;
    logic [3:0]                 valid_at;

    always_ff @(posedge clk) begin
        sum_q <= sum;
        squares_q <= squares;
        total_m <= (2 * ROOT_BITS)'(squares_q) * (2 * ROOT_BITS)'(channels);
        square_m <= (2 * ROOT_BITS)'(sum_q * sum_q);
        total_p <= total_m;
        square_p <= square_m;
        variance <= total_p - square_p + epsilon;
        if (rst) valid_at <= '0;
        else valid_at <= {valid_at[2:0], valid};
    end

    logic                     root_valid;
    logic [ROOT_BITS-1:0]     root;
    logic                     scaling_valid;
    qvit_pkg::scaling_value_t scaling;

    square_root #(.WIDTH(2 * ROOT_BITS), .BITS_PER_STAGE(BITS_PER_STAGE)) deviation (
        .clk, .rst, .valid(valid_at[3]), .value(variance), .result_valid(root_valid), .root
    );
    reciprocal #(.WIDTH(ROOT_BITS), .BITS_PER_STAGE(BITS_PER_STAGE)) inverse (
        .clk, .rst, .valid(root_valid), .denominator(root), .multiplier, .exponent, .result_valid(scaling_valid),
        .result(scaling)
    );

    logic [WAIT-1:0][SUM_BITS-1:0] waiting;
    logic signed [SUM_BITS-1:0]    minus_sum_q;
    logic signed [17:0]            multiplier_q;
    logic [5:0]                    distance_q;
    logic                          scaling_valid_q;

    always_ff @(posedge clk) begin
        waiting <= {waiting[WAIT-2:0], sum_q};
        minus_sum_q <= -waiting[WAIT-1];
        multiplier_q <= {1'b0, scaling.multiplier};
        distance_q <= scaling.shift - 6'd1;

        factor <= FACTOR_BITS'(multiplier_q[16:0]) * FACTOR_BITS'(channels);
        offset <= OFFSET_BITS'(minus_sum_q * multiplier_q);
        distance <= distance_q;

        scaling_valid_q <= scaling_valid && !rst;
        result_valid <= scaling_valid_q && !rst;
    end
endmodule
