// The bench of the MAC tile: tiles, their adders and multipliers alone, and cascades alone. Only the selected
// tile is clocked.
//
// Tiles have every activation width, each in three forms: adders as `+`, adders of LUTs and carry chains
// (where LUTS is set: such a model is slow to compile), and functional.
module mac_bench #(
    parameter int T_N      = 2,
    parameter int T_M      = 8,
    parameter int T_K      = 0,   // 0: 16 for A = 4, so that its cascade is as long as can be, else 8
    parameter int DSP_ROWS = 6,
    parameter int SUM_BITS = 24,
    parameter bit LUTS     = 0
) (
    input  logic        clk,
    input  logic        rst,
    input  logic [3:0]  width,  // A of the selected tile
    input  logic [1:0]  form,   // 0: `+`, 1: LUTs and carry chains, 2: functional
    input  logic        valid,
    input  logic        first,
    input  logic        last,
    input  byte         weight[T_M][32],
    input  byte         activation[T_N][32],
    output logic        sums_valid,
    output int          sums[T_M][T_N],
    output int          depth,
    output int          latency,

    input  int          a,
    input  int          b,
    input  int          c,
    input  logic        clear,
    input  logic [1:0]  carry,
    output int          adder_width[8],
    output int          adder_sum[8][2],
    output int          product[4:8][2],

    input  logic        cascade_clk,
    output int          field[4:7][2][4]
);

    logic [8:4][2:0]                                 tile_valid;
    logic [8:4][2:0][T_M-1:0][T_N-1:0][SUM_BITS-1:0] tile_sums;

    function automatic int depth_of(input int bits);
        return T_K != 0 ? T_K : bits == 4 ? 16 : 8;
    endfunction

    for (genvar bits = 4; bits <= 8; bits++) begin : g_width
        localparam int DEPTH = depth_of(bits);
        logic [T_M-1:0][DEPTH-1:0][3:0]      tile_weight;
        logic [T_N-1:0][DEPTH-1:0][bits-1:0] tile_activation;
        always_comb
            for (int k = 0; k < DEPTH; k++) begin
                for (int m = 0; m < T_M; m++) tile_weight[m][k] = weight[m][k][3:0];
                for (int n = 0; n < T_N; n++) tile_activation[n][k] = activation[n][k][bits-1:0];
            end
        for (genvar f = 0; f < 3; f++) begin : g_form
            if (f != 1 || LUTS) begin : g_built
                logic tile_clk;
                assign tile_clk = clk & (width == bits) & (form == f);
                mac_tile #(
                    .T_N(T_N), .T_M(T_M), .T_K(DEPTH), .A(bits), .DSP_ROWS(DSP_ROWS), .SUM_BITS(SUM_BITS),
                    .STRUCTURAL(f == 1), .FUNCTIONAL(f == 2)
                ) tile (
                    .clk(tile_clk), .rst(rst), .valid(valid), .first(first), .last(last),
                    .weight(tile_weight), .activation(tile_activation),
                    .sums_valid(tile_valid[bits][f]), .sums(tile_sums[bits][f])
                );
            end else begin : g_absent
                assign tile_valid[bits][f] = 1'b0;
                assign tile_sums[bits][f] = '0;
            end
        end
    end

    assign sums_valid = tile_valid[width][form];
    always_comb
        for (int m = 0; m < T_M; m++)
            for (int n = 0; n < T_N; n++) sums[m][n] = int'($signed(tile_sums[width][form][m][n]));
    assign depth = depth_of(int'(width));
    assign latency = mac_pkg::mac_latency(int'(width), depth_of(int'(width)));

    mac_leaves leaves (
        .a(a), .b(b), .c(c), .clear(clear), .carry(carry), .weight(weight[0][0][3:0]),
        .adder_width(adder_width), .adder_sum(adder_sum), .product(product)
    );

    mac_cascades cascades (
        .clk(cascade_clk), .w0(weight[0]), .w1(weight[1]), .x0(activation[0]), .x1(activation[1]),
        .field(field)
    );

endmodule
