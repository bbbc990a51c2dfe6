// total <= a * b, plus addend where `add`, or plus total where `accumulate`; one at most. a and b are those of two
// cycles before, the controls those of the same cycle; total keeps its value without `step`. The addend is taken when
// set_addend is 1. One DSP48E2 with all its registers where 27 x 18 bits and a total of 48 do, else what synthesis
// makes of a plain product.
module multiply_add #(
    parameter int A_BITS = 26,
    parameter int B_BITS = 16,
    parameter int TOTAL_BITS = 42
) (
    input  logic                         clk,
    input  logic signed [A_BITS-1:0]     a,
    input  logic signed [B_BITS-1:0]     b,
    input  logic signed [TOTAL_BITS-1:0] addend,
    input  logic                         set_addend,
    input  logic                         step,
    input  logic                         add,
    input  logic                         accumulate,
    output logic signed [TOTAL_BITS-1:0] total
);
    if (A_BITS <= 27 && B_BITS <= 18 && TOTAL_BITS <= 48) begin : g_slice
        // verilator lint_off UNUSEDSIGNAL
        logic [47:0] p;
        // verilator lint_on UNUSEDSIGNAL
        logic [2:0]  z;

        assign z = add ? 3'b011 : accumulate ? 3'b010 : 3'b000;  // C, P or 0
        assign total = p[TOTAL_BITS-1:0];

        DSP48E2 #(
            .ACASCREG(1), .AREG(1), .BCASCREG(1), .BREG(1), .ADREG(0), .DREG(0), .CREG(1), .MREG(1), .PREG(1),
            .INMODEREG(0), .OPMODEREG(0), .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .AMULTSEL("A"),
            .BMULTSEL("B"), .A_INPUT("DIRECT"), .B_INPUT("DIRECT"), .USE_MULT("MULTIPLY"), .USE_SIMD("ONE48")
        ) slice (
            .CLK(clk), .A(30'(a)), .B(18'(b)), .C(48'(addend)), .D('0), .ACIN('0), .BCIN('0), .PCIN('0),
            .CARRYIN(1'b0), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0), .INMODE(5'b00000), .OPMODE({2'b00, z, 4'b0101}),
            .ALUMODE(4'b0000), .CARRYINSEL(3'b000), .CEA1(1'b0), .CEA2(1'b1), .CEB1(1'b0), .CEB2(1'b1), .CEM(1'b1),
            .CEP(step), .CEAD(1'b0), .CEALUMODE(1'b0), .CEC(set_addend), .CECARRYIN(1'b0), .CECTRL(1'b0), .CED(1'b0),
            .CEINMODE(1'b0), .RSTA(1'b0), .RSTALLCARRYIN(1'b0), .RSTALUMODE(1'b0), .RSTB(1'b0), .RSTC(1'b0),
            .RSTCTRL(1'b0), .RSTD(1'b0), .RSTINMODE(1'b0), .RSTM(1'b0), .RSTP(1'b0), .P(p),
            // verilator lint_off PINCONNECTEMPTY
            .PCOUT(), .ACOUT(), .BCOUT(), .CARRYCASCOUT(), .CARRYOUT(), .MULTSIGNOUT(), .OVERFLOW(), .UNDERFLOW(),
            .PATTERNDETECT(), .PATTERNBDETECT(), .XOROUT()
            // verilator lint_on PINCONNECTEMPTY
        );
    end else begin : g_plain
        logic signed [A_BITS-1:0]     a_q;
        logic signed [B_BITS-1:0]     b_q;
        logic signed [TOTAL_BITS-1:0] product_q;
        logic signed [TOTAL_BITS-1:0] addend_q;

        always_ff @(posedge clk) begin
            a_q <= a;
            b_q <= b;
            product_q <= TOTAL_BITS'(a_q * b_q);
            if (set_addend) addend_q <= addend;
            if (step) total <= product_q + (add ? addend_q : accumulate ? total : '0);
        end
    end
endmodule
