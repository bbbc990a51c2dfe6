// data, CYCLES later; 0 is a wire. No reset: long ones may become shift register LUTs.
module delay_line #(
    parameter int WIDTH  = 1,
    parameter int CYCLES = 1
) (
    input  logic             clk,
    input  logic [WIDTH-1:0] data,
    output logic [WIDTH-1:0] delayed
);

    logic [CYCLES:0][WIDTH-1:0] stage;

    assign stage[0] = data;
    assign delayed  = stage[CYCLES];

    generate
        for (genvar i = 0; i < CYCLES; i++) begin : g_stage
            always_ff @(posedge clk) stage[i+1] <= stage[i];
        end
        if (CYCLES == 0) begin : g_wire
            logic unused;
            assign unused = clk;
        end
    endgenerate

endmodule
