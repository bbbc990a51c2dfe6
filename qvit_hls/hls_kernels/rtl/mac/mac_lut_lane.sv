// One atom row by one token in LUTs, with its adder tree and accumulator.
//
// weight[k] and activation[k] come term_level(T_K, k) cycles after those of k = 0, and carry[c], the low Booth
// digit's sign of weight c, 1 + adder_level(T_K, c / 2) cycles after them; carries are shared by all tokens.
// `enable` and `clear` come tree_levels(T_K) + 1 cycles after weight[0].
module mac_lut_lane #(
    parameter int A          = 7,
    parameter int T_K        = 8,
    parameter int SUM_BITS   = 20,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS,
    localparam int CARRIES   = 2 * (mac_pkg::tree_adders(T_K, mac_pkg::tree_levels(T_K)) + 1)
) (
    input  logic                  clk,
    input  logic                  enable,
    input  logic                  clear,
    input  logic [T_K-1:0][3:0]   weight,
    input  logic [T_K-1:0][A-1:0] activation,
    input  logic [CARRIES-1:0]    carry,
    output logic [SUM_BITS-1:0]   sum
);

    logic [T_K-1:0][A+2:0] product;
    logic [T_K-1:0][A+2:0] term;

    generate
        for (genvar k = 0; k < T_K; k++) begin : g_product
            booth_product #(
                .A(A),
                .STRUCTURAL(STRUCTURAL)
            ) multiplier (
                .weight(weight[k]),
                .activation(activation[k]),
                .product(product[k])
            );
        end
    endgenerate

    always_ff @(posedge clk) term <= product;

    sum_tree #(
        .TERMS(T_K),
        .TERM_BITS(A + 3),
        .SUM_BITS(SUM_BITS),
        .OFFSET(1'b0),
        .STRUCTURAL(STRUCTURAL)
    ) tree (
        .clk(clk),
        .enable(enable),
        .clear(clear),
        .term(term),
        .carry(carry),
        .sum(sum)
    );

endmodule
