// The sum of LINKS products of 27 x 18 bits in a cascade of DSP48E2 slices, plus ROUND.
//
// Link i of a chain takes its operands DELAY + i cycles after the port registers that feed link 0 of an
// undelayed chain; the slices' second operand register is one of those cycles, so fabric delays are needed
// only for the others. port_a and port_b come delayed by max(DELAY + i - 1, 0). `sum` is there
// 2 + LINKS + DELAY cycles after operands at link 0 of an undelayed chain.
module dsp_chain #(
    parameter int          LINKS = 2,
    parameter int          DELAY = 0,
    parameter logic [47:0] ROUND = '0
) (
    input  logic                   clk,
    input  logic [LINKS-1:0][26:0] port_a,
    input  logic [LINKS-1:0][17:0] port_b,
    output logic [47:0]            sum
);

    // A slice's P goes to fabric, its PCOUT only to the next slice; the last PCOUT goes nowhere.
    /* verilator lint_off UNUSEDSIGNAL */
    logic [LINKS-1:0][47:0] p;
    logic [LINKS:0][47:0]   cascade;
    /* verilator lint_on UNUSEDSIGNAL */

    assign cascade[0] = '0;
    assign sum = p[LINKS-1];

    generate
        for (genvar i = 0; i < LINKS; i++) begin : g_link
            localparam int OPERAND_REGISTERS = DELAY + i == 0 ? 1 : 2;
            // W: the rounding constant in the first link. Z: the cascade in the others. Y, X: the product.
            localparam logic [8:0] OPMODE = i == 0 ? 9'b10_000_01_01 : 9'b00_001_01_01;

            DSP48E2 #(
                .ACASCREG(OPERAND_REGISTERS), .AREG(OPERAND_REGISTERS),
                .BCASCREG(OPERAND_REGISTERS), .BREG(OPERAND_REGISTERS),
                .ADREG(0), .DREG(0), .CREG(0), .MREG(1), .PREG(1),
                .INMODEREG(0), .OPMODEREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0),
                .AMULTSEL("A"), .BMULTSEL("B"), .A_INPUT("DIRECT"), .B_INPUT("DIRECT"),
                .USE_MULT("MULTIPLY"), .USE_SIMD("ONE48"), .RND(ROUND)
            ) slice (
                .CLK(clk),
                .A({{3{port_a[i][26]}}, port_a[i]}), .B(port_b[i]), .C('0), .D('0),
                .ACIN('0), .BCIN('0), .PCIN(cascade[i]), .CARRYIN(1'b0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
                .INMODE(5'b00000), .OPMODE(OPMODE), .ALUMODE(4'b0000), .CARRYINSEL(3'b000),
                .CEA1(1'b1), .CEA2(1'b1), .CEB1(1'b1), .CEB2(1'b1), .CEM(1'b1), .CEP(1'b1),
                .CEAD(1'b0), .CEALUMODE(1'b0), .CEC(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CED(1'b0),
                .CEINMODE(1'b0),
                .RSTA(1'b0), .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTB(1'b0), .RSTC(1'b0),
                .RSTCTRL(1'b0), .RSTD(1'b0), .RSTINMODE(1'b0), .RSTM(1'b0), .RSTP(1'b0),
                .P(p[i]), .PCOUT(cascade[i+1]),
                /* verilator lint_off PINCONNECTEMPTY */
                .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(), .MULTSIGNOUT(), .OVERFLOW(), .UNDERFLOW(),
                .PATTERNDETECT(), .PATTERNBDETECT(), .XOROUT()
                /* verilator lint_on PINCONNECTEMPTY */
            );
        end
    endgenerate

endmodule
