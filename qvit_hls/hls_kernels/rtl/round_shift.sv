// result = clamp((value + 2**distance) >>> (distance+1), +-qmax): an arithmetic shift that rounds half up.
// 0 <= distance <= 49, 0 < qmax < 2**(RESULT_BITS-1). One value per cycle, latency 2; operands are sampled together.
//
// With w = value >>> distance, the unclamped result is (w + 1) >>> 1. It leaves +-qmax exactly where
// w ^ sign (w, or -w-1 where w is negative) exceeds 2*qmax, so one comparison serves both bounds, and only
// the RESULT_BITS low bits of w have to be shifted into place: any higher bit that differs from the sign saturates.
module round_shift #(
    parameter int WIDTH = 44,
    parameter int RESULT_BITS = 16
) (
    input  logic                          clk,
    input  logic signed [WIDTH-1:0]       value,
    input  logic [5:0]                    distance,
    input  logic [RESULT_BITS-1:0]        qmax,
    output logic signed [RESULT_BITS-1:0] result
);
    // The window moves in three steps, by 16, 4 and 1 times 0..3: one LUT per bit each. Choices are written as
    // sums of products, because mux trees share their first level between bits and then cost two LUTs per bit.
    localparam int WINDOW = RESULT_BITS;
    localparam int BEFORE_1 = WINDOW + 3;
    localparam int BEFORE_4 = BEFORE_1 + 12;
    localparam int EXTENDED = BEFORE_4 + 48 > WIDTH ? BEFORE_4 + 48 : WIDTH;

    logic signed [EXTENDED-1:0] extended;
    logic [BEFORE_4-1:0]        by_16;
    logic [BEFORE_1-1:0]        by_4;
    logic [WINDOW-1:0]          by_1;
    logic [3:0]                 steps_16;
    logic [3:0]                 steps_4;
    logic [3:0]                 steps_1;
    logic                       sign;
    logic                       lost;

    assign extended = EXTENDED'(value);
    assign sign = value[WIDTH-1];
    assign steps_16 = 4'd1 << distance[5:4];
    assign steps_4 = 4'd1 << distance[3:2];
    assign steps_1 = 4'd1 << distance[1:0];

    always_comb begin
        for (int i = 0; i < BEFORE_4; i++)
            by_16[i] = |({extended[i+48], extended[i+32], extended[i+16], extended[i]} & steps_16);
        for (int i = 0; i < BEFORE_1; i++)
            by_4[i] = |({by_16[i+12], by_16[i+8], by_16[i+4], by_16[i]} & steps_4);
        for (int i = 0; i < WINDOW; i++)
            by_1[i] = |({by_4[i+3], by_4[i+2], by_4[i+1], by_4[i]} & steps_1);

        // A bit above the window is lost unless the step moves it in.
        lost = 1'b0;
        for (int i = BEFORE_4; i < WIDTH - 1; i++)
            for (int step = 0; step < 4; step++)
                if (i >= BEFORE_4 + 16 * step && steps_16[step] && value[i] != sign) lost = 1'b1;
        for (int i = BEFORE_1; i < BEFORE_4; i++)
            for (int step = 0; step < 4; step++)
                if (i >= BEFORE_1 + 4 * step && steps_4[step] && by_16[i] != sign) lost = 1'b1;
        for (int i = WINDOW; i < BEFORE_1; i++)
            for (int step = 0; step < 4; step++)
                if (i >= WINDOW + step && steps_1[step] && by_4[i] != sign) lost = 1'b1;
    end

    logic [WINDOW-1:0] window_q;
    logic [WINDOW-1:0] qmax_q;
    logic              sign_q;
    logic              lost_q;

    always_ff @(posedge clk) begin
        window_q <= by_1;
        qmax_q <= qmax;
        sign_q <= sign;
        lost_q <= lost;
    end

    // One adder rounds (window >> 1, plus its lowest bit) or makes the bound (qmax, or ~qmax + 1).
    logic              saturated;
    logic [WINDOW-1:0] base;
    logic              carry;

    assign saturated = lost_q || (window_q ^ {WINDOW{sign_q}}) > {qmax_q[WINDOW-2:0], 1'b0};
    assign base = saturated ? qmax_q ^ {WINDOW{sign_q}} : {sign_q, window_q[WINDOW-1:1]};
    assign carry = saturated ? sign_q : window_q[0];

    always_ff @(posedge clk) result <= base + WINDOW'(carry);
endmodule
