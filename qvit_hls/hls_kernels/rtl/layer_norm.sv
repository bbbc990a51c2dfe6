// LayerNorm without affine part: wide memory to activation memory, T_N tokens at once. For every token, over its
// N = d.k channels:
//   S = sum(x), q = floor(sqrt(N * sum(x*x) - S*S + epsilon)), (M, s) = reciprocal(q, d.multiplier, d.shift)
//   y = requantize(N*x - S, M, s, d.qmax)
// Two passes of one channel per cycle for each token tile: moments, then codes. The moments of tile t + 1 come before
// the codes of tile t, so that root and reciprocal, one token per cycle, run meanwhile:
//   moments 0, moments 1, codes 0, moments 2, codes 1, .., codes last-1, codes last
// `done` follows `start` by 2 * d.k * tiles + 8 cycles when there is more than one tile and d.k is at least 10 + T_N plus
// the latency of layer_norm_scale.sv, L; a single tile takes 2 * d.k + 16 + L + d.tokens cycles.
module layer_norm #(
    parameter int T_N = 40,
    parameter int MAX_CHANNELS = 192
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
    output logic [T_N-1:0][7:0]               write_data
);
    localparam int CHANNEL_BITS = $clog2(MAX_CHANNELS + 1);
    localparam int SUM_BITS = 16 + CHANNEL_BITS;
    localparam int SQUARES_BITS = SUM_BITS + 16;
    localparam int FACTOR_BITS = qvit_pkg::MULTIPLIER_BITS + CHANNEL_BITS;
    localparam int OFFSET_BITS = qvit_pkg::MULTIPLIER_BITS + SUM_BITS;
    localparam int LANE_BITS = $clog2(T_N);
    localparam logic [qvit_pkg::COUNT_BITS-1:0] TILE = qvit_pkg::COUNT_BITS'(T_N);
    // Stages after an address: its value, the lanes' sums, squares and codes (layer_norm_lane.sv).
    localparam int VALUE = qvit_pkg::READ_LATENCY;
    localparam int SUM = VALUE + 2;
    localparam int SQUARES = VALUE + 4;
    localparam int CODE = VALUE + 6;

    logic [qvit_pkg::COUNT_BITS-1:0] tokens;
    assign tokens = qvit_pkg::COUNT_BITS'(d.tokens);

    // ---------------------------------------------------------------- passes, one channel per cycle
    logic                              active;
    logic                              normalize;
    logic [1:0]                        pending;       // tiles with moments but without codes
    logic                              scaled;        // the scaling of the last of them is there
    logic [qvit_pkg::COUNT_BITS-1:0]   channel;
    logic [qvit_pkg::COUNT_BITS-1:0]   tokens_after;  // the tiles whose moments have begun
    logic [qvit_pkg::ADDRESS_BITS-1:0] next_moments;
    logic [qvit_pkg::ADDRESS_BITS-1:0] next_codes;
    logic [qvit_pkg::ADDRESS_BITS-1:0] next_target;
    logic [qvit_pkg::ADDRESS_BITS-1:0] target_address;
    logic                              all_scaled;
    logic                              first;
    logic                              last;
    logic                              step;
    logic                              moments_next;
    logic                              codes_next;

    assign first = channel == '0;
    assign last = channel == qvit_pkg::COUNT_BITS'(d.k) - 1'b1;
    // The lanes give up one tile's moments and take its scaling together: neither comes before the scaling is there.
    assign step = active && (scaled || !(normalize ? first && pending == 2'd1 : last));
    assign moments_next = tokens_after != '0 && (normalize || pending == 2'd0);
    assign codes_next = !moments_next && !(normalize && pending == 2'd1);

    always_ff @(posedge clk) begin
        if (step) begin
            channel <= channel + 1'b1;
            wide_address <= wide_address + 1'b1;
            target_address <= target_address + 1'b1;
        end
        if (all_scaled) scaled <= 1'b1;
        if (step && last) begin
            channel <= '0;
            active <= moments_next || codes_next;
            normalize <= codes_next;
            pending <= normalize ? pending - 2'd1 : pending + 2'd1;
            if (!normalize) scaled <= 1'b0;
            if (moments_next) begin
                wide_address <= next_moments;
                next_moments <= next_moments + qvit_pkg::ADDRESS_BITS'(d.x_stride);
                tokens_after <= tokens_after > TILE ? tokens_after - TILE : '0;
            end
            if (codes_next) begin
                wide_address <= next_codes;
                next_codes <= next_codes + qvit_pkg::ADDRESS_BITS'(d.x_stride);
                target_address <= next_target;
                next_target <= next_target + qvit_pkg::ADDRESS_BITS'(d.y_stride);
            end
        end
        if (start) begin
            active <= 1'b1;
            normalize <= 1'b0;
            pending <= '0;
            scaled <= 1'b1;
            channel <= '0;
            tokens_after <= tokens > TILE ? tokens - TILE : '0;
            wide_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            next_moments <= qvit_pkg::ADDRESS_BITS'(d.x_base) + qvit_pkg::ADDRESS_BITS'(d.x_stride);
            next_codes <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            next_target <= qvit_pkg::ADDRESS_BITS'(d.y_base);
        end
        if (rst) active <= 1'b0;
    end

    // What happens at each stage; stage 0 is the address.
    logic [CODE:0]                                    step_at;
    logic [CODE:0]                                    normalize_at;
    logic [VALUE+3:0]                                 first_at;
    logic [SQUARES:0]                                 moments_end_at;
    logic [CODE:0]                                    codes_end_at;
    logic [CODE:1][qvit_pkg::ADDRESS_BITS-1:0]        target_at;
    logic [CODE:1]                                    step_q;
    logic [CODE:1]                                    normalize_q;
    logic [VALUE+3:1]                                 first_q;
    logic [SQUARES:1]                                 moments_end_q;
    logic [CODE:1]                                    codes_end_q;

    assign step_at = {step_q, step};
    assign normalize_at = {normalize_q, normalize};
    assign first_at = {first_q, first};
    assign moments_end_at = {moments_end_q, step && last && !normalize};
    assign codes_end_at = {codes_end_q, step && last && !moments_next && !codes_next};

    always_ff @(posedge clk) begin
        normalize_q <= normalize_at[CODE-1:0];
        first_q <= first_at[VALUE+2:0];
        target_at <= {target_at[CODE-1:1], target_address};
        step_q <= rst ? '0 : step_at[CODE-1:0];
        moments_end_q <= rst ? '0 : moments_end_at[SQUARES-1:0];
        codes_end_q <= rst ? '0 : codes_end_at[CODE-1:0];
    end
    assign write_enable = step_at[CODE] && normalize_at[CODE];
    assign write_address = target_at[CODE];
    assign done = codes_end_at[CODE];

    // ---------------------------------------------------------------- lanes
    logic [T_N-1:0][SUM_BITS+SQUARES_BITS-1:0] taken;
    logic                                      result_valid;
    logic [LANE_BITS-1:0]                      result_lane;
    logic [FACTOR_BITS-1:0]                    factor;
    logic signed [OFFSET_BITS-1:0]             offset;
    logic [5:0]                                distance;

    for (genvar n = 0; n < T_N; n++) begin : g_lane
        logic signed [SUM_BITS-1:0]    sum;
        logic [SQUARES_BITS-1:0]       squares;
        logic [FACTOR_BITS-1:0]        factor_q;
        logic signed [OFFSET_BITS-1:0] offset_q;
        logic [5:0]                    distance_q;

        layer_norm_lane #(.CHANNEL_BITS(CHANNEL_BITS)) lane (
            .clk, .x(wide_data[n]), .step(step_at[VALUE+:4]), .first(first_at[VALUE+:4]),
            .normalize(normalize_at[VALUE+:4]),
            .set(step_at[VALUE+:4] & first_at[VALUE+:4] & normalize_at[VALUE+:4]), .factor(factor_q),
            .offset(offset_q), .distance(distance_q), .qmax(8'(d.qmax)), .sum, .squares, .code(write_data[n])
        );

        always_ff @(posedge clk) begin
            if (moments_end_at[SUM]) taken[n][SUM_BITS-1:0] <= sum;
            if (moments_end_at[SQUARES]) taken[n][SUM_BITS+:SQUARES_BITS] <= squares;
            if (result_valid && result_lane == LANE_BITS'(n)) begin
                factor_q <= factor;
                offset_q <= offset;
                distance_q <= distance;
            end
        end
    end

    // ---------------------------------------------------------------- scaling, one token per cycle
    logic                              serving;
    logic [LANE_BITS-1:0]              lane;
    logic [qvit_pkg::COUNT_BITS-1:0]   token;
    logic [qvit_pkg::COUNT_BITS-1:0]   result_token;
    logic [1:0]                        serving_at;
    logic [SUM_BITS+SQUARES_BITS-1:0]  moments;
    logic                              tile_served;

    assign tile_served = lane == LANE_BITS'(T_N - 1) || token == tokens - 1'b1;
    assign all_scaled = result_valid && (result_lane == LANE_BITS'(T_N - 1) || result_token == tokens - 1'b1);

    always_ff @(posedge clk) begin
        if (serving) begin
            lane <= lane + 1'b1;
            token <= token + 1'b1;
            if (tile_served) serving <= 1'b0;
        end
        if (moments_end_at[SQUARES]) begin
            serving <= 1'b1;
            lane <= '0;
        end
        if (result_valid) begin
            result_lane <= all_scaled ? '0 : result_lane + 1'b1;
            result_token <= result_token + 1'b1;
        end
        if (start) begin
            token <= '0;
            result_lane <= '0;
            result_token <= '0;
        end
        serving_at <= {serving_at[0], serving};
        if (rst) begin
            serving <= 1'b0;
            serving_at <= '0;
        end
    end

    lane_select #(.LANES(T_N), .WIDTH(SUM_BITS + SQUARES_BITS)) pick (.clk, .data(taken), .lane, .result(moments));

    layer_norm_scale #(.CHANNEL_BITS(CHANNEL_BITS)) scale (
        .clk, .rst, .channels(CHANNEL_BITS'(d.k)), .epsilon((2 * SUM_BITS)'({d.epsilon_high, d.epsilon_low})),
        .multiplier(16'(d.multiplier)), .exponent(6'(d.shift)), .valid(serving_at[1]),
        .sum(moments[SUM_BITS-1:0]), .squares(moments[SUM_BITS+:SQUARES_BITS]), .result_valid, .factor, .offset,
        .distance
    );
endmodule
