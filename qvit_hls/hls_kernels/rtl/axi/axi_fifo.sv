// First-in first-out queue in block or distributed RAM; the oldest word waits on `out_data`.
//
// A word appears two cycles after it was pushed; one word in and one out per cycle. `count` includes the word
// that waits. `in_valid` must be 0 while `count` is DEPTH.
module axi_fifo #(
    parameter int WIDTH = 128,
    parameter int DEPTH = 512  // a power of two
) (
    input  logic                     clk,
    input  logic                     rst,
    input  logic                     in_valid,
    input  logic [WIDTH-1:0]         in_data,
    output logic                     out_valid,
    output logic [WIDTH-1:0]         out_data,
    input  logic                     out_ready,
    output logic [$clog2(DEPTH+1)-1:0] count
);
    localparam int ADDRESS_BITS = $clog2(DEPTH);
    localparam int COUNT_BITS = $clog2(DEPTH + 1);

    logic [WIDTH-1:0] memory[DEPTH];
    // One bit more than an address tells a full memory from an empty one.
    logic [ADDRESS_BITS:0] write_pointer, read_pointer;
    logic fetch, taken;

    assign taken = out_valid && out_ready;
    assign fetch = write_pointer != read_pointer && (!out_valid || out_ready);

    always_ff @(posedge clk) begin
        if (in_valid) memory[write_pointer[ADDRESS_BITS-1:0]] <= in_data;
        if (fetch) out_data <= memory[read_pointer[ADDRESS_BITS-1:0]];
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            write_pointer <= '0;
            read_pointer <= '0;
            out_valid <= 1'b0;
            count <= '0;
        end else begin
            if (in_valid) write_pointer <= write_pointer + 1'b1;
            if (fetch) read_pointer <= read_pointer + 1'b1;
            out_valid <= fetch || (out_valid && !out_ready);
            count <= count + COUNT_BITS'(in_valid) - COUNT_BITS'(taken);
        end
    end

`ifndef SYNTHESIS
    always_ff @(posedge clk)
        assert (rst || !in_valid || count != COUNT_BITS'(DEPTH)) else $error("a word was pushed into a full queue");
`endif
endmodule
