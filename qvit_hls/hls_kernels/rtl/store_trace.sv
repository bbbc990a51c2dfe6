// A layer's result for the trace: for every token t < d.trace_tokens and channel c < d.trace_channels its value in the
// memory d.trace_memory, sign-extended to 16 bits, token by token. One value per cycle while the stream is ready;
// `done` follows `start` by the number of values + 7 cycles when it always is, and by 1 when there is nothing to trace.
module store_trace #(
    parameter int T_N = 40,
    parameter int T_K = 8
) (
    input  logic                              clk,
    input  logic                              rst,
    input  logic                              start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                              done,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] address,
    input  logic [T_N-1:0][T_K-1:0][7:0]      activation_data,
    input  logic [T_N-1:0][T_K-1:0][7:0]      digit_data,
    input  logic [T_N-1:0][15:0]              wide_data,
    output logic [15:0]                       trace_data,
    output logic                              trace_valid,
    input  logic                              trace_ready
);
    localparam int LANE_BITS = $clog2(T_N);
    localparam int CHANNEL_BITS = $clog2(T_K);
    localparam int SELECT_LATENCY = 2;  // of lane_select.sv
    localparam int WORD = qvit_pkg::READ_LATENCY;
    localparam int CHOSEN = WORD + SELECT_LATENCY;

    logic                              active;
    logic [qvit_pkg::COUNT_BITS-1:0]   channels_left;
    logic [qvit_pkg::COUNT_BITS-1:0]   tokens_left;
    logic [LANE_BITS-1:0]              lane;
    logic [qvit_pkg::ADDRESS_BITS-1:0] tile_address;
    logic                              ready;
    logic                              issue;
    logic                              idle;

    assign issue = active && tokens_left != '0 && ready;
    assign done = active && tokens_left == '0 && idle;

    always_ff @(posedge clk) begin
        if (issue) begin
            address <= address + 1'b1;
            channels_left <= channels_left - 1'b1;
            if (channels_left == 1) begin
                channels_left <= qvit_pkg::COUNT_BITS'(d.trace_channels);
                tokens_left <= tokens_left - 1'b1;
                address <= tile_address;
                lane <= lane + 1'b1;
                if (lane == LANE_BITS'(T_N - 1)) begin
                    lane <= '0;
                    address <= tile_address + qvit_pkg::ADDRESS_BITS'(d.trace_stride);
                    tile_address <= tile_address + qvit_pkg::ADDRESS_BITS'(d.trace_stride);
                end
            end
        end
        if (start) begin
            channels_left <= qvit_pkg::COUNT_BITS'(d.trace_channels);
            tokens_left <= d.trace_memory == qvit_pkg::MEMORY_NONE || d.trace_channels == '0
                           ? '0 : qvit_pkg::COUNT_BITS'(d.trace_tokens);
            lane <= '0;
            address <= qvit_pkg::ADDRESS_BITS'(d.trace_base);
            tile_address <= qvit_pkg::ADDRESS_BITS'(d.trace_base);
        end
        if (rst) active <= 1'b0;
        else active <= start || (active && !done);
    end

    // The lane's word of each memory, then the channel in the word.
    logic [WORD:1][LANE_BITS-1:0]      lane_at;
    logic [CHOSEN:1][CHANNEL_BITS-1:0] channel_at;
    logic [T_K-1:0][7:0]               activation_word;
    logic [T_K-1:0][7:0]               digit_word;
    logic [15:0]                       wide_value;
    logic [7:0]                        code;
    logic [15:0]                       value;

    always_ff @(posedge clk) begin
        lane_at <= {lane_at[WORD-1:1], lane};
        channel_at <= {channel_at[CHOSEN-1:1], address[CHANNEL_BITS-1:0]};
    end

    lane_select #(.LANES(T_N), .WIDTH(8 * T_K)) pick_activation (
        .clk, .data(activation_data), .lane(lane_at[WORD]), .result(activation_word)
    );
    lane_select #(.LANES(T_N), .WIDTH(8 * T_K)) pick_digit (
        .clk, .data(digit_data), .lane(lane_at[WORD]), .result(digit_word)
    );
    lane_select #(.LANES(T_N), .WIDTH(16)) pick_wide (
        .clk, .data(wide_data), .lane(lane_at[WORD]), .result(wide_value)
    );

    assign code = d.trace_memory == qvit_pkg::MEMORY_ACTIVATION ? activation_word[channel_at[CHOSEN]]
                                                                : digit_word[channel_at[CHOSEN]];
    always_ff @(posedge clk) value <= d.trace_memory == qvit_pkg::MEMORY_WIDE ? wide_value : 16'($signed(code));

    response_fifo #(.WIDTH(16), .LATENCY(CHOSEN + 1)) buffer (
        .clk, .rst, .ready, .issue, .response(value), .idle, .data(trace_data), .data_valid(trace_valid),
        .data_ready(trace_ready)
    );
endmodule
