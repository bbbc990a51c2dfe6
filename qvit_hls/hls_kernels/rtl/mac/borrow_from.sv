// difference = value - borrow, modulo 2**WIDTH: what packing does to the operand above. In LUTs, because a
// carry chain is longer than so few bits need. Combinational.
module borrow_from #(
    parameter int WIDTH = 5
) (
    input  logic [WIDTH-1:0] value,
    input  logic             borrow,
    output logic [WIDTH-1:0] difference
);

    generate
        assign difference[0] = value[0] ^ borrow;
        for (genvar i = 1; i < WIDTH; i++) begin : g_bit
            assign difference[i] = value[i] ^ (borrow & ~|value[i-1:0]);
        end
    endgenerate

endmodule
