// One lane of LayerNorm: CHANNELS values of a token per cycle, with a multiplier for each. They count in the token's
// moments, or they become codes:
//   moments:   sum = sum(x), squares = sum(x*x), from the x that have `first`; an x that does not exist must be 0
//   normalize: code = clamp((x*factor + offset + 2**d) >>> (d+1), +-qmax), d = distance + the channel's shift
// Bit i of the controls belongs to the x of i cycles ago: moments, normalize (at most one of them), first, and set (take
// factor, offset and distance, which hold for at least 4 cycles, for these x and all that follow). shift is that of the x
// of 3 cycles ago; without SHIFTS it is taken for 0. Moments go on over cycles without either, but not over codes.
// Cycles from x to its effect: sum 2, squares 5, code 6.
module layer_norm_lane #(
    parameter int CHANNEL_BITS = 8,
    parameter int CHANNELS = 2,
    parameter bit SHIFTS = 0,
    localparam int SUM_BITS = 16 + CHANNEL_BITS,
    localparam int SQUARES_BITS = SUM_BITS + 16,
    localparam int FACTOR_BITS = qvit_pkg::MULTIPLIER_BITS + CHANNEL_BITS,
    localparam int OFFSET_BITS = qvit_pkg::MULTIPLIER_BITS + SUM_BITS
) (
    input  logic                          clk,
    input  logic [CHANNELS-1:0][15:0]     x,
    // verilator lint_off UNUSEDSIGNAL  // not every control is needed at every stage
    input  logic [3:0]                    moments,
    input  logic [3:0]                    normalize,
    input  logic [3:0]                    first,
    input  logic [3:0]                    set,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [FACTOR_BITS-1:0]        factor,
    input  logic signed [OFFSET_BITS-1:0] offset,
    input  logic [5:0]                    distance,
    // verilator lint_off UNUSEDSIGNAL
    input  logic [CHANNELS-1:0][2:0]      shift,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [7:0]                    qmax,
    output logic signed [SUM_BITS-1:0]    sum,
    output logic [SQUARES_BITS-1:0]       squares,
    output logic [CHANNELS-1:0][7:0]      code
);
    // N*x - S is within SUM_BITS + 1 bits, its multiplier within 17 unsigned ones.
    localparam int TOTAL_BITS = SUM_BITS + 18;

    logic [CHANNELS-1:0][15:0]              x_q;
    logic signed [FACTOR_BITS:0]            factor_q;
    logic [CHANNELS-1:0][SQUARES_BITS-1:0]  partial;
    logic signed [SUM_BITS-1:0]             group_sum;
    logic [SQUARES_BITS-1:0]                group_squares;
    logic [5:0]                             distance_q;

    always_comb begin
        group_sum = '0;
        group_squares = '0;
        for (int c = 0; c < CHANNELS; c++) begin
            group_sum = group_sum + SUM_BITS'($signed(x_q[c]));
            group_squares = group_squares + partial[c];
        end
    end

    always_ff @(posedge clk) begin
        x_q <= x;
        if (set[0]) factor_q <= {1'b0, factor};
        if (moments[1]) sum <= (first[1] ? '0 : sum) + group_sum;
        if (set[3]) distance_q <= distance;
        squares <= group_squares;
    end

    for (genvar c = 0; c < CHANNELS; c++) begin : g_channel
        logic signed [FACTOR_BITS:0]  a;
        logic signed [TOTAL_BITS-1:0] total;
        logic [5:0]                   channel_distance;

        if (SHIFTS) begin : g_shift
            always_ff @(posedge clk) channel_distance <= (set[3] ? distance : distance_q) + 6'(shift[c]);
        end else begin : g_no_shift
            assign channel_distance = distance_q;
        end

        assign a = normalize[1] ? factor_q : (FACTOR_BITS + 1)'($signed(x_q[c]));

        // total <= a * x_q of two cycles ago + (normalize ? offset : first ? 0 : total)
        multiply_add #(.A_BITS(FACTOR_BITS + 1), .B_BITS(16), .TOTAL_BITS(TOTAL_BITS)) product (
            .clk, .a, .b(x_q[c]), .addend(TOTAL_BITS'(offset)), .set_addend(set[2]),
            .step(moments[3] || normalize[3]), .add(normalize[3]), .accumulate(!normalize[3] && !first[3]), .total
        );
        assign partial[c] = total[SQUARES_BITS-1:0];

        round_shift #(.WIDTH(TOTAL_BITS), .RESULT_BITS(8)) finish (
            .clk, .value(total), .distance(channel_distance), .qmax, .result(code[c])
        );
    end
endmodule
