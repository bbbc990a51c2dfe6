// Cascades of two rows by two tokens alone: as long as A allows ([0]), and twice as long ([1]). Operands are held
// until all links have seen them. The fields are w0*x0, w0*x1, w1*x0, w1*x1, summed.
module mac_cascades (
    input  logic clk,
    input  byte  w0[32],
    input  byte  w1[32],
    input  byte  x0[32],
    input  byte  x1[32],
    output int   field[4:7][2][4]
);

    localparam int FIELD = mac_pkg::FIELD;

    for (genvar bits = 4; bits <= 7; bits++) begin : g_width
        for (genvar longer = 0; longer < 2; longer++) begin : g_length
            localparam int LINKS = mac_pkg::cascade_links(bits, 16) << longer;
            logic [LINKS-1:0][26:0] port_a;
            logic [LINKS-1:0][17:0] port_b;
            logic [47:0]            sum;
            always_comb
                for (int i = 0; i < LINKS; i++) begin
                    port_a[i] = 27'((int'(w1[i]) << (2 * FIELD)) + int'(w0[i]));
                    port_b[i] = 18'((int'(x1[i]) << FIELD) + int'(x0[i]));
                end
            dsp_chain #(
                .LINKS(LINKS), .DELAY(0), .ROUND(48'h0801_0020_0400)
            ) chain (
                .clk(clk), .port_a(port_a), .port_b(port_b), .sum(sum)
            );
            for (genvar i = 0; i < 4; i++) begin : g_field
                assign field[bits][longer][i] = int'(sum[FIELD*i+:FIELD]) - 1024;
            end
        end
    end

endmodule
