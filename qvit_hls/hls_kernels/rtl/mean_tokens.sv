// Mean over all tokens, channel by channel: y = requantize(sum_t x[t], d.multiplier, d.shift, d.qmax), written as token 0
// (lane 0) of the result, both in the wide memory. One token tile per cycle: all lanes go through an adder tree.
//
// `done` follows `start` by d.k * tiles + 8 + $clog2(T_N) cycles.
module mean_tokens #(
    parameter int T_N = 40,
    parameter int MAX_TOKENS = 197
) (
    input  logic                              clk,
    input  logic                              rst,
    input  logic                              start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                              done,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] wide_address,
    input  logic [T_N-1:0][15:0]              wide_data,
    output logic                              write_enable,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] write_address,
    output logic [15:0]                       write_data
);
    localparam int LEVELS = $clog2(T_N);
    localparam int SUM_BITS = 16 + $clog2(MAX_TOKENS + 1);
    localparam int TREE_BITS = 16 + LEVELS;
    localparam logic [qvit_pkg::COUNT_BITS-1:0] TILE = qvit_pkg::COUNT_BITS'(T_N);
    // Stages after an address: its values, without absent tokens, the tree's root, the sum, the result.
    localparam int VALUE = qvit_pkg::READ_LATENCY;
    localparam int ROOT = VALUE + 1 + LEVELS;
    localparam int SUM = ROOT + 1;
    localparam int RESULT = SUM + qvit_pkg::REQUANTIZE_LATENCY;

    logic                              active;
    logic [qvit_pkg::COUNT_BITS-1:0]   channels_left;
    logic [qvit_pkg::COUNT_BITS-1:0]   tokens_left;
    logic [qvit_pkg::ADDRESS_BITS-1:0] channel_address;  // of the first tile
    logic                              first;
    logic                              last;

    assign last = tokens_left <= TILE;

    always_ff @(posedge clk) begin
        if (active) begin
            first <= last;
            tokens_left <= tokens_left - TILE;
            wide_address <= wide_address + qvit_pkg::ADDRESS_BITS'(d.x_stride);
            if (last) begin
                tokens_left <= qvit_pkg::COUNT_BITS'(d.tokens);
                wide_address <= channel_address + 1'b1;
                channel_address <= channel_address + 1'b1;
                channels_left <= channels_left - 1'b1;
                if (channels_left == 1) active <= 1'b0;
            end
        end
        if (start) begin
            active <= 1'b1;
            first <= 1'b1;
            tokens_left <= qvit_pkg::COUNT_BITS'(d.tokens);
            channels_left <= qvit_pkg::COUNT_BITS'(d.k);
            wide_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            channel_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
        end
        if (rst) active <= 1'b0;
    end

    // What happens at each stage; stage 0 is the address.
    logic [ROOT:1]   step_at;
    logic [ROOT:1]   first_at;
    logic [RESULT:1] end_at;    // of a channel
    logic [RESULT:1] finish_at;  // of all
    logic [VALUE:1][T_N-1:0] present_at;
    logic [T_N-1:0]  present;

    always_comb for (int n = 0; n < T_N; n++) present[n] = tokens_left > qvit_pkg::COUNT_BITS'(n);

    always_ff @(posedge clk) begin
        first_at <= ROOT'({first_at, first});
        present_at <= {present_at[VALUE-1:1], present};
        step_at <= rst ? '0 : ROOT'({step_at, active});
        end_at <= rst ? '0 : RESULT'({end_at, active && last});
        finish_at <= rst ? '0 : RESULT'({finish_at, active && last && channels_left == 1});
    end

    // Level l has T_N / 2**l values (rounded up) of 16 + l bits.
    logic [LEVELS:0][T_N-1:0][TREE_BITS-1:0] tree;

    for (genvar n = 0; n < T_N; n++) begin : g_leaf
        logic [15:0] value_q;
        always_ff @(posedge clk) value_q <= present_at[VALUE][n] ? wide_data[n] : '0;
        assign tree[0][n] = TREE_BITS'($signed(value_q));
    end
    for (genvar l = 0; l < LEVELS; l++) begin : g_level
        localparam int COUNT = (T_N + (1 << l) - 1) >> l;
        for (genvar i = 0; i < T_N; i++) begin : g_node
            if (2 * i + 1 < COUNT) begin : g_add
                logic [16+l:0] sum_q;
                always_ff @(posedge clk) sum_q <= tree[l][2*i][16+l:0] + tree[l][2*i+1][16+l:0];
                assign tree[l+1][i] = TREE_BITS'($signed(sum_q));
            end else if (2 * i < COUNT) begin : g_pass
                logic [TREE_BITS-1:0] value_q;
                always_ff @(posedge clk) value_q <= tree[l][2*i];
                assign tree[l+1][i] = value_q;
            end else begin : g_none
                assign tree[l+1][i] = '0;
            end
        end
    end

    logic signed [SUM_BITS-1:0]  sum;
    logic signed [SUM_BITS-1:0]  root;

    assign root = SUM_BITS'($signed(tree[LEVELS][0]));
    always_ff @(posedge clk) if (step_at[ROOT]) sum <= (first_at[ROOT] ? '0 : sum) + root;

    requantize #(.WIDTH(SUM_BITS)) finish (
        .clk, .value(sum), .multiplier(17'(d.multiplier)), .shift(6'(d.shift)), .qmax(16'(d.qmax)), .result(write_data)
    );

    always_ff @(posedge clk) begin
        if (end_at[RESULT]) write_address <= write_address + 1'b1;
        if (start) write_address <= qvit_pkg::ADDRESS_BITS'(d.y_base);
    end
    assign write_enable = end_at[RESULT];
    assign done = finish_at[RESULT];
endmodule
