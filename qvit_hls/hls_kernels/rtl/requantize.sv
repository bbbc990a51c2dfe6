// result = clamp((value * multiplier + 2**(shift-1)) >>> shift, +-qmax): the engine's requantization.
// 1 <= shift <= 50, 0 < qmax < 2**15. One value per cycle, latency qvit_pkg::REQUANTIZE_LATENCY = 4; operands are
// sampled together. Registers: operands, product (both inside a DSP48E2 for WIDTH <= 27), window, result.
module requantize #(
    parameter int WIDTH = 27
) (
    input  logic                    clk,
    input  logic signed [WIDTH-1:0] value,
    input  logic [16:0]             multiplier,
    input  logic [5:0]              shift,
    input  logic [15:0]             qmax,
    output logic signed [15:0]      result
);
    /* verilator no_inline_module */  // simulated once, for all lanes
    localparam int PRODUCT = WIDTH + 17;

    logic signed [WIDTH-1:0]   value_q;
    logic signed [17:0]        multiplier_q;
    logic signed [PRODUCT-1:0] product_q;
    logic [5:0]                distance_q;
    logic [5:0]                distance_qq;
    logic [15:0]               qmax_q;
    logic [15:0]               qmax_qq;

    always_ff @(posedge clk) begin
        value_q <= value;
        multiplier_q <= {1'b0, multiplier};
        distance_q <= shift - 6'd1;
        qmax_q <= qmax;

        product_q <= PRODUCT'(value_q * multiplier_q);
        distance_qq <= distance_q;
        qmax_qq <= qmax_q;
    end

    round_shift #(.WIDTH(PRODUCT)) finish (
        .clk, .value(product_q), .distance(distance_qq), .qmax(qmax_qq), .result
    );
endmodule
