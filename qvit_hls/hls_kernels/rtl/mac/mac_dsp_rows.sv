// The atom rows on DSP slices: packs the operands, delays them, and feeds the blocks.
//
//   A <= 7: port A = (w1 << 22) + w0,                port B = (x1 << 11) + x0
//   A = 8:  port A = (w2 << 22) + (w1 << 11) + w0,   port B = x
//
// A port is made once for all blocks that share it. Product k belongs to link i of chain c; it is needed
// i + term_level(CHAINS, c) cycles late, of which the slice's second operand register is one.
module mac_dsp_rows #(
    parameter int T_N        = 4,
    parameter int ROWS       = 4,
    parameter int T_K        = 8,
    parameter int A          = 7,
    parameter int SUM_BITS   = 20,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS
) (
    input  logic                                     clk,
    input  logic [ROWS-1:0]                          enable,
    input  logic [ROWS-1:0]                          clear,
    input  logic [ROWS-1:0][T_K-1:0][3:0]            weight,
    input  logic [T_N-1:0][T_K-1:0][A-1:0]           activation,
    output logic [ROWS-1:0][T_N-1:0][SUM_BITS-1:0]   sums
);

    localparam int HIGH = A == 8 ? 3 : 2;   // rows of a block
    localparam int WIDE = A == 8 ? 1 : 2;   // tokens of a block
    localparam int LINKS = mac_pkg::cascade_links(A, T_K);
    localparam int CHAINS = T_K / LINKS;

    logic [ROWS/HIGH-1:0][T_K-1:0][26:0] port_a;
    logic [T_N/WIDE-1:0][T_K-1:0][17:0]  port_b;

    generate
        for (genvar k = 0; k < T_K; k++) begin : g_depth
            localparam int LATE = k % LINKS + mac_pkg::term_level(CHAINS, k / LINKS);
            localparam int CYCLES = LATE < 2 ? 1 : LATE;

            for (genvar m = 0; m < ROWS / HIGH; m++) begin : g_port_a
                // A weight on top of another, less the borrow of the one below: five bits.
                logic [4:0] top;
                if (HIGH == 3) begin : g_three
                    logic [4:0]  middle;
                    logic [13:0] made;
                    logic [13:0] late;
                    borrow_from #(.WIDTH(5)) from_middle (
                        .value({weight[3*m+1][k][3], weight[3*m+1][k]}), .borrow(weight[3*m][k][3]),
                        .difference(middle)
                    );
                    borrow_from #(.WIDTH(5)) from_top (
                        .value({weight[3*m+2][k][3], weight[3*m+2][k]}), .borrow(middle[4]),
                        .difference(top)
                    );
                    assign made = {top, middle, weight[3*m][k]};
                    delay_line #(.WIDTH(14), .CYCLES(CYCLES)) delay (.clk(clk), .data(made), .delayed(late));
                    assign port_a[m][k] = {late[13:9], {6{late[8]}}, late[8:4], {7{late[3]}}, late[3:0]};
                end else begin : g_two
                    logic [8:0] made;
                    logic [8:0] late;
                    borrow_from #(.WIDTH(5)) from_top (
                        .value({weight[2*m+1][k][3], weight[2*m+1][k]}), .borrow(weight[2*m][k][3]),
                        .difference(top)
                    );
                    assign made = {top, weight[2*m][k]};
                    delay_line #(.WIDTH(9), .CYCLES(CYCLES)) delay (.clk(clk), .data(made), .delayed(late));
                    assign port_a[m][k] = {late[8:4], {18{late[3]}}, late[3:0]};
                end
            end

            for (genvar n = 0; n < T_N / WIDE; n++) begin : g_port_b
                if (WIDE == 1) begin : g_one
                    logic [A-1:0] late;
                    delay_line #(.WIDTH(A), .CYCLES(CYCLES)) delay (
                        .clk(clk), .data(activation[n][k]), .delayed(late)
                    );
                    assign port_b[n][k] = {{(18-A){late[A-1]}}, late};
                end else begin : g_two
                    // Still A bits: x1 is never -2**(A-1).
                    logic [A-1:0]   top;
                    logic [2*A-1:0] late;
                    borrow_from #(.WIDTH(A)) from_top (
                        .value(activation[2*n+1][k]), .borrow(activation[2*n][k][A-1]), .difference(top)
                    );
                    delay_line #(.WIDTH(2 * A), .CYCLES(CYCLES)) delay (
                        .clk(clk), .data({top, activation[2*n][k]}), .delayed(late)
                    );
                    if (A == 7) begin : g_full
                        assign port_b[n][k] = {late[13:7], {4{late[6]}}, late[6:0]};
                    end else begin : g_extended
                        assign port_b[n][k] = {
                            {(7-A){late[2*A-1]}}, late[2*A-1:A], {(mac_pkg::FIELD-A){late[A-1]}}, late[A-1:0]
                        };
                    end
                end
            end
        end

        for (genvar m = 0; m < ROWS / HIGH; m++) begin : g_rows
            for (genvar n = 0; n < T_N / WIDE; n++) begin : g_tokens
                logic [HIGH*WIDE*SUM_BITS-1:0] sum;
                mac_dsp_block #(
                    .A(A), .T_K(T_K), .SUM_BITS(SUM_BITS), .STRUCTURAL(STRUCTURAL)
                ) block (
                    .clk(clk), .enable(enable[HIGH*m]), .clear(clear[HIGH*m]),
                    .port_a(port_a[m]), .port_b(port_b[n]), .sum(sum)
                );
                for (genvar i = 0; i < HIGH; i++) begin : g_row
                    for (genvar j = 0; j < WIDE; j++) begin : g_token
                        assign sums[HIGH*m+i][WIDE*n+j] = sum[(WIDE*i+j)*SUM_BITS+:SUM_BITS];
                    end
                end
            end
        end
    endgenerate

endmodule
