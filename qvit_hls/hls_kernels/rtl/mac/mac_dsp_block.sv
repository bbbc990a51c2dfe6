// Rows by tokens whose products share DSP slices, with their adder trees and accumulators: two by two for
// A <= 7, three by one for A = 8. sum[row][token].
//
// A packed product holds the block's products in fields of 11 bits. The first slice of a cascade adds 1024 to
// each field, so every field is its sum + 1024, in 0..2047, and none borrows from the next: the field's highest
// bit, inverted, is the sum's sign, and the adders behind invert it for nothing.
//
// The cascade of chain c runs term_level(CHAINS, c) cycles late, when the adder tree takes its sum.
module mac_dsp_block #(
    parameter int A          = 7,
    parameter int T_K        = 8,
    parameter int SUM_BITS   = 20,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS,
    localparam int ROWS      = A == 8 ? 3 : 2,
    localparam int TOKENS    = A == 8 ? 1 : 2
) (
    input  logic                                      clk,
    input  logic                                      enable,
    input  logic                                      clear,
    input  logic [T_K-1:0][26:0]                      port_a,
    input  logic [T_K-1:0][17:0]                      port_b,
    output logic [ROWS-1:0][TOKENS-1:0][SUM_BITS-1:0] sum
);

    localparam int LINKS = mac_pkg::cascade_links(A, T_K);
    localparam int CHAINS = T_K / LINKS;
    localparam int FIELDS = ROWS * TOKENS;
    localparam int CARRIES = 2 * (mac_pkg::tree_adders(CHAINS, mac_pkg::tree_levels(CHAINS)) + 1);

    function automatic logic [47:0] half_of_each_field(input int fields);
        logic [47:0] half;
        half = '0;
        for (int i = 0; i < fields; i = i + 1) half[mac_pkg::FIELD*i+mac_pkg::FIELD-1] = 1'b1;
        half_of_each_field = half;
    endfunction

    logic [FIELDS-1:0][CHAINS-1:0][mac_pkg::FIELD-1:0] field;

    generate
        for (genvar c = 0; c < CHAINS; c++) begin : g_chain
            logic [47:0] packed_sum;
            dsp_chain #(
                .LINKS(LINKS),
                .DELAY(mac_pkg::term_level(CHAINS, c)),
                .ROUND(half_of_each_field(FIELDS))
            ) chain (
                .clk(clk),
                .port_a(port_a[c*LINKS+:LINKS]),
                .port_b(port_b[c*LINKS+:LINKS]),
                .sum(packed_sum)
            );
            for (genvar f = 0; f < FIELDS; f++) begin : g_field
                assign field[f][c] = packed_sum[mac_pkg::FIELD*f+:mac_pkg::FIELD];
            end
            logic unused;
            assign unused = &packed_sum;
        end

        for (genvar f = 0; f < FIELDS; f++) begin : g_tree
            sum_tree #(
                .TERMS(CHAINS),
                .TERM_BITS(mac_pkg::FIELD),
                .SUM_BITS(SUM_BITS),
                .OFFSET(1'b1),
                .STRUCTURAL(STRUCTURAL)
            ) tree (
                .clk(clk),
                .enable(enable),
                .clear(clear),
                .term(field[f]),
                .carry({CARRIES{1'b0}}),
                .sum(sum[f/TOKENS][f%TOKENS])
            );
        end
    endgenerate

endmodule
