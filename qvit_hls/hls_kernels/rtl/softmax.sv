// Softmax without its division: exponents by table go to the digit memory, and for each token the reciprocal of
// their sum becomes the requantization of its context row (deferred normalisation):
//   exponent[key] = table[clamp(maximum - score[key], 0, 255)]
//   normalizer = d.multiplier / 2**d.shift / sum(exponent)
// T_N tokens at once, KEYS keys per cycle. The sums of a token tile are taken over lane by lane while the next tile
// runs, so that tiles follow each other in max(groups, T_N) cycles, groups = ceil(d.k / KEYS). Table entries are
// within 0..127: 7 bits halve the RAM. Every key of a group has its own copy of a lane's table, which has one read
// port.
//
// A step reads one group of KEYS neighbouring keys; its exponents are written SOFTMAX_WRITE cycles later. Without
// `advance`, or while the token tile is not ready, no step is taken: its cycle may belong to another reader of the
// wide memory, or its write's cycle to another writer of the digit memory.
//
// `done` follows `start` by groups + (tiles-1) * max(groups, T_N) + (tokens of the last tile) + 16 + $clog2(SUM_BITS)
// cycles if steps never wait.
module softmax #(
    parameter int T_N = 40,
    parameter int MAX_TOKENS = 197,
    parameter int KEYS = 2
) (
    input  logic                              clk,
    input  logic                              rst,
    input  logic                              start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                              done,
    // A step may be taken in this cycle; token tiles whose scores and maxima are complete.
    input  logic                              advance,
    input  logic [qvit_pkg::COUNT_BITS-1:0]   tiles_ready,
    // One entry of every lane's table per cycle, never while busy.
    input  logic                              table_write,
    input  logic [7:0]                        table_entry,
    // verilator lint_off UNUSEDSIGNAL
    input  logic [7:0]                        table_data,
    // verilator lint_on UNUSEDSIGNAL
    // Scores of a group from its first key on, READ_LATENCY after its step; and, in the cycle that maximum_tile is
    // there, the largest score of each of its tokens.
    output logic [qvit_pkg::ADDRESS_BITS-1:0] wide_address,
    input  logic [KEYS-1:0][T_N-1:0][15:0]    wide_data,
    output logic [11:0]                       maximum_tile,
    input  logic [T_N-1:0][15:0]              maximum,
    // Exponents of a group from its first key on, all lanes; a key that does not exist is not enabled.
    output logic [KEYS-1:0]                   write_enable,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] write_address,
    output logic [KEYS-1:0][T_N-1:0][7:0]     write_data,
    output logic                              normalizer_write,
    output logic [11:0]                       normalizer_token,
    output qvit_pkg::scaling_value_t          normalizer
);
    localparam int SUM_BITS = 7 + $clog2(MAX_TOKENS + 1);
    localparam int LANE_BITS = $clog2(T_N);
    localparam logic [qvit_pkg::COUNT_BITS-1:0] TILE = qvit_pkg::COUNT_BITS'(T_N);
    // Stages after the address: the score, the table's entry, the exponent, the sum.
    localparam int SCORE = qvit_pkg::READ_LATENCY;
    localparam int ENTRY = SCORE + 1;
    localparam int EXPONENT = qvit_pkg::SOFTMAX_WRITE;
    localparam int SUM = EXPONENT + 1;

    // ---------------------------------------------------------------- one group of keys per cycle
    logic                              active;
    logic [LANE_BITS-1:0]              pause;  // cycles until the sums of another tile can be taken
    logic [qvit_pkg::COUNT_BITS-1:0]   keys_left;
    logic [qvit_pkg::COUNT_BITS-1:0]   tokens_left;
    logic [11:0]                       tile;
    logic [qvit_pkg::ADDRESS_BITS-1:0] source;
    logic [qvit_pkg::ADDRESS_BITS-1:0] target;
    logic [qvit_pkg::ADDRESS_BITS-1:0] target_address;
    logic                              first;
    logic                              last;
    logic                              step;
    logic [KEYS-1:0]                   exists;

    assign last = keys_left <= qvit_pkg::COUNT_BITS'(KEYS);
    assign step = active && advance && tiles_ready > qvit_pkg::COUNT_BITS'(tile) && !(last && pause != '0);
    always_comb for (int i = 0; i < KEYS; i++) exists[i] = keys_left > qvit_pkg::COUNT_BITS'(i);

    always_ff @(posedge clk) begin
        if (step) begin
            first <= last;
            keys_left <= keys_left - qvit_pkg::COUNT_BITS'(KEYS);
            wide_address <= wide_address + qvit_pkg::ADDRESS_BITS'(KEYS);
            target_address <= target_address + qvit_pkg::ADDRESS_BITS'(KEYS);
        end
        if (pause != '0) pause <= pause - 1'b1;
        if (step && last) begin
            active <= tokens_left > TILE;
            pause <= LANE_BITS'(T_N - 1);
            keys_left <= qvit_pkg::COUNT_BITS'(d.k);
            tile <= tile + 1'b1;
            tokens_left <= tokens_left - TILE;
            source <= source + qvit_pkg::ADDRESS_BITS'(d.x_stride);
            wide_address <= source + qvit_pkg::ADDRESS_BITS'(d.x_stride);
            target <= target + qvit_pkg::ADDRESS_BITS'(d.y_stride);
            target_address <= target + qvit_pkg::ADDRESS_BITS'(d.y_stride);
        end
        if (start) begin
            active <= 1'b1;
            pause <= '0;
            first <= 1'b1;
            keys_left <= qvit_pkg::COUNT_BITS'(d.k);
            tile <= '0;
            tokens_left <= qvit_pkg::COUNT_BITS'(d.tokens);
            source <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            wide_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
            target <= qvit_pkg::ADDRESS_BITS'(d.y_base);
            target_address <= qvit_pkg::ADDRESS_BITS'(d.y_base);
        end
        if (rst) active <= 1'b0;
    end

    // What happens at each stage; stage 0 is the address.
    logic [SUM:1]                                  step_at;
    logic [SUM:1]                                  first_at;
    logic [SUM:1]                                  last_at;
    logic [SCORE:1][11:0]                          tile_at;
    logic [EXPONENT:1][KEYS-1:0]                   exists_at;
    logic [EXPONENT:1][qvit_pkg::ADDRESS_BITS-1:0] target_at;

    always_ff @(posedge clk) begin
        first_at <= SUM'({first_at, first});
        last_at <= SUM'({last_at, last});
        tile_at <= {tile_at[SCORE-1:1], tile};
        exists_at <= {exists_at[EXPONENT-1:1], exists};
        target_at <= {target_at[EXPONENT-1:1], target_address};
        if (rst) step_at <= '0;
        else step_at <= SUM'({step_at, step});
    end
    assign maximum_tile = tile_at[SCORE];
    assign write_enable = step_at[EXPONENT] ? exists_at[EXPONENT] : '0;
    assign write_address = target_at[EXPONENT];

    // ---------------------------------------------------------------- lanes
    logic [T_N-1:0][SUM_BITS-1:0] sum;
    logic [T_N-1:0][SUM_BITS-1:0] taken;

    for (genvar n = 0; n < T_N; n++) begin : g_lane
        for (genvar i = 0; i < KEYS; i++) begin : g_key
            logic signed [16:0] distance;
            logic [7:0]         entry;
            // Lanes without a token may hold anything.
            assign distance = {maximum[n][15], maximum[n]} - {wide_data[i][n][15], wide_data[i][n]};
            always_ff @(posedge clk) entry <= distance[16] ? 8'd0 : distance[7:0] | {8{distance[15:8] != '0}};

            (* ram_style = "distributed" *) logic [6:0] exponents [0:255];
            always_ff @(posedge clk) begin
                if (table_write) exponents[table_entry] <= table_data[6:0];
                // What does not exist adds nothing.
                write_data[i][n] <= exists_at[ENTRY][i] ? {1'b0, exponents[entry]} : '0;
            end
        end

        logic [SUM_BITS-1:0] group;
        always_comb begin
            group = '0;
            for (int i = 0; i < KEYS; i++) group = group + SUM_BITS'(write_data[i][n][6:0]);
        end
        always_ff @(posedge clk) begin
            if (step_at[EXPONENT]) sum[n] <= (first_at[EXPONENT] ? '0 : sum[n]) + group;
            if (step_at[SUM] && last_at[SUM]) taken[n] <= sum[n];
        end
    end

    // ---------------------------------------------------------------- one token per cycle
    logic                  serving;
    logic [LANE_BITS-1:0]  lane;
    logic [qvit_pkg::COUNT_BITS-1:0] token;
    logic [1:0]            serving_at;
    logic [SUM_BITS-1:0]   denominator;

    always_ff @(posedge clk) begin
        if (serving) begin
            lane <= lane + 1'b1;
            token <= token + 1'b1;
            if (lane == LANE_BITS'(T_N - 1) || token == qvit_pkg::COUNT_BITS'(d.tokens) - 1'b1) serving <= 1'b0;
        end
        if (step_at[SUM] && last_at[SUM]) begin
            serving <= 1'b1;
            lane <= '0;
        end
        if (normalizer_write) normalizer_token <= normalizer_token + 1'b1;
        if (start) begin
            token <= '0;
            normalizer_token <= '0;
        end
        serving_at <= {serving_at[0], serving};
        if (rst) begin
            serving <= 1'b0;
            serving_at <= '0;
        end
    end

    lane_select #(.LANES(T_N), .WIDTH(SUM_BITS)) pick (.clk, .data(taken), .lane, .result(denominator));

    reciprocal #(.WIDTH(SUM_BITS)) normalize (
        .clk, .rst, .valid(serving_at[1]), .denominator, .multiplier(16'(d.multiplier)), .exponent(6'(d.shift)),
        .result_valid(normalizer_write), .result(normalizer)
    );

    assign done = normalizer_write && normalizer_token == 12'(d.tokens) - 1'b1;
endmodule
