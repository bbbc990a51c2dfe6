// Copies `beats` words of DATA_BITS from memory, from `address` on, into a stream.
//
// AXI4 read bursts of at most BURST beats, none across a 4 KiB boundary. A burst is requested only when the queue
// has room for all of it, so R is never held back, and requests run up to FIFO_DEPTH beats ahead of the stream:
// FIFO_DEPTH / BURST bursts in flight. `address` is a multiple of DATA_BITS / 8. `start` for one cycle while not
// `busy`; `busy` falls when the stream has given its last word.
module axi_reader #(
    parameter int DATA_BITS = 128,
    parameter int BURST = 64,
    parameter int FIFO_DEPTH = 512  // a power of two, at least BURST
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 start,
    input  logic [63:0]          address,
    input  logic [31:0]          beats,
    output logic                 busy,

    output logic                 ar_valid,
    input  logic                 ar_ready,
    output logic [63:0]          ar_address,
    output logic [7:0]           ar_length,  // beats - 1
    input  logic                 r_valid,
    output logic                 r_ready,
    input  logic [DATA_BITS-1:0] r_data,

    output logic                 out_valid,
    input  logic                 out_ready,
    output logic [DATA_BITS-1:0] out_data
);
    localparam int BEAT_BITS = $clog2(DATA_BITS / 8);
    localparam int COUNT_BITS = $clog2(FIFO_DEPTH + 1);

    typedef enum logic [1:0] {IDLE, PLAN, REQUEST} state_t;
    state_t state;

    logic [31:0] remaining;        // beats not requested yet
    logic [COUNT_BITS-1:0] room;   // of the queue, less what is on its way
    logic [COUNT_BITS-1:0] queued;
    logic [12-BEAT_BITS:0] to_boundary;
    logic [8:0] length;
    logic requested, taken;

    // The shortest of a whole burst, the rest, and what is left of the 4 KiB page.
    always_comb begin
        to_boundary = {1'b1, {(12 - BEAT_BITS) {1'b0}}} - {1'b0, ar_address[11:BEAT_BITS]};
        length = 9'(BURST);
        if (remaining < 32'(length)) length = remaining[8:0];
        if (32'(to_boundary) < 32'(length)) length = 9'(to_boundary);
    end

    assign ar_valid = state == REQUEST;
    assign requested = ar_valid && ar_ready;
    assign taken = out_valid && out_ready;
    assign r_ready = 1'b1;
    assign busy = state != IDLE || room != COUNT_BITS'(FIFO_DEPTH);

    always_ff @(posedge clk) begin
        if (rst) begin
            state <= IDLE;
            room <= COUNT_BITS'(FIFO_DEPTH);
        end else begin
            case (state)
                IDLE: if (start && beats != 0) state <= PLAN;
                PLAN: if (32'(length) <= 32'(room)) state <= REQUEST;
                default: if (ar_ready) state <= (remaining == 0) ? IDLE : PLAN;
            endcase
            room <= room + COUNT_BITS'(taken) - (state == PLAN && 32'(length) <= 32'(room) ? COUNT_BITS'(length) : '0);
        end
    end

    always_ff @(posedge clk) begin
        if (state == IDLE) begin
            ar_address <= {address[63:BEAT_BITS], {BEAT_BITS{1'b0}}};
            remaining <= beats;
        end else if (state == PLAN) begin
            ar_length <= 8'(length - 9'd1);
            if (32'(length) <= 32'(room)) remaining <= remaining - 32'(length);
        end else if (requested) begin
            ar_address <= ar_address + ((64'(ar_length) + 64'd1) << BEAT_BITS);
        end
    end

    axi_fifo #(.WIDTH(DATA_BITS), .DEPTH(FIFO_DEPTH)) fifo (
        .clk, .rst, .in_valid(r_valid), .in_data(r_data), .out_valid, .out_data, .out_ready, .count(queued)
    );

    // `room` counts from the request on; the queue's own count would say too late that it fills. The address is
    // a multiple of a beat.
    logic unused;
    assign unused = &{1'b0, queued, address[BEAT_BITS-1:0]};
endmodule
