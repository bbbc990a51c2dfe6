// LayerNorm, scaled by a power of two for each channel: wide memory to activation memory, T_N tokens at once. For every
// token, over its N = d.k channels:
//   S = sum(x), q = floor(sqrt(N * sum(x*x) - S*S + epsilon)), (M, s) = reciprocal(q, d.multiplier, d.shift)
//   y[c] = requantize(N*x[c] - S, M, s + shift[c], d.qmax)
// The shifts are a table that the layer brings, or all 0 where d.table_entries is 0, or without SHIFTS.
// With PASSES and d.scaling SCALING_CONSTANT, S, sum(x*x) and N are taken for 0, 0 and 1: with an epsilon of 1,
//   y[c] = requantize(x[c], d.multiplier, d.shift, d.qmax)
// d.rows is d.k then, so that the unit takes no moments.
// A pass reads a token tile, CHANNELS channels per cycle in which `advance` allows a step. The codes of a step are written
// qvit_pkg::LAYER_NORM_WRITE cycles after it.
//
// The moments S and sum(x*x) of a token tile come from the drain if d.rows is d.k: what it adds to the residual stream
// is counted at any time, whatever the unit does, and only passes for codes remain. If d.rows is 0, the unit takes
// them itself, those of tile t + 1 before the codes of tile t:
//   moments 0, moments 1, codes 0, moments 2, codes 1, .., codes last-1, codes last
// Root, reciprocal and scaling take a token per cycle. They run beside the passes, up to two token tiles ahead.
//
// Cycles from `start` to `done` without a pause, with P = ceil(d.k / CHANNELS) and the latency of layer_norm_scale.sv, L:
//   d.rows = 0:    2 * P * tiles + 9, if P is at least 10 + T_N + L; a single tile takes 2 * P + 19 + L + d.tokens
//   d.rows = d.k:  P * tiles + 17 + L + T_N, if P is at least T_N + 1 and (T_N + L + 4) / 2, from token tiles that are
//                  ready at `start`; a single tile takes P + 17 + L + d.tokens
module layer_norm #(
    parameter int T_N = 40,
    parameter int MAX_TOKENS = 197,
    parameter int MAX_CHANNELS = 192,
    parameter int CHANNELS = 2,
    parameter bit SHIFTS = 0,
    parameter bit PASSES = 0
) (
    input  logic                                clk,
    input  logic                                rst,
    input  logic                                start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t               d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                                done,         // the last codes are being written
    input  logic                                advance,
    // Complete token tiles of the source: tile t may be read if it is more than t. What the drain adds in the cycle in
    // which it becomes more than t still counts.
    input  logic [qvit_pkg::COUNT_BITS-1:0]     tiles_ready,
    // Token tiles whose codes are in the memory: 0 from `start` on, kept until the next `start`.
    output logic [qvit_pkg::COUNT_BITS-1:0]     tiles_done,
    // One channel's shift per cycle, never while busy.
    // verilator lint_off UNUSEDSIGNAL
    input  logic                                shift_write,
    input  logic [$clog2(MAX_CHANNELS+1)-1:0]   shift_entry,
    input  logic [2:0]                          shift_data,
    // verilator lint_on UNUSEDSIGNAL
    // d.x_base and d.x_stride are multiples of CHANNELS.
    output logic [qvit_pkg::ADDRESS_BITS-1:0]   wide_address,
    input  logic [CHANNELS-1:0][T_N-1:0][15:0]  wide_data,
    // A group of values that the drain writes to the residual stream. The groups of a slot, from the one with `added_start`
    // to the one with `added_end`, are of one token tile and come in consecutive cycles; with `added_first`, the tile's
    // moments begin with this slot. A group must not come READ_LATENCY + 1 cycles after a cycle with `advance`.
    input  logic                                added_valid,
    input  logic                                added_first,
    input  logic                                added_start,
    input  logic                                added_end,
    // verilator lint_off UNUSEDSIGNAL  // no more bits than there are tiles
    input  logic [qvit_pkg::COUNT_BITS-1:0]     added_tile,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [CHANNELS-1:0]                 added_exists,
    input  logic [CHANNELS-1:0][T_N-1:0][15:0]  added,
    output logic                                write_soon,   // a write comes in the next cycle
    output logic [CHANNELS-1:0]                 write_enable,
    output logic [qvit_pkg::ADDRESS_BITS-1:0]   write_address,
    output logic [CHANNELS-1:0][T_N-1:0][7:0]   write_data
);
    localparam int CHANNEL_BITS = $clog2(MAX_CHANNELS + 1);
    localparam int SUM_BITS = 16 + CHANNEL_BITS;
    localparam int SQUARES_BITS = SUM_BITS + 16;
    localparam int FACTOR_BITS = qvit_pkg::MULTIPLIER_BITS + CHANNEL_BITS;
    localparam int OFFSET_BITS = qvit_pkg::MULTIPLIER_BITS + SUM_BITS;
    localparam int LANE_BITS = $clog2(T_N);
    localparam int TILES = (MAX_TOKENS + T_N - 1) / T_N;
    localparam int TILE_BITS = TILES > 1 ? $clog2(TILES) : 1;
    localparam logic [qvit_pkg::COUNT_BITS-1:0] TILE = qvit_pkg::COUNT_BITS'(T_N);
    // Stages after a step's address: its values at the lanes, their sum, squares and codes (layer_norm_lane.sv).
    localparam int VALUE = qvit_pkg::READ_LATENCY + 1;
    localparam int SUM = VALUE + 2;
    localparam int SQUARES = VALUE + 5;
    localparam int CODE = qvit_pkg::LAYER_NORM_WRITE;
    // Cycles until moments can be read, from the one in which a tile is seen to be complete: from the drain's last values,
    // or from the cycle after the last step of a pass.
    localparam int COUNTED_ADDED = SQUARES - VALUE;
    localparam int COUNTED_OWN = SQUARES - 1;

    typedef logic [qvit_pkg::COUNT_BITS-1:0]   count_t;
    typedef logic [qvit_pkg::ADDRESS_BITS-1:0] address_t;

    count_t tokens;
    logic   own;     // takes its moments itself
    logic   passes;  // values as they are
    assign tokens = count_t'(d.tokens);
    assign own = d.rows == '0;
    assign passes = PASSES && d.scaling == qvit_pkg::SCALING_CONSTANT;

    // ---------------------------------------------------------------- passes
    logic     active;
    logic     normalize;
    count_t   channel;         // first one of the step
    count_t   moments_tile;    // tiles whose moments have been read
    count_t   tokens_after;    // in the tiles whose moments have not begun
    count_t   tokens_to_code;  // in the tiles whose codes are not complete
    address_t next_moments;
    address_t next_codes;
    address_t next_target;
    address_t target_address;
    logic     scaled;          // the scaling of the next tile to be coded is there
    logic     hand_over;       // or comes in this cycle
    logic     first;
    logic     last;
    logic     step;
    logic     codes_begin;
    logic     moments_next;
    logic     codes_next;

    assign first = channel == '0;
    assign last = channel + count_t'(CHANNELS) >= count_t'(d.k);
    assign step = active && advance
               && (!first || (normalize ? scaled || hand_over : tiles_ready > moments_tile));
    assign codes_begin = step && first && normalize;
    assign moments_next = own && tokens_after != '0 && (normalize || moments_tile == '0);
    assign codes_next = !moments_next && !(normalize && tokens_to_code <= TILE);

    always_ff @(posedge clk) begin
        if (step) begin
            channel <= channel + count_t'(CHANNELS);
            wide_address <= wide_address + address_t'(CHANNELS);
            target_address <= target_address + address_t'(CHANNELS);
        end
        if (step && last) begin
            channel <= '0;
            active <= moments_next || codes_next;
            normalize <= codes_next;
            if (normalize) tokens_to_code <= tokens_to_code - TILE;
            else moments_tile <= moments_tile + 1'b1;
            if (moments_next) begin
                wide_address <= next_moments;
                next_moments <= next_moments + address_t'(d.x_stride);
                tokens_after <= tokens_after > TILE ? tokens_after - TILE : '0;
            end
            if (codes_next) begin
                wide_address <= next_codes;
                next_codes <= next_codes + address_t'(d.x_stride);
                target_address <= next_target;
                next_target <= next_target + address_t'(d.y_stride);
            end
        end
        if (start) begin
            active <= 1'b1;
            normalize <= !own;
            channel <= '0;
            moments_tile <= '0;
            tokens_after <= tokens > TILE ? tokens - TILE : '0;
            tokens_to_code <= tokens;
            wide_address <= address_t'(d.x_base);
            target_address <= address_t'(d.y_base);
            next_moments <= address_t'(d.x_base) + address_t'(d.x_stride);
            // Without passes for moments, the first codes begin at once, and these are for the second ones.
            next_codes <= address_t'(d.x_base) + (own ? '0 : address_t'(d.x_stride));
            next_target <= address_t'(d.y_base) + (own ? '0 : address_t'(d.y_stride));
        end
        if (rst) active <= 1'b0;
    end

    // ---------------------------------------------------------------- what accompanies the values
    typedef struct packed {
        logic                 moments;    // they count in the moments of `tile`
        logic                 normalize;  // they become codes
        logic                 first;      // of a slot or a pass
        logic                 last;
        logic                 restart;    // the moments begin with this slot
        logic                 partial;    // only the first channel of the group exists
        logic                 layer_end;
        logic [TILE_BITS-1:0] tile;
        address_t             target;
    } group_t;
    // verilator lint_off UNUSEDSIGNAL  // some fields are of no use at the end
    group_t [CODE:1] group;
    // verilator lint_on UNUSEDSIGNAL
    group_t taken;
    group_t entering;

    always_comb begin
        taken.moments = step && !normalize;
        taken.normalize = step && normalize;
        taken.first = first;
        taken.last = last;
        taken.restart = 1'b1;
        taken.partial = CHANNELS > 1 && last && d.k[0];
        taken.layer_end = !moments_next && !codes_next;
        taken.tile = moments_tile[TILE_BITS-1:0];
        taken.target = target_address;
        entering = group[VALUE];
        if (added_valid) begin
            entering.moments = 1'b1;
            entering.first = added_start;
            entering.last = added_end;
            entering.restart = added_first;
            entering.tile = added_tile[TILE_BITS-1:0];
        end
    end

    always_ff @(posedge clk) begin
        group[1] <= taken;
        for (int i = 2; i <= CODE; i++) group[i] <= i == VALUE + 1 ? entering : group[i-1];
        if (rst) begin
            for (int i = 1; i <= CODE; i++) begin
                group[i].moments <= 1'b0;
                group[i].normalize <= 1'b0;
            end
        end
    end

    count_t coded;
    logic   tile_coded;

    assign tile_coded = group[CODE].normalize && group[CODE].last;
    assign tiles_done = start ? '0 : coded;
    assign done = tile_coded && group[CODE].layer_end;
    assign write_soon = group[CODE-1].normalize;
    assign write_address = group[CODE].target;
    for (genvar c = 0; c < CHANNELS; c++) begin : g_enable
        assign write_enable[c] = group[CODE].normalize && (c == 0 || !group[CODE].partial);
    end

    always_ff @(posedge clk) begin
        if (tile_coded) coded <= coded + 1'b1;
        if (start) coded <= '0;
    end

    // ---------------------------------------------------------------- shifts of a step's channels
    localparam int SHIFT = VALUE + 3;  // the stage at which the lanes take them
    // verilator lint_off UNUSEDSIGNAL
    logic [SHIFT:1][CHANNELS-1:0][2:0] shift_at;
    // verilator lint_on UNUSEDSIGNAL

    if (SHIFTS) begin : g_shifts
        localparam int GROUPS = (MAX_CHANNELS + CHANNELS - 1) / CHANNELS;
        localparam int GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
        for (genvar c = 0; c < CHANNELS; c++) begin : g_channel
            (* ram_style = "distributed" *) logic [2:0] shifts [0:GROUPS-1];
            logic [2:0] shift;
            assign shift = shifts[GROUP_BITS'(channel / count_t'(CHANNELS))];
            always_ff @(posedge clk) begin
                if (shift_write && 32'(shift_entry) % CHANNELS == c) begin
                    shifts[GROUP_BITS'(32'(shift_entry) / CHANNELS)] <= shift_data;
                end
                shift_at[1][c] <= d.table_entries != '0 ? shift : '0;
            end
        end
        always_ff @(posedge clk) shift_at[SHIFT:2] <= shift_at[SHIFT-1:1];
    end else begin : g_no_shifts
        assign shift_at = '0;
    end

    // ---------------------------------------------------------------- lanes
    logic [3:0]                         at_moments;
    logic [3:0]                         at_normalize;
    logic [3:0]                         at_first;
    logic [CHANNELS-1:0]                from_memory;
    logic [CHANNELS-1:0]                from_drain;
    logic [CHANNELS-1:0][T_N-1:0][15:0] wide_q;
    logic [T_N-1:0][SUM_BITS-1:0]       sum;
    logic [T_N-1:0][SQUARES_BITS-1:0]   squares;
    logic                               result_valid;
    logic [LANE_BITS-1:0]               result_lane;
    logic [FACTOR_BITS-1:0]             factor;
    logic signed [OFFSET_BITS-1:0]      offset;
    logic [5:0]                         distance;

    assign at_moments = {group[VALUE+3].moments, group[VALUE+2].moments, group[VALUE+1].moments, entering.moments};
    assign at_normalize = {group[VALUE+3].normalize, group[VALUE+2].normalize, group[VALUE+1].normalize,
                           entering.normalize};
    assign at_first = {group[VALUE+3].first, group[VALUE+2].first, group[VALUE+1].first, entering.first};
    for (genvar c = 0; c < CHANNELS; c++) begin : g_source
        assign from_memory[c] = !added_valid && (c == 0 || !group[VALUE].partial);
        assign from_drain[c] = added_valid && added_exists[c];
    end
    always_ff @(posedge clk) wide_q <= wide_data;

    for (genvar n = 0; n < T_N; n++) begin : g_lane
        logic [CHANNELS-1:0][15:0]     x;
        logic [CHANNELS-1:0][7:0]      code;
        // Scaling as it is found, and as it waits until the lane begins with it.
        logic [FACTOR_BITS-1:0]        found_factor;
        logic signed [OFFSET_BITS-1:0] found_offset;
        logic [5:0]                    found_distance;
        logic [FACTOR_BITS-1:0]        next_factor;
        logic signed [OFFSET_BITS-1:0] next_offset;
        logic [5:0]                    next_distance;

        for (genvar c = 0; c < CHANNELS; c++) begin : g_channel
            assign x[c] = (wide_q[c][n] & {16{from_memory[c]}}) | (added[c][n] & {16{from_drain[c]}});
            assign write_data[c][n] = code[c];
        end

        layer_norm_lane #(.CHANNEL_BITS(CHANNEL_BITS), .CHANNELS(CHANNELS), .SHIFTS(SHIFTS)) lane (
            .clk, .x, .moments(at_moments), .normalize(at_normalize), .first(at_first),
            .set(at_normalize & at_first), .factor(next_factor), .offset(next_offset), .distance(next_distance),
            .shift(shift_at[SHIFT]), .qmax(8'(d.qmax)), .sum(sum[n]), .squares(squares[n]), .code
        );

        always_ff @(posedge clk) begin
            if (result_valid && result_lane == LANE_BITS'(n)) begin
                found_factor <= factor;
                found_offset <= offset;
                found_distance <= distance;
            end
            if (hand_over) begin
                next_factor <= found_factor;
                next_offset <= found_offset;
                next_distance <= found_distance;
            end
        end
    end

    // ---------------------------------------------------------------- scaling, one token per cycle
    logic                    unserved;       // a tile's scaling has not begun
    logic                    serving;
    logic [1:0]              outstanding;    // tiles whose scaling has begun, but not their codes
    logic                    complete;       // the moments of the next tile to be served are, or will soon be
    logic [COUNTED_OWN-1:0]  complete_since; // bit i: it was so i + 1 cycles ago
    logic                    counted;
    logic                    serving_begins;
    logic                    serve;
    logic                    tile_served;
    logic                    busy;
    count_t                  next_tile;
    logic [TILE_BITS-1:0]    tile;
    logic [LANE_BITS-1:0]    lane;
    count_t                  token;
    logic [1:0]              served_at;
    logic [SUM_BITS-1:0]     token_sum;
    logic [SQUARES_BITS-1:0] token_squares;
    count_t                  result_token;
    logic                    all_found;
    logic                    next_free;
    logic                    found;          // the scaling of all lanes

    assign complete = (own ? moments_tile : tiles_ready) > next_tile;
    assign counted = own ? complete_since[COUNTED_OWN-1] : complete_since[COUNTED_ADDED-1];
    // Two tiles: one waits for its pass, one is on its way. Before its first result is there, the one that waits will have
    // made room, because the tile before has begun its pass.
    assign serving_begins = unserved && !serving && counted && outstanding != 2'd2;
    assign serve = serving && !busy;
    assign tile_served = serve && (lane == LANE_BITS'(T_N - 1) || token == tokens - 1'b1);
    assign all_found = result_valid && (result_lane == LANE_BITS'(T_N - 1) || result_token == tokens - 1'b1);
    assign hand_over = found && next_free;

    always_ff @(posedge clk) begin
        complete_since <= {complete_since[COUNTED_OWN-2:0], complete};
        if (serving_begins) begin
            serving <= 1'b1;
            tile <= next_tile[TILE_BITS-1:0];
            lane <= '0;
            next_tile <= next_tile + 1'b1;
            complete_since <= '0;
        end
        if (serve) begin
            lane <= lane + 1'b1;
            token <= token + 1'b1;
            if (tile_served) serving <= 1'b0;
            if (token == tokens - 1'b1) unserved <= 1'b0;
        end
        outstanding <= outstanding + 2'(serving_begins) - 2'(codes_begin);
        served_at <= {served_at[0], serve};

        if (result_valid) begin
            result_lane <= all_found ? '0 : result_lane + 1'b1;
            result_token <= result_token + 1'b1;
        end
        if (hand_over) found <= 1'b0;
        if (all_found) found <= 1'b1;
        // The lanes take the distance last.
        if (at_normalize[3] && at_first[3]) next_free <= 1'b1;
        if (hand_over) next_free <= 1'b0;
        if (hand_over) scaled <= 1'b1;
        if (codes_begin) scaled <= 1'b0;

        if (start) begin
            unserved <= 1'b1;
            outstanding <= '0;
            next_tile <= '0;
            complete_since <= '0;
            token <= '0;
            result_lane <= '0;
            result_token <= '0;
            found <= 1'b0;
            next_free <= 1'b1;
            scaled <= 1'b0;
        end
        if (rst) begin
            unserved <= 1'b0;
            serving <= 1'b0;
            served_at <= '0;
        end
    end

    layer_norm_moments #(.T_N(T_N), .TILES(TILES), .CHANNEL_BITS(CHANNEL_BITS)) store (
        .clk, .sum_valid(group[SUM].moments && group[SUM].last), .sum_restart(group[SUM].restart),
        .sum_tile(group[SUM].tile), .sum, .squares_valid(group[SQUARES].moments && group[SQUARES].last),
        .squares_restart(group[SQUARES].restart), .squares_tile(group[SQUARES].tile), .squares, .busy, .tile, .lane,
        .token_sum, .token_squares
    );

    layer_norm_scale #(.CHANNEL_BITS(CHANNEL_BITS)) scale (
        .clk, .rst, .channels(passes ? CHANNEL_BITS'(1) : CHANNEL_BITS'(d.k)),
        .epsilon((2 * SUM_BITS)'({d.epsilon_high, d.epsilon_low})), .multiplier(16'(d.multiplier)),
        .exponent(6'(d.shift)), .valid(served_at[1]), .sum(passes ? '0 : token_sum),
        .squares(passes ? '0 : token_squares), .result_valid, .factor, .offset, .distance
    );
endmodule
