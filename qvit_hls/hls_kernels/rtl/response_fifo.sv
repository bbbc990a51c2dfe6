// A valid/ready stream out of a memory that answers LATENCY cycles after every address. `ready` says that an address
// may be on the memory's port in this cycle; `issue` says that one is. There is always room for the answers, so the
// stream may stall at any time; unstalled it carries a value per cycle.
module response_fifo #(
    parameter int WIDTH = 16,
    parameter int LATENCY = 2
) (
    input  logic             clk,
    input  logic             rst,
    output logic             ready,
    input  logic             issue,
    input  logic [WIDTH-1:0] response,
    output logic             idle,       // nothing is under way
    output logic [WIDTH-1:0] data,
    output logic             data_valid,
    input  logic             data_ready
);
    // Values under way or stored; with fewer places than LATENCY + 3 the stream would pause.
    localparam int INDEX_BITS = $clog2(LATENCY + 3);
    localparam int PLACES = 1 << INDEX_BITS;

    (* ram_style = "distributed" *) logic [WIDTH-1:0] place [0:PLACES-1];
    logic [INDEX_BITS-1:0] write_index;
    logic [INDEX_BITS-1:0] read_index;
    logic [INDEX_BITS:0]   stored;
    logic [INDEX_BITS:0]   claimed;  // stored or under way
    logic [LATENCY-1:0]    issue_at;
    logic                  arrival;
    logic                  departure;

    assign arrival = issue_at[LATENCY-1];
    assign departure = data_valid && data_ready;
    assign ready = !claimed[INDEX_BITS];
    assign idle = claimed == '0;
    assign data_valid = stored != '0;
    assign data = place[read_index];

    always_ff @(posedge clk) begin
        if (arrival) place[write_index] <= response;
        if (rst) begin
            write_index <= '0;
            read_index <= '0;
            stored <= '0;
            claimed <= '0;
            issue_at <= '0;
        end else begin
            write_index <= write_index + INDEX_BITS'(arrival);
            read_index <= read_index + INDEX_BITS'(departure);
            stored <= stored + (INDEX_BITS + 1)'(arrival) - (INDEX_BITS + 1)'(departure);
            claimed <= claimed + (INDEX_BITS + 1)'(issue) - (INDEX_BITS + 1)'(departure);
            issue_at <= LATENCY'({issue_at, issue});
        end
    end
endmodule
