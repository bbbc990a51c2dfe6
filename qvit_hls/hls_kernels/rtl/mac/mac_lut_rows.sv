// The atom rows in LUTs: delays their operands, once for a whole row or column, so that their accumulators
// work at the same clock edge as those of the DSP rows, ACCUMULATE edges after the one that takes operands.
module mac_lut_rows #(
    parameter int T_N        = 4,
    parameter int ROWS       = 2,
    parameter int T_K        = 8,
    parameter int A          = 7,
    parameter int SUM_BITS   = 20,
    parameter int ACCUMULATE = mac_pkg::mac_latency(A, T_K) - 1,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS
) (
    input  logic                                     clk,
    input  logic [ROWS-1:0]                          enable,
    input  logic [ROWS-1:0]                          clear,
    input  logic [ROWS-1:0][T_K-1:0][3:0]            weight,
    input  logic [T_N-1:0][T_K-1:0][A-1:0]           activation,
    output logic [ROWS-1:0][T_N-1:0][SUM_BITS-1:0]   sums
);

    localparam int LEVELS = mac_pkg::tree_levels(T_K);
    localparam int CARRIES = 2 * (mac_pkg::tree_adders(T_K, LEVELS) + 1);
    // Registers before the product of k = 0.
    localparam int LATE = ACCUMULATE - 1 - LEVELS;

    logic [ROWS-1:0][T_K-1:0][3:0]  late_weight;
    logic [T_N-1:0][T_K-1:0][A-1:0] late_activation;
    logic [ROWS-1:0][CARRIES-1:0]   carry;

    generate
        for (genvar k = 0; k < T_K; k++) begin : g_depth
            localparam int CYCLES = LATE + mac_pkg::term_level(T_K, k);
            localparam int CARRY_CYCLES = LATE + 1 + mac_pkg::adder_level(T_K, k / 2) - CYCLES;

            for (genvar m = 0; m < ROWS; m++) begin : g_weight
                delay_line #(.WIDTH(4), .CYCLES(CYCLES)) delay (
                    .clk(clk), .data(weight[m][k]), .delayed(late_weight[m][k])
                );
                delay_line #(.WIDTH(1), .CYCLES(CARRY_CYCLES)) carry_delay (
                    .clk(clk), .data(late_weight[m][k][1]), .delayed(carry[m][k])
                );
            end
            for (genvar n = 0; n < T_N; n++) begin : g_activation
                delay_line #(.WIDTH(A), .CYCLES(CYCLES)) delay (
                    .clk(clk), .data(activation[n][k]), .delayed(late_activation[n][k])
                );
            end
        end

        for (genvar m = 0; m < ROWS; m++) begin : g_rows
            for (genvar n = 0; n < T_N; n++) begin : g_tokens
                mac_lut_lane #(
                    .A(A), .T_K(T_K), .SUM_BITS(SUM_BITS), .STRUCTURAL(STRUCTURAL)
                ) lane (
                    .clk(clk), .enable(enable[m]), .clear(clear[m]),
                    .weight(late_weight[m]), .activation(late_activation[n]), .carry(carry[m]),
                    .sum(sums[m][n])
                );
            end
        end
    endgenerate

endmodule
