// Successive means of neighbouring tokens, channel by channel, within the wide memory: for j < d.rows
//
//     y[d.patch + j] = requantize(sum of x[t] over the d.tokens tokens from t = d.first_token + j on,
//                                 d.multiplier, d.shift, d.qmax)
//
// One result after the other, per channel the token tiles that its tokens lie in: one token tile per cycle, all lanes
// of which go through an adder tree. Means of one token move tokens from tensor to tensor.
//
// `done` follows `start` by d.k * tiles + max(d.first_token, d.patch) / T_N + 9 + $clog2(T_N) cycles, `tiles` being
// the token tiles of all results together.
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
    output logic [qvit_pkg::COUNT_BITS-1:0]   write_lane,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] write_address,
    output logic [15:0]                       write_data
);
    localparam int LEVELS = $clog2(T_N);
    localparam int LANE_BITS = $clog2(T_N + 1);
    localparam int SUM_BITS = 16 + $clog2(MAX_TOKENS + 1);
    localparam int TREE_BITS = 16 + LEVELS;
    localparam logic [qvit_pkg::COUNT_BITS-1:0] TILE = qvit_pkg::COUNT_BITS'(T_N);
    // Stages after an address: its values, without other tokens, the tree's root, the sum, the result.
    localparam int VALUE = qvit_pkg::READ_LATENCY;
    localparam int ROOT = VALUE + 1 + LEVELS;
    localparam int SUM = ROOT + 1;
    localparam int RESULT = SUM + qvit_pkg::REQUANTIZE_LATENCY;

    // The place of the next token.
    function automatic qvit_pkg::place_t following(
        qvit_pkg::place_t place, logic [qvit_pkg::ADDRESS_BITS-1:0] stride
    );
        following = place;
        following.lane = place.lane + 1'b1;
        if (place.lane == TILE - 1'b1) begin
            following.lane = '0;
            following.tile_address = place.tile_address + stride;
        end
    endfunction

    // The place in the next token tile, for a lane beyond this one.
    function automatic qvit_pkg::place_t nearer(
        qvit_pkg::place_t place, logic [qvit_pkg::ADDRESS_BITS-1:0] stride
    );
        nearer = place;
        if (place.lane >= TILE) begin
            nearer.lane = place.lane - TILE;
            nearer.tile_address = place.tile_address + stride;
        end
    endfunction

    logic [qvit_pkg::ADDRESS_BITS-1:0] x_stride;
    logic [qvit_pkg::ADDRESS_BITS-1:0] y_stride;
    assign x_stride = qvit_pkg::ADDRESS_BITS'(d.x_stride);
    assign y_stride = qvit_pkg::ADDRESS_BITS'(d.y_stride);

    logic                              placing;  // a first token is still beyond its tile
    logic                              active;
    qvit_pkg::place_t                  x;        // first token of the mean
    qvit_pkg::place_t                  y;        // of the mean whose channels are written
    qvit_pkg::place_t                  x_next;
    qvit_pkg::place_t                  y_next;
    logic [qvit_pkg::COUNT_BITS-1:0]   results_left;
    logic [qvit_pkg::COUNT_BITS-1:0]   channels_left;
    logic [qvit_pkg::COUNT_BITS-1:0]   tokens_left;      // from lane 0 of the tile to the end of the mean
    logic [qvit_pkg::ADDRESS_BITS-1:0] channel_address;  // of the first tile
    logic                              first;
    logic                              last;
    logic                              last_channel;

    assign x_next = following(x, x_stride);
    assign y_next = following(y, y_stride);
    assign last = tokens_left <= TILE;
    assign last_channel = channels_left == 1;

    always_ff @(posedge clk) begin
        if (placing) begin
            x <= nearer(x, x_stride);
            wide_address <= x.tile_address;
            channel_address <= x.tile_address;
            tokens_left <= x.lane + qvit_pkg::COUNT_BITS'(d.tokens);
            if (x.lane < TILE && y.lane < TILE) begin
                placing <= 1'b0;
                active <= 1'b1;
            end
        end
        if (active) begin
            first <= last;
            tokens_left <= tokens_left - TILE;
            wide_address <= wide_address + x_stride;
            if (last) begin
                tokens_left <= x.lane + qvit_pkg::COUNT_BITS'(d.tokens);
                wide_address <= channel_address + 1'b1;
                channel_address <= channel_address + 1'b1;
                channels_left <= channels_left - 1'b1;
                if (last_channel) begin
                    x <= x_next;
                    tokens_left <= x_next.lane + qvit_pkg::COUNT_BITS'(d.tokens);
                    wide_address <= x_next.tile_address;
                    channel_address <= x_next.tile_address;
                    channels_left <= qvit_pkg::COUNT_BITS'(d.k);
                    results_left <= results_left - 1'b1;
                    if (results_left == 1) active <= 1'b0;
                end
            end
        end
        if (start) begin
            placing <= 1'b1;
            first <= 1'b1;
            x.lane <= qvit_pkg::COUNT_BITS'(d.first_token);
            x.tile_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            results_left <= qvit_pkg::COUNT_BITS'(d.rows);
            channels_left <= qvit_pkg::COUNT_BITS'(d.k);
        end
        if (rst) begin
            placing <= 1'b0;
            active <= 1'b0;
        end
    end

    // What happens at each stage; stage 0 is the address.
    logic [ROOT:1]   step_at;
    logic [ROOT:1]   first_at;
    logic [RESULT:1] end_at;     // of a channel
    logic [RESULT:1] mean_at;    // of a result
    logic [RESULT:1] finish_at;  // of all
    logic [VALUE:1][T_N-1:0] present_at;
    logic [T_N-1:0]  present;

    // A tile's lanes from the mean's first token on, and to its end.
    for (genvar n = 0; n < T_N; n++) begin : g_present
        localparam logic [LANE_BITS-1:0] LANE = LANE_BITS'(n);
        assign present[n] = (!last || tokens_left[LANE_BITS-1:0] > LANE) && !(first && x.lane[LANE_BITS-1:0] > LANE);
    end

    always_ff @(posedge clk) begin
        first_at <= ROOT'({first_at, first});
        present_at <= {present_at[VALUE-1:1], present};
        step_at <= rst ? '0 : ROOT'({step_at, active});
        end_at <= rst ? '0 : RESULT'({end_at, active && last});
        mean_at <= RESULT'({mean_at, last_channel});
        finish_at <= rst ? '0 : RESULT'({finish_at, active && last && last_channel && results_left == 1});
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
        if (placing) begin
            y <= nearer(y, y_stride);
            write_address <= y.tile_address;
        end
        if (end_at[RESULT]) begin
            write_address <= write_address + 1'b1;
            if (mean_at[RESULT]) begin
                y <= y_next;
                write_address <= y_next.tile_address;
            end
        end
        if (start) begin
            y.lane <= qvit_pkg::COUNT_BITS'(d.patch);
            y.tile_address <= qvit_pkg::ADDRESS_BITS'(d.y_base);
        end
    end
    assign write_enable = end_at[RESULT];
    assign write_lane = y.lane;
    assign done = finish_at[RESULT];
endmodule
