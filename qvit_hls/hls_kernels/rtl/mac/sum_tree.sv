// sum <= (clear ? 0 : sum) + the sum of all terms and carries, where `enable`; else it keeps its value.
//
// Ternary adders, registered at each level; the accumulator is the last of them. Term t is taken
// term_level(TERMS, t) cycles after term 0, carry c adder_level(TERMS, c / 2) cycles after term 0, `enable`
// and `clear` tree_levels(TERMS) cycles after it: skewed operands upstream are shared by many trees, waiting
// registers here would not be. The sum is there one cycle after that.
//
// OFFSET: a term is its value + 2**(TERM_BITS-1), unsigned: its highest bit, inverted, is the value's sign.
module sum_tree #(
    parameter int TERMS      = 4,
    parameter int TERM_BITS  = 11,
    parameter int SUM_BITS   = 20,
    parameter bit OFFSET     = 0,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS,
    localparam int LEVELS    = mac_pkg::tree_levels(TERMS),
    localparam int ADDERS    = mac_pkg::tree_adders(TERMS, LEVELS) + 1
) (
    input  logic                            clk,
    input  logic                            enable,
    input  logic                            clear,
    input  logic [TERMS-1:0][TERM_BITS-1:0] term,
    input  logic [2*ADDERS-1:0]             carry,
    output logic [SUM_BITS-1:0]             sum
);

    // Where a term's highest bit and its copies are.
    localparam logic [SUM_BITS-1:0] SIGN = OFFSET ? {SUM_BITS{1'b1}} << (TERM_BITS - 1) : '0;

    // Nodes at the input of each level, sign-extended. A term keeps its highest bit as it came until an adder
    // takes it.
    logic [LEVELS:0][TERMS-1:0][SUM_BITS-1:0] node;
    logic [SUM_BITS-1:0] second;
    logic [SUM_BITS-1:0] total;

    generate
        for (genvar l = 0; l <= LEVELS; l++) begin : g_level
            localparam int NODES = mac_pkg::tree_nodes(TERMS, l);
            localparam int TAKEN = NODES - mac_pkg::tree_terms(TERMS, l);
            localparam int BELOW = l == 0 ? 0 : mac_pkg::tree_nodes(TERMS, l - 1);
            localparam int BELOW_TAKEN = l == 0 ? 0 : BELOW - mac_pkg::tree_terms(TERMS, l - 1);
            localparam int ADDER = l == 0 ? 0 : mac_pkg::tree_adders(TERMS, l - 1);
            localparam int BITS = mac_pkg::node_bits(TERMS, TERM_BITS, l);

            for (genvar i = 0; i < TERMS; i++) begin : g_node
                if (i >= NODES) begin : g_none
                    assign node[l][i] = '0;
                end else if (i >= TAKEN) begin : g_term
                    localparam int TERM = TERMS - NODES + i;
                    assign node[l][i] = {{(SUM_BITS-TERM_BITS){term[TERM][TERM_BITS-1]}}, term[TERM]};
                end else begin : g_value
                    logic [BITS-1:0] value;
                    if (i < BELOW / 3) begin : g_sum
                        logic [BITS-1:0] next;
                        ternary_adder #(
                            .WIDTH(BITS),
                            .INVERT_A(3 * i >= BELOW_TAKEN ? SIGN[BITS-1:0] : '0),
                            .INVERT_B(3 * i + 1 >= BELOW_TAKEN ? SIGN[BITS-1:0] : '0),
                            .INVERT_C(3 * i + 2 >= BELOW_TAKEN ? SIGN[BITS-1:0] : '0),
                            .STRUCTURAL(STRUCTURAL)
                        ) adder (
                            .clear(1'b0),
                            .a(node[l-1][3*i][BITS-1:0]),
                            .b(node[l-1][3*i+1][BITS-1:0]),
                            .c(node[l-1][3*i+2][BITS-1:0]),
                            .carry(carry[2*(ADDER+i)+:2]),
                            .sum(next)
                        );
                        always_ff @(posedge clk) value <= next;
                    end else begin : g_pass
                        always_ff @(posedge clk) value <= node[l-1][BELOW-NODES+i][BITS-1:0];
                    end
                    assign node[l][i] = {{(SUM_BITS-BITS){value[BITS-1]}}, value};
                end
            end
        end

        if (mac_pkg::tree_nodes(TERMS, LEVELS) == 2) begin : g_two
            assign second = node[LEVELS][1];
        end else begin : g_one
            assign second = '0;
        end
    endgenerate

    localparam int LAST = mac_pkg::tree_nodes(TERMS, LEVELS);
    localparam int LAST_TAKEN = LAST - mac_pkg::tree_terms(TERMS, LEVELS);

    ternary_adder #(
        .WIDTH(SUM_BITS),
        .INVERT_B(LAST_TAKEN == 0 ? SIGN : '0),
        .INVERT_C(LAST == 2 && LAST_TAKEN < 2 ? SIGN : '0),
        .STRUCTURAL(STRUCTURAL)
    ) accumulator (
        .clear(clear),
        .a(sum),
        .b(node[LEVELS][0]),
        .c(second),
        .carry(carry[2*ADDERS-1-:2]),
        .sum(total)
    );

    always_ff @(posedge clk) if (enable) sum <= total;

endmodule
