// The MAC tile: T_M atom rows x T_N tokens of accumulators, T_K products each per cycle.
//
//   sums[m][n] = (first ? 0 : sums[m][n]) + sum over k of weight[m][k] * activation[n][k]
//
// weight: signed, 4 bits. activation: signed, A bits, without -2**(A-1). A step is taken in every cycle with
// `valid`; its effect is in `sums` mac_latency(A, T_K) cycles later, and sums_valid says so for one cycle if
// the step had `last`. The step behind may change `sums` in the cycle after that. SUM_BITS must hold every
// partial sum, and those of one step: A + 3 + clog2(T_K) bits at least.
//
// Rows 0..DSP_ROWS-1 are on DSP slices (T_M x T_N lanes need DSP_ROWS to be a multiple of 2 and T_N even for
// A <= 7, DSP_ROWS a multiple of 3 for A = 8), the others in LUTs. Operands are packed and delayed once for a
// whole row or column of blocks. FUNCTIONAL: the same sums at the same times from plain arithmetic.
module mac_tile #(
    parameter int T_N        = 4,
    parameter int T_M        = 4,
    parameter int T_K        = 8,
    parameter int A          = 7,
    parameter int DSP_ROWS   = 4,
    parameter int SUM_BITS   = 20,
    parameter bit FUNCTIONAL = 0,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS
) (
    input  logic                                   clk,
    input  logic                                   rst,
    input  logic                                   valid,
    input  logic                                   first,
    input  logic                                   last,
    input  logic [T_M-1:0][T_K-1:0][3:0]           weight,
    input  logic [T_N-1:0][T_K-1:0][A-1:0]         activation,
    output logic                                   sums_valid,
    output logic [T_M-1:0][T_N-1:0][SUM_BITS-1:0]  sums
);

    // The accumulators' clock edge, counted from the one that takes the operands.
    localparam int ACCUMULATE = mac_pkg::mac_latency(A, T_K) - 1;

    // Step control; bit i is i + 1 cycles old.
    logic [ACCUMULATE:0] valid_after;
    logic [ACCUMULATE:0] last_after;

    always_ff @(posedge clk) begin
        if (rst) valid_after <= '0;
        else valid_after <= {valid_after[ACCUMULATE-1:0], valid};
        last_after <= {last_after[ACCUMULATE-1:0], last};
    end
    assign sums_valid = valid_after[ACCUMULATE] & last_after[ACCUMULATE];

    generate
        if (FUNCTIONAL) begin : g_functional
            mac_functional #(
                .T_N(T_N), .T_M(T_M), .T_K(T_K), .A(A), .SUM_BITS(SUM_BITS), .DELAY(ACCUMULATE)
            ) tile (
                .clk(clk), .rst(rst), .valid(valid), .first(first), .last(last),
                .weight(weight), .activation(activation), .sums(sums)
            );
        end else begin : g_lanes
            // One copy of the accumulators' control for each row: equal registers that must not be merged.
            (* keep = "true" *) logic [T_M-1:0] enable;
            (* keep = "true" *) logic [T_M-1:0] clear;
            logic first_before;
            delay_line #(.WIDTH(1), .CYCLES(ACCUMULATE - 1)) first_delay (
                .clk(clk), .data(first), .delayed(first_before)
            );
            always_ff @(posedge clk) begin
                enable <= {T_M{valid_after[ACCUMULATE-2] & ~rst}};
                clear  <= {T_M{first_before}};
            end

            if (DSP_ROWS > 0) begin : g_dsp
                mac_dsp_rows #(
                    .T_N(T_N), .ROWS(DSP_ROWS), .T_K(T_K), .A(A), .SUM_BITS(SUM_BITS), .STRUCTURAL(STRUCTURAL)
                ) rows (
                    .clk(clk), .enable(enable[DSP_ROWS-1:0]), .clear(clear[DSP_ROWS-1:0]),
                    .weight(weight[DSP_ROWS-1:0]), .activation(activation), .sums(sums[DSP_ROWS-1:0])
                );
            end
            if (DSP_ROWS < T_M) begin : g_luts
                mac_lut_rows #(
                    .T_N(T_N), .ROWS(T_M - DSP_ROWS), .T_K(T_K), .A(A), .SUM_BITS(SUM_BITS),
                    .ACCUMULATE(ACCUMULATE), .STRUCTURAL(STRUCTURAL)
                ) rows (
                    .clk(clk), .enable(enable[T_M-1:DSP_ROWS]), .clear(clear[T_M-1:DSP_ROWS]),
                    .weight(weight[T_M-1:DSP_ROWS]), .activation(activation), .sums(sums[T_M-1:DSP_ROWS])
                );
            end
        end
    endgenerate

`ifndef SYNTHESIS
    initial begin
        if (A < 4 || A > 8) $fatal(1, "mac_tile: A is %0d; it is 4 to 8", A);
        if (T_K < 2 || T_K > 32 || (T_K & (T_K - 1)) != 0)
            $fatal(1, "mac_tile: T_K is %0d; it is a power of two from 2 to 32", T_K);
        if (DSP_ROWS > T_M || DSP_ROWS % (A == 8 ? 3 : 2) != 0)
            $fatal(1, "mac_tile: DSP_ROWS is %0d; it is a multiple of %0d up to T_M = %0d", DSP_ROWS,
                   A == 8 ? 3 : 2, T_M);
        if (A < 8 && DSP_ROWS > 0 && T_N % 2 != 0)
            $fatal(1, "mac_tile: T_N is %0d; DSP rows with A <= 7 take tokens in pairs", T_N);
        if (SUM_BITS < A + 3 + $clog2(T_K))
            $fatal(1, "mac_tile: SUM_BITS is %0d; one step's sum takes %0d", SUM_BITS, A + 3 + $clog2(T_K));
    end
`endif

endmodule
