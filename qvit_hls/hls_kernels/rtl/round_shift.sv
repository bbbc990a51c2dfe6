// result = clamp((value + 2**distance) >>> (distance+1), +-qmax): an arithmetic shift that rounds half up. WIDTH <= 64,
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

    logic signed [63:0]  extended;
    logic [BEFORE_4-1:0] by_16;
    logic [BEFORE_1-1:0] by_4;
    logic [WINDOW-1:0]   by_1;
    logic [3:0]          step_16;
    logic [3:0]          step_4;
    logic [3:0]          step_1;
    logic                sign;

    assign extended = 64'(value);
    assign sign = value[WIDTH-1];
    assign step_16 = 4'd1 << distance[5:4];
    assign step_4 = 4'd1 << distance[3:2];
    assign step_1 = 4'd1 << distance[1:0];

    assign by_16 = ({BEFORE_4{step_16[0]}} & BEFORE_4'(extended)) |
                   ({BEFORE_4{step_16[1]}} & BEFORE_4'(extended >>> 16)) |
                   ({BEFORE_4{step_16[2]}} & BEFORE_4'(extended >>> 32)) |
                   ({BEFORE_4{step_16[3]}} & BEFORE_4'(extended >>> 48));
    assign by_4 = ({BEFORE_1{step_4[0]}} & by_16[0+:BEFORE_1]) | ({BEFORE_1{step_4[1]}} & by_16[4+:BEFORE_1]) |
                  ({BEFORE_1{step_4[2]}} & by_16[8+:BEFORE_1]) | ({BEFORE_1{step_4[3]}} & by_16[12+:BEFORE_1]);
    assign by_1 = ({WINDOW{step_1[0]}} & by_4[0+:WINDOW]) | ({WINDOW{step_1[1]}} & by_4[1+:WINDOW]) |
                  ({WINDOW{step_1[2]}} & by_4[2+:WINDOW]) | ({WINDOW{step_1[3]}} & by_4[3+:WINDOW]);

    // Bits above the window are lost unless a step moves them in; they must equal the sign.
    logic [63:0]          over_16;
    logic [11:0]          over_4;
    logic [2:0]           over_1;
    logic                 lost;

    assign over_16 = (extended ^ {64{sign}}) >> BEFORE_4;
    assign over_4 = by_16[BEFORE_4-1:BEFORE_1] ^ {12{sign}};
    assign over_1 = by_4[BEFORE_1-1:WINDOW] ^ {3{sign}};
    assign lost = (step_16[0] && over_16 != '0) || (step_16[1] && over_16 >> 16 != '0) ||
                  (step_16[2] && over_16 >> 32 != '0) || (step_4[0] && over_4 != '0) ||
                  (step_4[1] && over_4[11:4] != '0) || (step_4[2] && over_4[11:8] != '0) ||
                  (step_1[0] && over_1 != '0) || (step_1[1] && over_1[2:1] != '0) || (step_1[2] && over_1[2]);

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
