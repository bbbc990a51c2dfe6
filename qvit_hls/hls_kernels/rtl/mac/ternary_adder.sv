// sum = (clear ? 0 : a) + b + c + carry[0] + carry[1], modulo 2**WIDTH. Combinational.
//
// Bits set in INVERT_A, INVERT_B or INVERT_C are inverted on the way in, which costs nothing here and would cost a LUT
// outside.
//
// STRUCTURAL: one LUT per bit. LUT i reduces its three bits to a sum and a majority (O5); the carry chain
// adds the sum and the majority of bit i-1. O5 and O6 of a dual LUT share five inputs: a, b, c, the majority
// below, and clear. The majority below bit 0 and the chain's carry-in are free inputs of weight 1.
module ternary_adder #(
    parameter int               WIDTH      = 8,
    parameter logic [WIDTH-1:0] INVERT_A   = '0,
    parameter logic [WIDTH-1:0] INVERT_B   = '0,
    parameter logic [WIDTH-1:0] INVERT_C   = '0,
    parameter bit               STRUCTURAL = mac_pkg::STRUCTURAL_ADDERS
) (
    input  logic             clear,
    input  logic [WIDTH-1:0] a,
    input  logic [WIDTH-1:0] b,
    input  logic [WIDTH-1:0] c,
    input  logic [1:0]       carry,
    output logic [WIDTH-1:0] sum
);

    // Inputs of the LUT from the lowest: a, b, c, majority below, clear, 1.
    function automatic logic [63:0] full_adder(
        input logic invert_a, input logic invert_b, input logic invert_c
    );
        logic [63:0] init;
        logic x, y, z;
        for (int i = 0; i < 32; i = i + 1) begin
            x = (i[0] ^ invert_a) & ~i[4];
            y = i[1] ^ invert_b;
            z = i[2] ^ invert_c;
            init[i]      = (x & y) | (x & z) | (y & z);
            init[32 + i] = x ^ y ^ z ^ i[3];
        end
        full_adder = init;
    endfunction

    generate
        if (STRUCTURAL) begin : g_luts
            localparam int CHAINS = (WIDTH + 7) / 8;
            logic [8*CHAINS-1:0] propagate;
            logic [8*CHAINS-1:0] generated;
            logic [8*CHAINS-1:0] total;
            logic [7*CHAINS-1:0] carries;  // inside the CARRY8s
            logic [CHAINS:0]     below;    // between them
            logic [WIDTH:0]      majority;

            assign majority[0] = carry[1];
            assign below[0] = carry[0];
            for (genvar i = 0; i < WIDTH; i++) begin : g_bit
                LUT6_2 #(
                    .INIT(full_adder(INVERT_A[i], INVERT_B[i], INVERT_C[i]))
                ) lut (
                    .I0(a[i]), .I1(b[i]), .I2(c[i]), .I3(majority[i]), .I4(clear), .I5(1'b1),
                    .O5(majority[i+1]), .O6(propagate[i])
                );
                assign generated[i] = majority[i];
            end
            if (8 * CHAINS > WIDTH) begin : g_rest
                assign propagate[8*CHAINS-1:WIDTH] = '0;
                assign generated[8*CHAINS-1:WIDTH] = '0;
            end
            for (genvar i = 0; i < CHAINS; i++) begin : g_chain
                CARRY8 #(
                    .CARRY_TYPE("SINGLE_CY8")
                ) chain (
                    .CI(below[i]), .CI_TOP(1'b0), .DI(generated[8*i+:8]), .S(propagate[8*i+:8]),
                    .CO({below[i+1], carries[7*i+:7]}), .O(total[8*i+:8])
                );
            end
            assign sum = total[WIDTH-1:0];
            // What leaves the highest bit belongs to no one.
            logic unused;
            assign unused = &{majority[WIDTH], carries, below, total};
        end else begin : g_plus
            assign sum = (clear ? '0 : a ^ INVERT_A) + (b ^ INVERT_B) + (c ^ INVERT_C)
                + {{(WIDTH-1){1'b0}}, carry[0]} + {{(WIDTH-1){1'b0}}, carry[1]};
        end
    endgenerate

endmodule
