// result = clamp((value + 2**(shift-1)) >>> shift, +-qmax): an arithmetic shift that rounds half up.
// 1 <= shift <= 50, 0 < qmax < 2**15. One value per cycle, latency 2; operands are sampled together.
//
// With w = value >>> (shift-1), the unclamped result is (w + 1) >>> 1. It leaves +-qmax exactly where
// w ^ sign (w, or -w-1 where w is negative) exceeds 2*qmax, so one comparison serves both bounds, and only
// the 16 low bits of w have to be shifted into place: any higher bit that differs from the sign saturates.
module round_shift #(
    parameter int WIDTH = 44
) (
    input  logic                    clk,
    input  logic signed [WIDTH-1:0] value,
    input  logic [5:0]              shift,
    input  logic [15:0]             qmax,
    output logic signed [15:0]      result
);
    // The window moves in three steps of 0..3, each a four-way choice per bit: by 16, by 4, by 1.
    localparam int RESULT = 16;
    localparam int BEFORE_1 = RESULT + 3;
    localparam int BEFORE_4 = BEFORE_1 + 12;
    localparam int EXTENDED = BEFORE_4 + 48 > WIDTH ? BEFORE_4 + 48 : WIDTH;

    logic signed [EXTENDED-1:0] extended;
    logic [BEFORE_4-1:0]        by_16;
    logic [BEFORE_1-1:0]        by_4;
    logic [RESULT-1:0]          by_1;
    logic                       sign;
    logic                       lost_16;
    logic                       lost_4;
    logic                       lost_1;
    logic [5:0]                 distance;

    assign extended = EXTENDED'(value);
    assign sign = value[WIDTH-1];
    assign distance = shift - 6'd1;

    always_comb begin
        case (distance[5:4])
            2'd0: by_16 = extended[0+:BEFORE_4];
            2'd1: by_16 = extended[16+:BEFORE_4];
            2'd2: by_16 = extended[32+:BEFORE_4];
            default: by_16 = extended[48+:BEFORE_4];
        endcase
        // Bits of the value above the window of 31.
        lost_16 = 1'b0;
        for (int i = BEFORE_4; i < WIDTH - 1; i++) begin
            if (value[i] != sign && (i >= BEFORE_4 + 32 ? distance[5:4] <= 2'd2 :
                                     i >= BEFORE_4 + 16 ? distance[5:4] <= 2'd1 : distance[5:4] == 2'd0))
                lost_16 = 1'b1;
        end
        case (distance[3:2])
            2'd0: by_4 = by_16[0+:BEFORE_1];
            2'd1: by_4 = by_16[4+:BEFORE_1];
            2'd2: by_4 = by_16[8+:BEFORE_1];
            default: by_4 = by_16[12+:BEFORE_1];
        endcase
        lost_4 = (distance[3:2] == 2'd0 && by_16[BEFORE_1+:4] != {4{sign}}) ||
                 (distance[3:2] <= 2'd1 && by_16[BEFORE_1+4+:4] != {4{sign}}) ||
                 (distance[3:2] <= 2'd2 && by_16[BEFORE_1+8+:4] != {4{sign}});
        case (distance[1:0])
            2'd0: by_1 = by_4[0+:RESULT];
            2'd1: by_1 = by_4[1+:RESULT];
            2'd2: by_1 = by_4[2+:RESULT];
            default: by_1 = by_4[3+:RESULT];
        endcase
        lost_1 = (distance[1:0] == 2'd0 && by_4[RESULT] != sign) ||
                 (distance[1:0] <= 2'd1 && by_4[RESULT+1] != sign) ||
                 (distance[1:0] <= 2'd2 && by_4[RESULT+2] != sign);
    end

    logic [RESULT-1:0] window_q;
    logic              sign_q;
    logic              lost_q;
    logic [15:0]       qmax_q;

    always_ff @(posedge clk) begin
        window_q <= by_1;
        sign_q <= sign;
        lost_q <= lost_16 || lost_4 || lost_1;
        qmax_q <= qmax;
    end

    // One adder rounds (window >> 1, plus its lowest bit) or makes the bound (qmax, or ~qmax + 1).
    logic        saturated;
    logic [15:0] base;
    logic        carry;

    assign saturated = lost_q || (window_q ^ {RESULT{sign_q}}) > {qmax_q[14:0], 1'b0};
    assign base = saturated ? qmax_q ^ {16{sign_q}} : {sign_q, window_q[RESULT-1:1]};
    assign carry = saturated ? sign_q : window_q[0];

    always_ff @(posedge clk) result <= base + {15'd0, carry};
endmodule
