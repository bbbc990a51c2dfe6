// The slots whose sums are still in the MAC tile's pipeline, in order. `full` leaves room for one more.
module slot_queue
    import qvit_pkg::*;
#(
    parameter int DEPTH = 32
) (
    input  logic  clk,
    input  logic  rst,
    input  logic  push,
    input  slot_t pushed,
    input  logic  pop,
    output slot_t front,
    output logic  full
);
    localparam int POINTER_BITS = $clog2(DEPTH);
    localparam int SLOT_BITS = $bits(slot_t);

    logic [SLOT_BITS-1:0]    content [0:DEPTH-1];
    logic [POINTER_BITS-1:0] head, tail;
    logic [POINTER_BITS:0]   count;

    assign front = slot_t'(content[head]);
    assign full = count >= (POINTER_BITS + 1)'(DEPTH - 1);

    always_ff @(posedge clk) begin
        if (push) content[tail] <= pushed;
        if (rst) begin
            head <= '0;
            tail <= '0;
            count <= '0;
        end else begin
            head <= head + POINTER_BITS'(pop);
            tail <= tail + POINTER_BITS'(push);
            count <= count + (POINTER_BITS + 1)'(push) - (POINTER_BITS + 1)'(pop);
        end
    end
endmodule
