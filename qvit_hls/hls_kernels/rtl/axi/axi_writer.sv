// Copies a stream of `words` words of WORD_BITS to memory, from `address` on.
//
// Words are packed into beats of DATA_BITS, the first in the lowest bits; the last beat may be partly used, which
// its strobe says. AXI4 write bursts of at most BURST beats, none across a 4 KiB boundary. A burst is requested
// only when all its beats are in the queue, so W is never held up by the stream. `address` is a multiple of
// DATA_BITS / 8. `start` for one cycle while not `busy`; `busy` falls with the last response.
module axi_writer #(
    parameter int DATA_BITS = 128,
    parameter int WORD_BITS = 16,
    parameter int BURST = 16,
    parameter int FIFO_DEPTH = 64  // beats, a power of two, at least BURST
) (
    input  logic                   clk,
    input  logic                   rst,
    input  logic                   start,
    input  logic [63:0]            address,
    input  logic [31:0]            words,
    output logic                   busy,

    input  logic                   in_valid,
    output logic                   in_ready,
    input  logic [WORD_BITS-1:0]   in_data,

    output logic                   aw_valid,
    input  logic                   aw_ready,
    output logic [63:0]            aw_address,
    output logic [7:0]             aw_length,  // beats - 1
    output logic                   w_valid,
    input  logic                   w_ready,
    output logic [DATA_BITS-1:0]   w_data,
    output logic [DATA_BITS/8-1:0] w_strobe,
    output logic                   w_last,
    input  logic                   b_valid,
    output logic                   b_ready
);
    localparam int BEAT_BITS = $clog2(DATA_BITS / 8);
    localparam int LANES = DATA_BITS / WORD_BITS;
    localparam int LANE_BITS = $clog2(LANES);
    localparam int COUNT_BITS = $clog2(FIFO_DEPTH + 1);

    typedef enum logic [1:0] {IDLE, PLAN, REQUEST, SEND} state_t;
    state_t state;

    // Packing
    logic [LANES-1:0][WORD_BITS-1:0] packed_words;
    logic [LANE_BITS-1:0] lane, last_lane;
    logic [31:0] words_left;
    logic accepted, beat_ready;

    // Bursts
    logic [31:0] beats_left;
    logic [COUNT_BITS-1:0] queued;
    logic [12-BEAT_BITS:0] to_boundary;
    logic [8:0] length;
    logic [7:0] sent;
    logic [31:0] unanswered;  // bursts
    logic fifo_valid, answered, requested, sent_beat;

    assign accepted = in_valid && in_ready;
    // A beat enters the queue the cycle after its last word, so one place is kept for it.
    assign in_ready = words_left != 0 && 32'(queued) + 32'(beat_ready) < FIFO_DEPTH;

    always_ff @(posedge clk) begin
        if (rst) begin
            words_left <= '0;
            beat_ready <= 1'b0;
        end else begin
            if (state == IDLE && start) words_left <= words;
            else if (accepted) words_left <= words_left - 32'd1;
            beat_ready <= accepted && (32'(lane) == LANES - 1 || words_left == 32'd1);
        end
    end

    always_ff @(posedge clk) begin
        if (state == IDLE && start) lane <= '0;
        else if (accepted) lane <= lane + 1'b1;
        if (accepted) packed_words[lane] <= in_data;
        if (state == IDLE) last_lane <= LANE_BITS'(words - 32'd1);
    end

    axi_fifo #(.WIDTH(DATA_BITS), .DEPTH(FIFO_DEPTH)) fifo (
        .clk, .rst, .in_valid(beat_ready), .in_data(packed_words),
        .out_valid(fifo_valid), .out_data(w_data), .out_ready(sent_beat), .count(queued)
    );

    // The shortest of a whole burst, the rest, and what is left of the 4 KiB page.
    always_comb begin
        to_boundary = {1'b1, {(12 - BEAT_BITS) {1'b0}}} - {1'b0, aw_address[11:BEAT_BITS]};
        length = 9'(BURST);
        if (beats_left < 32'(length)) length = beats_left[8:0];
        if (32'(to_boundary) < 32'(length)) length = 9'(to_boundary);
    end

    assign aw_valid = state == REQUEST;
    assign requested = aw_valid && aw_ready;
    assign w_valid = state == SEND && fifo_valid;
    assign w_last = sent == aw_length;
    assign sent_beat = w_valid && w_ready;
    assign b_ready = 1'b1;
    assign answered = b_valid;
    assign busy = state != IDLE || unanswered != 0;

    always_comb begin
        for (int i = 0; i < LANES; i++)
            w_strobe[i*WORD_BITS/8+:WORD_BITS/8] = {(WORD_BITS / 8) {beats_left != 32'd1 || i <= 32'(last_lane)}};
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            state <= IDLE;
            unanswered <= '0;
        end else begin
            case (state)
                IDLE: if (start && words != 0) state <= PLAN;
                PLAN: if (32'(queued) >= 32'(length)) state <= REQUEST;
                REQUEST: if (aw_ready) state <= SEND;
                default: if (sent_beat && w_last) state <= (beats_left == 32'd1) ? IDLE : PLAN;
            endcase
            unanswered <= unanswered + 32'(requested) - 32'(answered);
        end
    end

    always_ff @(posedge clk) begin
        if (state == IDLE) begin
            aw_address <= {address[63:BEAT_BITS], {BEAT_BITS{1'b0}}};
            beats_left <= (words >> LANE_BITS) + 32'(|words[LANE_BITS-1:0]);
        end else if (state == PLAN) begin
            aw_length <= 8'(length - 9'd1);
            sent <= '0;
        end else if (sent_beat) begin
            aw_address <= aw_address + 64'(DATA_BITS / 8);
            beats_left <= beats_left - 32'd1;
            sent <= sent + 8'd1;
        end
    end

    // The address is a multiple of a beat.
    logic unused;
    assign unused = &{1'b0, address[BEAT_BITS-1:0]};
endmodule
