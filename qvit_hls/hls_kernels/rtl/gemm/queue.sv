// A first-in first-out queue whose front is always in sight. `full` leaves room for one more word, which may be on
// its way.
module queue #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 8  // a power of two
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             push,
    input  logic [WIDTH-1:0] pushed,
    input  logic             pop,
    output logic             valid,
    output logic [WIDTH-1:0] front,
    output logic             full
);
    localparam int POINTER_BITS = $clog2(DEPTH);

    (* ram_style = "distributed" *) logic [WIDTH-1:0] content [0:DEPTH-1];
    logic [POINTER_BITS-1:0] head, tail;
    logic [POINTER_BITS:0]   count;

    assign valid = count != 0;
    assign front = content[head];
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
