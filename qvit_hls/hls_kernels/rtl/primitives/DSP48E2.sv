// Simulation model of the Xilinx primitive DSP48E2 for the modes that the project uses: the 27 x 18-bit
// multiplier without pre-adder, operands registered 0 to 2 times, the product and the result 0 or 1 times, and
// P = W + Z + Y + X with W = 0, P, RND or C, Z = 0, PCIN, P or C (also shifted right by 17), and Y, X = product.
// Control inputs are constants, without registers. Every other mode is fatal.
//
// Ports and parameters are those of the UNISIM library, whether this model needs them or not.
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNUSEDSIGNAL */
module DSP48E2 #(
    parameter int ACASCREG = 1,
    parameter int ADREG = 1,
    parameter int ALUMODEREG = 1,
    parameter AMULTSEL = "A",
    parameter int AREG = 1,
    parameter AUTORESET_PATDET = "NO_RESET",
    parameter AUTORESET_PRIORITY = "RESET",
    parameter A_INPUT = "DIRECT",
    parameter int BCASCREG = 1,
    parameter BMULTSEL = "B",
    parameter int BREG = 1,
    parameter B_INPUT = "DIRECT",
    parameter int CARRYINREG = 1,
    parameter int CARRYINSELREG = 1,
    parameter int CREG = 1,
    parameter int DREG = 1,
    parameter int INMODEREG = 1,
    parameter logic [3:0] IS_ALUMODE_INVERTED = '0,
    parameter logic IS_CARRYIN_INVERTED = '0,
    parameter logic IS_CLK_INVERTED = '0,
    parameter logic [4:0] IS_INMODE_INVERTED = '0,
    parameter logic [8:0] IS_OPMODE_INVERTED = '0,
    parameter logic [47:0] MASK = 48'h3FFFFFFFFFFF,
    parameter int MREG = 1,
    parameter int OPMODEREG = 1,
    parameter logic [47:0] PATTERN = '0,
    parameter PREADDINSEL = "A",
    parameter int PREG = 1,
    parameter logic [47:0] RND = '0,
    parameter SEL_MASK = "MASK",
    parameter SEL_PATTERN = "PATTERN",
    parameter USE_MULT = "MULTIPLY",
    parameter USE_PATTERN_DETECT = "NO_PATDET",
    parameter USE_SIMD = "ONE48",
    parameter USE_WIDEXOR = "FALSE",
    parameter XORSIMD = "XOR24_48_96"
) (
    output logic [29:0] ACOUT,
    output logic [17:0] BCOUT,
    output logic        CARRYCASCOUT,
    output logic [3:0]  CARRYOUT,
    output logic        MULTSIGNOUT,
    output logic        OVERFLOW,
    output logic [47:0] P,
    output logic        PATTERNBDETECT,
    output logic        PATTERNDETECT,
    output logic [47:0] PCOUT,
    output logic        UNDERFLOW,
    output logic [7:0]  XOROUT,
    input  logic [29:0] A,
    input  logic [29:0] ACIN,
    input  logic [3:0]  ALUMODE,
    input  logic [17:0] B,
    input  logic [17:0] BCIN,
    input  logic [47:0] C,
    input  logic        CARRYCASCIN,
    input  logic        CARRYIN,
    input  logic [2:0]  CARRYINSEL,
    input  logic        CEA1,
    input  logic        CEA2,
    input  logic        CEAD,
    input  logic        CEALUMODE,
    input  logic        CEB1,
    input  logic        CEB2,
    input  logic        CEC,
    input  logic        CECARRYIN,
    input  logic        CECTRL,
    input  logic        CED,
    input  logic        CEINMODE,
    input  logic        CEM,
    input  logic        CEP,
    input  logic        CLK,
    input  logic [26:0] D,
    input  logic [4:0]  INMODE,
    input  logic        MULTSIGNIN,
    input  logic [8:0]  OPMODE,
    input  logic [47:0] PCIN,
    input  logic        RSTA,
    input  logic        RSTALLCARRYIN,
    input  logic        RSTALUMODE,
    input  logic        RSTB,
    input  logic        RSTC,
    input  logic        RSTCTRL,
    input  logic        RSTD,
    input  logic        RSTINMODE,
    input  logic        RSTM,
    input  logic        RSTP
);

    // Registers 1 and 2 of the operands; with one register it is the second.
    logic [26:0] a1, a2, a_used;
    logic [17:0] b1, b2, b_used;
    logic [47:0] c1, c_used;
    logic [47:0] product, m, m_used;
    logic [47:0] w, z, sum, p;

    always_ff @(posedge CLK) begin
        if (RSTA) {a1, a2} <= '0;
        else begin
            if (CEA1) a1 <= A[26:0];
            if (CEA2) a2 <= AREG == 2 ? a1 : A[26:0];
        end
        if (RSTB) {b1, b2} <= '0;
        else begin
            if (CEB1) b1 <= B;
            if (CEB2) b2 <= BREG == 2 ? b1 : B;
        end
        if (RSTC) c1 <= '0;
        else if (CEC) c1 <= C;
        if (RSTM) m <= '0;
        else if (CEM) m <= product;
        if (RSTP) p <= '0;
        else if (CEP) p <= sum;
    end

    always_comb begin
        a_used  = AREG == 0 ? A[26:0] : a2;
        b_used  = BREG == 0 ? B : b2;
        c_used  = CREG == 0 ? C : c1;
        product = {{21{a_used[26]}}, a_used} * {{30{b_used[17]}}, b_used};
        m_used  = MREG == 0 ? product : m;
        case (OPMODE[8:7])
            2'b00:   w = '0;
            2'b01:   w = p;
            2'b10:   w = RND;
            default: w = c_used;
        endcase
        case (OPMODE[6:4])
            3'b000:  z = '0;
            3'b001:  z = PCIN;
            3'b010:  z = p;
            3'b011:  z = c_used;
            3'b101:  z = {{17{PCIN[47]}}, PCIN[47:17]};
            default: z = {{17{p[47]}}, p[47:17]};
        endcase
        sum = w + z + m_used;
        P = PREG == 0 ? sum : p;
        PCOUT = P;
    end

    // What this model does not compute must not look like a value that it does.
    assign {ACOUT, BCOUT, CARRYCASCOUT, CARRYOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT,
            UNDERFLOW, XOROUT} = 'x;

    initial begin
        if (AMULTSEL != "A" || BMULTSEL != "B" || A_INPUT != "DIRECT" || B_INPUT != "DIRECT"
                || PREADDINSEL != "A" || USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48"
                || USE_WIDEXOR != "FALSE" || USE_PATTERN_DETECT != "NO_PATDET"
                || AUTORESET_PATDET != "NO_RESET")
            $fatal(1, "DSP48E2: a function other than multiplying A by B is not modelled");
        if (AREG < 0 || AREG > 2 || BREG < 0 || BREG > 2 || CREG < 0 || CREG > 1 || MREG < 0 || MREG > 1
                || PREG < 0 || PREG > 1)
            $fatal(1, "DSP48E2: AREG, BREG are 0 to 2, CREG, MREG, PREG 0 or 1");
        if (INMODEREG + OPMODEREG + ALUMODEREG + CARRYINREG + CARRYINSELREG != 0)
            $fatal(1, "DSP48E2: registers of control inputs are not modelled");
        if (IS_ALUMODE_INVERTED != '0 || IS_CARRYIN_INVERTED || IS_CLK_INVERTED || IS_INMODE_INVERTED != '0
                || IS_OPMODE_INVERTED != '0)
            $fatal(1, "DSP48E2: inverted inputs are not modelled");
    end

    always @(posedge CLK) begin
        if (OPMODE[3:0] != 4'b0101 || OPMODE[6:4] == 3'b100 || OPMODE[6:4] == 3'b111)
            $fatal(1, "DSP48E2: OPMODE %b is not modelled", OPMODE);
        if (PREG == 0 && (OPMODE[8:7] == 2'b01 || OPMODE[6:4] == 3'b010 || OPMODE[6:4] == 3'b110))
            $fatal(1, "DSP48E2: OPMODE %b needs the P register", OPMODE);
        if (INMODE != '0 || ALUMODE != '0 || CARRYINSEL != '0 || CARRYIN)
            $fatal(1, "DSP48E2: INMODE, ALUMODE, CARRYINSEL and CARRYIN other than 0 are not modelled");
    end

endmodule
