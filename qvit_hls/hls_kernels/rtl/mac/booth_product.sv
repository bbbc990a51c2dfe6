// product = weight * activation - weight[1] for any signed weight and any activation but -2**(A-1). Combinational.
//
// The weight is two radix-4 Booth digits: low = w0 - 2 w1, high = w1 + w2 - 2 w3, both in -2..2. A digit times
// the activation is one LUT level: a bit of it is one of two neighbouring activation bits, or 0, inverted if
// the digit is negative; the 1 that completes a negation is a carry. The high digit's is the carry-in of the
// adder here; the low digit's (weight[1]) is left to the adders behind.
//
// STRUCTURAL: two bits of low * activation share a dual LUT (five inputs); a bit of high * activation (five
// inputs) and its addend share the LUT in front of the carry chain. (A+2)/2 + A+1 LUTs.
module booth_product #(
    parameter int A          = 7,
    parameter bit STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS
) (
    input  logic [3:0]   weight,
    input  logic [A-1:0] activation,
    output logic [A+2:0] product
);

    // Inputs from the lowest: three neighbouring activation bits, w0, w1, 1.
    function automatic logic [63:0] low_digit();
        logic [63:0] init;
        logic one, two;
        for (int i = 0; i < 32; i = i + 1) begin
            one = i[3];
            two = i[4] & ~i[3];
            init[i]      = (two ? i[0] : one & i[1]) ^ i[4];
            init[32 + i] = (two ? i[1] : one & i[2]) ^ i[4];
        end
        low_digit = init;
    endfunction

    // Inputs from the lowest: two neighbouring activation bits, w1, w2, w3, addend.
    function automatic logic [63:0] high_digit();
        logic [63:0] init;
        logic one, two;
        for (int i = 0; i < 64; i = i + 1) begin
            one = i[2] ^ i[3];
            two = (i[2] ~^ i[3]) & (i[3] ^ i[4]);
            init[i] = ((one & i[1]) | (two & i[0])) ^ i[4] ^ i[5];
        end
        high_digit = init;
    endfunction

    generate
        if (STRUCTURAL) begin : g_luts
            localparam int PAIRS = (A + 2) / 2;
            localparam int CHAINS = (A + 8) / 8;

            logic [2*PAIRS:0]    shifted;  // from bit -1 up
            logic [2*PAIRS-1:0]  low;
            logic [8*CHAINS-1:0] addend;
            logic [8*CHAINS-1:0] propagate;
            logic [8*CHAINS-1:0] total;
            logic [7*CHAINS-1:0] carries;  // inside the CARRY8s
            logic [CHAINS:0]     below;    // between them

            assign below[0] = weight[3];
            assign shifted = {{(2*PAIRS-A){activation[A-1]}}, activation, 1'b0};
            for (genvar i = 0; i < PAIRS; i++) begin : g_low
                LUT6_2 #(
                    .INIT(low_digit())
                ) lut (
                    .I0(shifted[2*i]), .I1(shifted[2*i+1]), .I2(shifted[2*i+2]),
                    .I3(weight[0]), .I4(weight[1]), .I5(1'b1),
                    .O5(low[2*i]), .O6(low[2*i+1])
                );
            end
            assign addend = {{(8*CHAINS-A+1){low[A]}}, low[A:2]};
            for (genvar i = 0; i <= A; i++) begin : g_high
                LUT6 #(
                    .INIT(high_digit())
                ) lut (
                    .I0(shifted[i]), .I1(shifted[i+1]), .I2(weight[1]), .I3(weight[2]), .I4(weight[3]),
                    .I5(addend[i]), .O(propagate[i])
                );
            end
            if (8 * CHAINS > A + 1) begin : g_rest
                assign propagate[8*CHAINS-1:A+1] = '0;
            end
            for (genvar i = 0; i < CHAINS; i++) begin : g_chain
                CARRY8 #(
                    .CARRY_TYPE("SINGLE_CY8")
                ) chain (
                    .CI(below[i]), .CI_TOP(1'b0), .DI(addend[8*i+:8]), .S(propagate[8*i+:8]),
                    .CO({below[i+1], carries[7*i+:7]}), .O(total[8*i+:8])
                );
            end
            assign product = {total[A:0], low[1:0]};
            logic unused;
            assign unused = &{carries, below, total, low};
        end else begin : g_times
            assign product = $signed({{(A-1){weight[3]}}, weight}) * $signed({{3{activation[A-1]}}, activation})
                - {{(A+2){1'b0}}, weight[1]};
        end
    endgenerate

endmodule
