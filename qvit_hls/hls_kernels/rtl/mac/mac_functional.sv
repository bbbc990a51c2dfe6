// What mac_tile computes, from plain arithmetic: for fast simulation of large tiles only.
//
// Loops over native integers, which a simulator compiles to loops; the accumulators go out only with `last`,
// because nothing else may look at them.
module mac_functional #(
    parameter int T_N      = 4,
    parameter int T_M      = 4,
    parameter int T_K      = 8,
    parameter int A        = 7,
    parameter int SUM_BITS = 20,
    parameter int DELAY    = 6
) (
    input  logic                                   clk,
    input  logic                                   rst,
    input  logic                                   valid,
    input  logic                                   first,
    input  logic                                   last,
    input  logic [T_M-1:0][T_K-1:0][3:0]           weight,
    input  logic [T_N-1:0][T_K-1:0][A-1:0]         activation,
    output logic [T_M-1:0][T_N-1:0][SUM_BITS-1:0]  sums
);

`ifndef SYNTHESIS
    // Steps under way, as a ring.
    logic [T_M-1:0][T_K-1:0][3:0]   late_weight[DELAY];
    logic [T_N-1:0][T_K-1:0][A-1:0] late_activation[DELAY];
    logic [2:0]                     late_control[DELAY];
    int                             at;
    initial at = 0;

    // Sizes of powers of two need no bound checks.
    localparam int LANES = 1 << $clog2(T_N);
    int x[1<<$clog2(T_K)][LANES];
    int accumulator[1<<$clog2(T_M)][LANES];

    // A model of the tile's state, not registers: later statements see what earlier ones assigned.
    /* verilator lint_off BLKSEQ */
    always_ff @(posedge clk) begin
        if (late_control[at][2]) begin
            /* verilator unroll_disable */
            for (int k = 0; k < T_K; k++) begin
                /* verilator unroll_disable */
                for (int n = 0; n < T_N; n++) x[k][n] = int'($signed(late_activation[at][n][k]));
            end
            /* verilator unroll_disable */
            for (int m = 0; m < T_M; m++) begin
                if (late_control[at][1]) begin
                    /* verilator unroll_disable */
                    for (int n = 0; n < T_N; n++) accumulator[m][n] = 0;
                end
                /* verilator unroll_disable */
                for (int k = 0; k < T_K; k++) begin
                    automatic int w = int'($signed(late_weight[at][m][k]));
                    /* verilator unroll_disable */
                    for (int n = 0; n < T_N; n++) accumulator[m][n] = accumulator[m][n] + w * x[k][n];
                end
            end
            if (late_control[at][0]) begin
                /* verilator unroll_disable */
                for (int m = 0; m < T_M; m++) begin
                    /* verilator unroll_disable */
                    for (int n = 0; n < T_N; n++) sums[m][n] <= accumulator[m][n][SUM_BITS-1:0];
                end
            end
        end
        late_weight[at] = weight;
        late_activation[at] = activation;
        late_control[at] = {valid, first, last};
        if (rst) for (int i = 0; i < DELAY; i++) late_control[i] = '0;
        at = at == DELAY - 1 ? 0 : at + 1;
    end
    /* verilator lint_on BLKSEQ */
`endif

endmodule
