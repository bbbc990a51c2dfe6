// multiplier / 2**exponent / denominator as multiplier and shift: result.multiplier = (multiplier << z) / denominator
// and result.shift = exponent + z, z the bit length of the denominator; a denominator of 0 counts as 1.
// multiplier and exponent stay the same while values are inside. One value per cycle; latency
// $clog2(WIDTH) + ceil(17 / BITS_PER_STAGE).
//
// With the denominator shifted until its top bit is set, the quotient is (multiplier << WIDTH) / shifted: 17 bits,
// found by non-restoring division: the sign of each partial remainder is a quotient bit and says whether the
// next step subtracts or adds.
module reciprocal #(
    parameter int WIDTH = 16,
    parameter int BITS_PER_STAGE = 2
) (
    input  logic                     clk,
    input  logic                     rst,
    input  logic                     valid,
    input  logic [WIDTH-1:0]         denominator,
    input  logic [15:0]              multiplier,
    input  logic [5:0]               exponent,
    output logic                     result_valid,
    output qvit_pkg::scaling_value_t result
);
    localparam int LEVELS = $clog2(WIDTH);
    localparam int STEPS = qvit_pkg::MULTIPLIER_BITS;
    localparam int STAGES = (STEPS + BITS_PER_STAGE - 1) / BITS_PER_STAGE;

    // Shift left by 2**(LEVELS-1), .., 1, each where that many top bits are 0. The shift itself is `distance`.
    logic [LEVELS:0][WIDTH-1:0]  shifted;
    logic [LEVELS:0][LEVELS-1:0] distance;

    assign shifted[0] = {denominator[WIDTH-1:1], denominator[0] || denominator == '0};
    assign distance[0] = '0;
    for (genvar level = 0; level < LEVELS; level++) begin : g_level
        localparam int BY = 1 << (LEVELS - 1 - level);
        logic              empty;
        logic [WIDTH-1:0]  shifted_q;
        logic [LEVELS-1:0] distance_q;
        assign empty = shifted[level][WIDTH-1-:BY] == '0;
        always_ff @(posedge clk) begin
            shifted_q <= empty ? shifted[level] << BY : shifted[level];
            distance_q <= LEVELS'({distance[level], empty});
        end
        assign shifted[level+1] = shifted_q;
        assign distance[level+1] = distance_q;
    end

    // Step i finds quotient bit 16 - i. The numerator's top WIDTH bits are the first partial remainder, the others
    // follow one per step. A remainder is within -divisor..divisor-1, so WIDTH + 1 bits hold it, modulo or not.
    // verilator lint_off UNUSEDSIGNAL  // of the last step only the quotient is read
    logic [STEPS:0][WIDTH:0]          remainder;
    logic [STEPS:0][WIDTH-1:0]        divisor;
    // verilator lint_on UNUSEDSIGNAL
    logic [STEPS:0][STEPS-1:0]        quotient;
    logic [WIDTH+STEPS-2:0]           numerator;

    assign numerator = {multiplier, {WIDTH{1'b0}}};
    assign divisor[0] = shifted[LEVELS];
    assign remainder[0] = '0;  // not read
    assign quotient[0] = '0;
    for (genvar i = 0; i < STEPS; i++) begin : g_step
        logic             subtract;
        logic [WIDTH:0]   partial;
        // The lowest bit of this sum makes the carry-in of the others.
        logic [WIDTH+1:0] sum;
        if (i == 0) begin : g_first
            assign subtract = 1'b1;
            assign partial = {1'b0, numerator[WIDTH+STEPS-2-:WIDTH]};
        end else begin : g_next
            assign subtract = ~remainder[i][WIDTH];
            assign partial = {remainder[i][WIDTH-1:0], numerator[STEPS-1-i]};
        end
        assign sum = {partial, 1'b1} + {subtract, divisor[i] ^ {WIDTH{subtract}}, subtract};
        if ((i + 1) % BITS_PER_STAGE == 0 || i == STEPS - 1) begin : g_register
            logic [WIDTH:0]   remainder_q;
            logic [WIDTH-1:0] divisor_q;
            logic [STEPS-1:0] quotient_q;
            always_ff @(posedge clk) begin
                remainder_q <= sum[WIDTH+1:1];
                divisor_q <= divisor[i];
                quotient_q <= {quotient[i][STEPS-2:0], ~sum[WIDTH+1]};
            end
            assign remainder[i+1] = remainder_q;
            assign divisor[i+1] = divisor_q;
            assign quotient[i+1] = quotient_q;
        end else begin : g_wire
            assign remainder[i+1] = sum[WIDTH+1:1];
            assign divisor[i+1] = divisor[i];
            assign quotient[i+1] = {quotient[i][STEPS-2:0], ~sum[WIDTH+1]};
        end
    end

    logic [STAGES-1:0][LEVELS-1:0] distance_at;
    logic [LEVELS+STAGES-1:0]      valid_at;

    always_ff @(posedge clk) begin
        distance_at[0] <= distance[LEVELS];
        for (int i = 1; i < STAGES; i++) distance_at[i] <= distance_at[i-1];
        if (rst) valid_at <= '0;
        else valid_at <= (LEVELS + STAGES)'({valid_at, valid});
    end

    assign result.multiplier = quotient[STEPS];
    assign result.shift = exponent + qvit_pkg::SHIFT_BITS'(WIDTH) - qvit_pkg::SHIFT_BITS'(distance_at[STAGES-1]);
    assign result_valid = valid_at[LEVELS+STAGES-1];
endmodule
