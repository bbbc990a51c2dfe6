// One copy of the table of an elementwise function: the entry of a code follows it after two cycles.
module elementwise_table #(
    parameter int TABLE_BITS = 8
) (
    input  logic                  clk,
    input  logic                  write,
    input  logic [TABLE_BITS-1:0] write_entry,
    input  logic [7:0]            write_data,
    input  logic [TABLE_BITS-1:0] entry,
    output logic [7:0]            data
);
    /* verilator no_inline_module */  // simulated once, for all lanes
    (* ram_style = "distributed" *) logic [7:0] content [0:(1<<TABLE_BITS)-1];
    logic [7:0] found;

    always_ff @(posedge clk) begin
        if (write) content[write_entry] <= write_data;
        found <= content[entry];
        data <= found;
    end
endmodule
