// One lane of LayerNorm: a token's moments in one pass over its channels, its codes in another, with one multiplier.
//   normalize = 0: sum = sum(x), squares = sum(x*x), from the x that has `first`
//   normalize = 1: code = clamp((x*factor + offset + 2**distance) >>> (distance+1), +-qmax)
// One x per cycle. Bit i of the controls belongs to the x of i cycles ago: step (there was one), first, normalize, and
// set (take factor, offset and distance, which hold for at least 4 cycles, for this x and all that follow).
// Cycles from x to its effect: sum 2, squares 4, code 6.
module layer_norm_lane #(
    parameter int CHANNEL_BITS = 8,
    localparam int SUM_BITS = 16 + CHANNEL_BITS,
    localparam int SQUARES_BITS = SUM_BITS + 16,
    localparam int FACTOR_BITS = qvit_pkg::MULTIPLIER_BITS + CHANNEL_BITS,
    localparam int OFFSET_BITS = qvit_pkg::MULTIPLIER_BITS + SUM_BITS
) (
    input  logic                          clk,
    input  logic signed [15:0]            x,
    // verilator lint_off UNUSEDSIGNAL  // not every control is needed at every stage
    input  logic [3:0]                    step,
    input  logic [3:0]                    first,
    input  logic [3:0]                    normalize,
    input  logic [3:0]                    set,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [FACTOR_BITS-1:0]        factor,
    input  logic signed [OFFSET_BITS-1:0] offset,
    input  logic [5:0]                    distance,
    input  logic [7:0]                    qmax,
    output logic signed [SUM_BITS-1:0]    sum,
    output logic [SQUARES_BITS-1:0]       squares,
    output logic signed [7:0]             code
);
    // N*x - S is within SUM_BITS + 1 bits, its multiplier within 17 unsigned ones.
    localparam int TOTAL_BITS = SUM_BITS + 18;

    logic signed [15:0]           x_q;
    logic signed [FACTOR_BITS:0]  factor_q;
    logic signed [FACTOR_BITS:0]  a;
    logic signed [TOTAL_BITS-1:0] total;
    logic [5:0]                   distance_q;

    assign a = normalize[1] ? factor_q : (FACTOR_BITS + 1)'(x_q);

    always_ff @(posedge clk) begin
        x_q <= x;
        if (set[0]) factor_q <= {1'b0, factor};
        if (step[1]) sum <= (first[1] ? '0 : sum) + SUM_BITS'(x_q);
        if (set[3]) distance_q <= distance;
    end

    // total <= a * x_q of two cycles ago + (normalize ? offset : first ? 0 : total)
    multiply_add #(.A_BITS(FACTOR_BITS + 1), .B_BITS(16), .TOTAL_BITS(TOTAL_BITS)) product (
        .clk, .a, .b(x_q), .addend(TOTAL_BITS'(offset)), .set_addend(set[2]), .step(step[3]), .add(normalize[3]),
        .accumulate(!normalize[3] && !first[3]), .total
    );
    assign squares = total[SQUARES_BITS-1:0];

    round_shift #(.WIDTH(TOTAL_BITS), .RESULT_BITS(8)) finish (
        .clk, .value(total), .distance(distance_q), .qmax, .result(code)
    );
endmodule
