// Simulation model of the Xilinx primitive CARRY8, as one chain of eight or two of four.
module CARRY8 #(
    parameter CARRY_TYPE = "SINGLE_CY8"
) (
    output logic [7:0] CO,
    output logic [7:0] O,
    input  logic       CI,
    input  logic       CI_TOP,
    input  logic [7:0] DI,
    input  logic [7:0] S
);

    always_comb begin
        logic carry;
        carry = CI;
        for (int i = 0; i < 8; i++) begin
            if (i == 4 && CARRY_TYPE == "DUAL_CY4") carry = CI_TOP;
            O[i]  = S[i] ^ carry;
            carry = S[i] ? carry : DI[i];
            CO[i] = carry;
        end
    end

endmodule
