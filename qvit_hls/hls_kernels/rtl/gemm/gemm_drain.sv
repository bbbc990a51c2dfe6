// The way of a slot's sums into a memory: DRAIN_ROWS rows of all lanes per cycle, while the MAC tile works on the
// next slot. Two-digit rows are recombined, biased, requantized; then an elementwise table, or an addition to
// the residual stream or to a constant, and of scores the tracking of each token's largest.
//
// Stages: 1 row chosen, 2 digits recombined, 3 bias, 3 + REQUANTIZE_LATENCY requantized, 2 more for the table and
// the wide memory's old value, 1 for the result on its way into the memory.
//
// A tile has two-digit rows first, an even number of them where DRAIN_ROWS is 2 and one-digit rows follow, so
// rows that drain together are of one kind. They must not share a bank (channel % DRAIN_ROWS); if they do, the
// second one waits a cycle.
module gemm_drain
    import qvit_pkg::*;
#(
    parameter int T_N = 8,
    parameter int T_M = 16,
    parameter int T_K = 8,
    parameter int SUM_BITS = 20,
    parameter int ACCUMULATOR_BITS = 24,
    parameter int DRAIN_ROWS = 2,
    parameter int CODE_BANKS = 4,   // of the activation and digit memories, a multiple of DRAIN_ROWS
    parameter int TABLE_BITS = 8,
    parameter int MAX_TOKENS = 64,
    parameter bit HAS_SOFTMAX = 1,
    parameter int ROW_BITS = $clog2(T_M + 1)
) (
    input  logic                                                clk,
    input  logic                                                rst,
    input  logic                                                sums_valid,
    input  logic [T_M-1:0][T_N-1:0][SUM_BITS-1:0]               sums,
    input  slot_t                                               front,          // the slot that the sums are of
    output logic [TILE_BITS-1:0]                                row_tile,
    output logic [ROW_BITS-1:0]                                 row_first,
    input  logic [DRAIN_ROWS-1:0][63:0]                         row_data,
    // verilator lint_off UNUSEDSIGNAL  // a table or the softmax may be left out; and not all addresses exist
    input  logic                                                table_write,
    input  logic [COUNT_BITS-1:0]                               table_entry,
    input  logic [7:0]                                          table_data,
    // Row maxima and normalisers have two banks: attention's layers take them in turn, beginning with bank 0.
    input  logic                                                softmax_bank,
    input  logic                                                normalizer_write,
    input  logic [11:0]                                         normalizer_token,
    input  scaling_value_t                                      normalizer,
    input  logic [11:0]                                         maximum_tile,
    // verilator lint_on UNUSEDSIGNAL
    output logic [T_N-1:0][15:0]                                maximum,
    output logic                                                wide_read,
    output logic [DRAIN_ROWS-1:0][ADDRESS_BITS-1:0]             wide_read_address,   // of channels
    input  logic [DRAIN_ROWS-1:0][T_N-1:0][15:0]                wide_read_data,
    // Writes to come, for those that write the same memory: in 1, LAYER_NORM_WRITE and SOFTMAX_WRITE cycles.
    output logic                                                activation_write_next,
    output logic [CODE_BANKS-1:0]                               activation_write_at_norm,  // by bank
    output logic                                                digit_write_at_softmax,
    // What is written by additions to the residual stream, READ_LATENCY + 1 cycles after wide_read: groups of rows,
    // those of a slot in successive cycles.
    output logic                                                added_valid,
    output logic                                                added_first,         // of its layer's first row tile
    output logic                                                added_start,         // first and last group of the slot
    output logic                                                added_end,
    output logic [COUNT_BITS-1:0]                               added_tile,          // token tile
    output logic [DRAIN_ROWS-1:0]                               added_exists,
    output logic [DRAIN_ROWS-1:0][T_N-1:0][15:0]                added,
    // Activation and digit memory: by bank, in words.
    output logic [CODE_BANKS-1:0]                               code_write,
    output logic                                                code_to_digit,
    output logic [CODE_BANKS-1:0][ADDRESS_BITS-1:0]             code_word,
    output logic [T_N-1:0]                                      code_lanes,
    output logic [CODE_BANKS-1:0][T_K/CODE_BANKS-1:0]           code_channels,
    output logic [CODE_BANKS-1:0][T_N-1:0][T_K/CODE_BANKS-1:0][7:0] code_data,
    // Wide memory: by bank, in channels.
    output logic [DRAIN_ROWS-1:0]                               wide_write,
    output logic [DRAIN_ROWS-1:0][ADDRESS_BITS-1:0]             wide_address,
    output logic [T_N-1:0]                                      wide_lanes,
    output logic [DRAIN_ROWS-1:0][T_N-1:0][15:0]                wide_data,
    // What has arrived in the memories with this cycle's write.
    output logic                                                token_tile_drained,  // of a last row tile
    output logic                                                layer_drained
);
    localparam int R = DRAIN_ROWS;
    localparam int BANK_SHIFT = R - 1;  // log2(R), R being 1 or 2
    localparam int WORD_SHIFT = $clog2(T_K);
    localparam int BLOCK_CYCLES = T_N / T_K;
    localparam int BLOCKS = T_K / R;
    localparam int STAGES = 3 + REQUANTIZE_LATENCY + 3;
    localparam int REQUANTIZED = 3 + REQUANTIZE_LATENCY;
    localparam int TOKEN_TILES = (MAX_TOKENS + T_N - 1) / T_N;
    localparam int TOKEN_BITS = MAX_TOKENS > 1 ? $clog2(MAX_TOKENS) : 1;

    typedef logic [COUNT_BITS-1:0] count_t;
    typedef logic [ADDRESS_BITS-1:0] address_t;

    // ---------------------------------------------------------------- stage 0: which rows
    logic [T_M-1:0][T_N-1:0][SUM_BITS-1:0] held;
    slot_t              slot;
    logic               draining, first_turn, second_turn;
    count_t             cycles_left, atom, block_cycle, block;
    logic signed [16:0] row;             // negative: before the tile's part of its first transposed block
    address_t           block_address;

    logic                 transposed, row_exists, two_digits, conflict;
    logic [R-1:0]         emit;
    row_parameters_t      parameters [0:R-1];
    scaling_value_t       normalizers [0:R-1];
    logic [R-1:0][CHANNEL_BITS-1:0] channel;
    assign transposed = slot.destination == TO_ACTIVATION_TRANSPOSED;
    assign row_exists = row >= 0 && row < $signed({1'b0, slot.tile.rows});
    assign two_digits = row < $signed({1'b0, slot.tile.rows8});
    assign row_tile = slot.tile.index;
    assign row_first = row[ROW_BITS-1:0];

    for (genvar r = 0; r < R; r++) begin : emitted
        assign parameters[r] = row_data[r];
        assign channel[r] = slot.scaling == SCALING_PER_ROW
                          ? parameters[r].channel : CHANNEL_BITS'(32'(slot.tile.first_row) + 32'(row) + r);
        assign emit[r] = draining && row_exists && row + r < $signed({1'b0, slot.tile.rows})
                       && (r == 0 ? !second_turn : second_turn || !conflict);
    end
    assign conflict = R == 2 && !transposed && row + 1 < $signed({1'b0, slot.tile.rows})
                    && channel[0][0] == channel[R-1][0];

    if (HAS_SOFTMAX) begin : deferred_normalization
        logic context_bank;
        for (genvar r = 0; r < R; r++) begin : copy
            (* ram_style = "distributed" *) logic [$bits(scaling_value_t)-1:0] content [0:(2<<TOKEN_BITS)-1];
            logic [COUNT_BITS-1:0] token;
            assign token = slot.tile.first_row + count_t'(row) + count_t'(r);
            always_ff @(posedge clk)
                if (normalizer_write) content[{softmax_bank, normalizer_token[TOKEN_BITS-1:0]}] <= normalizer;
            assign normalizers[r] = 32'(token) < MAX_TOKENS ? content[{context_bank, token[TOKEN_BITS-1:0]}] : '0;
        end
        always_ff @(posedge clk) begin
            if (draining && cycles_left == 1 && slot.last && slot.scaling == SCALING_RECIPROCAL)
                context_bank <= !context_bank;
            if (rst) context_bank <= 1'b0;
        end
    end else begin : no_normalization
        for (genvar r = 0; r < R; r++) begin : copy
            assign normalizers[r] = '0;
        end
    end

    always_ff @(posedge clk) begin
        if (sums_valid) held <= sums;
        if (sums_valid) begin
            slot <= front;
            draining <= 1'b1;
            first_turn <= 1'b1;
            second_turn <= 1'b0;
            cycles_left <= front.tile.drain_cycles;
            atom <= '0;
            row <= front.destination == TO_ACTIVATION_TRANSPOSED ? -$signed({1'b0, front.tile.position}) : '0;
            block_cycle <= '0;
            block <= front.tile.block;
            block_address <= front.tile.block_address;
        end else if (draining) begin
            draining <= cycles_left != 1;
            first_turn <= 1'b0;
            cycles_left <= cycles_left - 1'b1;
            second_turn <= conflict && row_exists && !second_turn;
            if (!(conflict && row_exists && !second_turn)) begin
                row <= row + 17'(R);
                if (row_exists) atom <= atom + (two_digits ? count_t'(2 * R) : count_t'(R));
            end
            block_cycle <= block_cycle + 1'b1;
            if (block_cycle + 1'b1 == count_t'(BLOCK_CYCLES)) begin
                block_cycle <= '0;
                block <= block + 1'b1;
                if (block + 1'b1 == count_t'(BLOCKS)) begin
                    block <= '0;
                    block_address <= block_address + slot.y_stride;
                end
            end
        end
        if (rst) draining <= 1'b0;
    end

    // ---------------------------------------------------------------- what accompanies the rows
    typedef struct packed {
        logic [R-1:0]                emit;
        logic                        slot_start;
        logic                        slot_end;
        logic                        tile_first;
        logic                        tile_last;
        logic                        layer_end;
        destination_t                destination;
        logic                        has_table;
        logic [15:0]                 qmax;
        count_t                      token_tile;
        count_t                      first_lane;
        count_t                      end_lane;
        logic [R-1:0][ADDRESS_BITS-1:0] address;      // not transposed: of the row's channel
        logic                        in_block;        // transposed: a cycle of a block
        count_t                      block_cycle;
        count_t                      block;
        address_t                    block_address;   // of its lanes, first token of the tile
    } tag_t;
    tag_t tag [1:STAGES];
    tag_t tag0;
    always_comb begin
        tag0.emit = emit;
        tag0.slot_start = first_turn;
        tag0.slot_end = draining && cycles_left == 1;
        tag0.tile_first = slot.tile.first_row == 0;
        tag0.tile_last = slot.tile.last;
        tag0.layer_end = slot.last;
        tag0.destination = slot.destination;
        tag0.has_table = slot.has_table;
        tag0.qmax = slot.qmax;
        tag0.token_tile = slot.token_tile;
        tag0.first_lane = slot.first_lane;
        tag0.end_lane = slot.end_lane;
        for (int r = 0; r < R; r++) tag0.address[r] = slot.y_address + address_t'(channel[r]);
        tag0.in_block = draining && transposed;
        tag0.block_cycle = block_cycle;
        tag0.block = block;
        tag0.block_address = block_address + slot.token;
    end
    always_ff @(posedge clk) begin
        tag[1] <= tag0;
        for (int i = 2; i <= STAGES; i++) tag[i] <= tag[i-1];
        if (rst) begin
            for (int i = 1; i <= STAGES; i++) begin
                tag[i].emit <= '0;
                tag[i].slot_end <= 1'b0;
                tag[i].in_block <= 1'b0;
            end
        end
    end

    // ---------------------------------------------------------------- stages 1 to 3: recombination and bias
    logic [2*R-1:0][T_N-1:0][SUM_BITS-1:0] chosen;
    assign chosen = held[(32'(atom)/(2*R))*(2*R) +: 2*R];

    logic                                   both [1:1];
    logic [R-1:0][T_N-1:0][SUM_BITS-1:0]    high1, low1;
    scaling_value_t                         scaling1 [0:R-1], scaling2 [0:R-1], scaling3 [0:R-1];
    logic signed [BIAS_BITS-1:0]            bias1 [0:R-1], bias2 [0:R-1];
    always_ff @(posedge clk) begin
        both[1] <= two_digits;
        for (int r = 0; r < R; r++) begin
            high1[r] <= two_digits ? chosen[2*r] : atom[BANK_SHIFT] ? chosen[R+r] : chosen[r];
            low1[r] <= chosen[2*r+1];
            bias1[r] <= slot.scaling == SCALING_PER_ROW ? parameters[r].bias : '0;
            case (slot.scaling)
                SCALING_PER_ROW: scaling1[r] <= {1'b0, parameters[r].multiplier, parameters[r].shift};
                SCALING_CONSTANT: scaling1[r] <= slot.constant;
                default: scaling1[r] <= normalizers[r];
            endcase
            scaling2[r] <= scaling1[r];
            scaling3[r] <= scaling2[r];
            bias2[r] <= bias1[r];
        end
    end

    // ---------------------------------------------------------------- every lane of every row
    logic [R-1:0][T_N-1:0][15:0] requantized, value, result;
    logic [R-1:0][T_N-1:0][15:0] requantized1, requantized2;
    logic [R-1:0][T_N-1:0][7:0]  from_table;
    for (genvar r = 0; r < R; r++) begin : row_of
        for (genvar n = 0; n < T_N; n++) begin : lane
            logic signed [ACCUMULATOR_BITS-1:0] high, low, combined, total;
            assign high = ACCUMULATOR_BITS'($signed(high1[r][n]));
            assign low = ACCUMULATOR_BITS'($signed(low1[r][n]));
            always_ff @(posedge clk) begin
                combined <= both[1] ? (high <<< 4) + low : high;
                total <= combined + ACCUMULATOR_BITS'(bias2[r]);
            end
            requantize #(.WIDTH(ACCUMULATOR_BITS)) requantizer (
                .clk,
                .value(total),
                .multiplier(scaling3[r].multiplier),
                .shift(scaling3[r].shift),
                .qmax(tag[3].qmax),
                .result(requantized[r][n])
            );
            if (TABLE_BITS > 0) begin : with_table
                elementwise_table #(.TABLE_BITS(TABLE_BITS)) copy (
                    .clk,
                    .write(table_write),
                    .write_entry(table_entry[TABLE_BITS-1:0]),
                    .write_data(table_data),
                    .entry(TABLE_BITS'(requantized[r][n] + tag[REQUANTIZED].qmax)),
                    .data(from_table[r][n])
                );
            end else begin : without_table
                assign from_table[r][n] = '0;
            end
            always_ff @(posedge clk) begin
                requantized1[r][n] <= requantized[r][n];
                requantized2[r][n] <= requantized1[r][n];
            end
            assign value[r][n] = tag[REQUANTIZED+2].has_table ? {{8{from_table[r][n][7]}}, from_table[r][n]}
                                                               : requantized2[r][n];
        end
    end

    // The old values that results are added to, from the banks to the rows.
    logic [R-1:0][T_N-1:0][15:0] old_value;
    always_comb begin
        for (int r = 0; r < R; r++) begin
            old_value[r] = R == 2 && tag[REQUANTIZED+2].address[r][0] ? wide_read_data[R-1] : wide_read_data[0];
        end
        for (int b = 0; b < R; b++) begin
            wide_read_address[b] = tag[REQUANTIZED].address[0];
            if (R == 2 && tag[REQUANTIZED].emit[R-1] && tag[REQUANTIZED].address[R-1][0] == 1'(b))
                wide_read_address[b] = tag[REQUANTIZED].address[R-1];
        end
    end

    for (genvar r = 0; r < R; r++) begin : result_row
        for (genvar n = 0; n < T_N; n++) begin : result_lane
            logic signed [16:0] total, limit;
            assign limit = {1'b0, tag[REQUANTIZED+2].qmax};
            // Tokens before the first keep their value: they are not written, but count in the moments.
            assign total = $signed(old_value[r][n])
                         + (count_t'(n) < tag[REQUANTIZED+2].first_lane ? 17'sd0 : 17'($signed(value[r][n])));
            always_ff @(posedge clk) begin
                if (adds_to_wide(tag[REQUANTIZED+2].destination))
                    result[r][n] <= total > limit ? limit[15:0] : total < -limit ? 16'(-limit) : total[15:0];
                else result[r][n] <= value[r][n];
            end
        end
    end
    assign wide_read = tag[REQUANTIZED].emit != '0 && adds_to_wide(tag[REQUANTIZED].destination);

    // ---------------------------------------------------------------- writes to come
    // Result rows are written at the last stage; a transposed block's words BLOCK_CYCLES after the block's cycles
    // have been there.
    logic [STAGES+BLOCK_CYCLES:1] in_block_at;
    logic [BLOCK_CYCLES:1]        in_block_late;
    always_ff @(posedge clk) begin
        in_block_late <= BLOCK_CYCLES'({in_block_late, tag[STAGES].in_block});
        if (rst) in_block_late <= '0;
    end
    for (genvar i = 1; i <= STAGES; i++) begin : block_stage
        assign in_block_at[i] = tag[i].in_block;
    end
    assign in_block_at[STAGES+BLOCK_CYCLES:STAGES+1] = in_block_late;
    assign activation_write_next = in_block_at[STAGES+BLOCK_CYCLES-1]
                                || (tag[STAGES-1].emit != '0 && tag[STAGES-1].destination == TO_ACTIVATION);
    for (genvar b = 0; b < CODE_BANKS; b++) begin : norm_bank
        logic [R-1:0] mine;
        for (genvar r = 0; r < R; r++) begin : from_row
            assign mine[r] = tag[STAGES-LAYER_NORM_WRITE].emit[r]
                          && 32'(tag[STAGES-LAYER_NORM_WRITE].address[r][WORD_SHIFT-1:0]) % CODE_BANKS == b;
        end
        assign activation_write_at_norm[b] = in_block_at[STAGES+BLOCK_CYCLES-LAYER_NORM_WRITE]
            || (mine != '0 && tag[STAGES-LAYER_NORM_WRITE].destination == TO_ACTIVATION);
    end
    assign digit_write_at_softmax = tag[STAGES-SOFTMAX_WRITE].emit != '0
                                 && tag[STAGES-SOFTMAX_WRITE].destination == TO_DIGIT;

    // ---------------------------------------------------------------- last stage: into the memories
    // verilator lint_off UNUSEDSIGNAL  // some fields were of use in the stages before
    tag_t           last;
    // verilator lint_on UNUSEDSIGNAL
    logic [T_N-1:0] lanes;
    assign last = tag[STAGES];
    for (genvar n = 0; n < T_N; n++) begin : lane_mask
        assign lanes[n] = count_t'(n) >= last.first_lane && count_t'(n) < last.end_lane;
    end

    logic                                   transposed_write;
    logic [ADDRESS_BITS-1:0]                transposed_word;
    logic [T_N-1:0]                         transposed_lanes;
    logic [T_K-1:0]                         transposed_channels;
    logic [T_N-1:0][T_K-1:0][7:0]           transposed_data;
    logic [R-1:0][T_N-1:0][7:0]             codes;
    for (genvar r = 0; r < R; r++) begin : code_row
        for (genvar n = 0; n < T_N; n++) begin : code_lane
            assign codes[r][n] = result[r][n][7:0];
        end
    end
    gemm_transposer #(.T_N(T_N), .T_K(T_K), .ROWS(R)) transposer (
        .clk,
        .rst,
        .valid(last.in_block),
        .cycle(last.block_cycle),
        .emit(last.emit),
        .codes,
        .block(last.block),
        .address(last.block_address),
        .end_channel(last.end_lane),
        .write(transposed_write),
        .word(transposed_word),
        .lanes(transposed_lanes),
        .channels(transposed_channels),
        .data(transposed_data)
    );

    assign added_valid = last.emit != '0 && last.destination == TO_WIDE_ADD;
    assign added_first = last.tile_first;
    assign added_start = last.slot_start;
    assign added_end = last.slot_end;
    assign added_tile = last.token_tile;
    assign added_exists = last.emit;
    assign added = result;

    logic to_code, to_wide;
    assign to_code = last.destination == TO_ACTIVATION || last.destination == TO_DIGIT;
    assign to_wide = last.destination == TO_WIDE || adds_to_wide(last.destination) || is_scores(last.destination);
    assign code_to_digit = !transposed_write && last.destination == TO_DIGIT;
    assign code_lanes = transposed_write ? transposed_lanes : lanes;
    assign wide_lanes = lanes;

    for (genvar b = 0; b < R; b++) begin : wide_bank
        logic [R-1:0] mine;
        for (genvar r = 0; r < R; r++) begin : from_row
            assign mine[r] = last.emit[r] && (R == 1 || last.address[r][0] == 1'(b));
        end
        assign wide_write[b] = to_wide && mine != '0;
        assign wide_address[b] = mine[0] ? last.address[0] : last.address[R-1];
        assign wide_data[b] = mine[0] ? result[0] : result[R-1];
    end
    for (genvar b = 0; b < CODE_BANKS; b++) begin : code_bank
        logic [R-1:0]            mine;
        logic [ADDRESS_BITS-1:0] address;
        logic [T_N-1:0][7:0]     values;
        for (genvar r = 0; r < R; r++) begin : from_row
            assign mine[r] = last.emit[r] && 32'(last.address[r][WORD_SHIFT-1:0]) % CODE_BANKS == b;
        end
        assign address = mine[0] ? last.address[0] : last.address[R-1];
        assign values = mine[0] ? codes[0] : codes[R-1];
        assign code_write[b] = transposed_write || (to_code && mine != '0);
        assign code_word[b] = transposed_write ? transposed_word : address >> WORD_SHIFT;
        for (genvar i = 0; i < T_K / CODE_BANKS; i++) begin : channel_of
            assign code_channels[b][i] = transposed_write ? transposed_channels[i*CODE_BANKS+b]
                                                          : 32'(address[WORD_SHIFT-1:0]) / CODE_BANKS == i;
            for (genvar n = 0; n < T_N; n++) begin : lane_of
                assign code_data[b][n][i] = transposed_write ? transposed_data[n][i*CODE_BANKS+b] : values[n];
            end
        end
    end

    // ---------------------------------------------------------------- each token's largest score
    if (HAS_SOFTMAX) begin : score_maximum
        localparam int ENTRY_BITS = TOKEN_TILES > 1 ? $clog2(TOKEN_TILES) : 1;
        (* ram_style = "distributed" *) logic [T_N*16-1:0] content [0:(2<<ENTRY_BITS)-1];
        logic [T_N-1:0][15:0] known, largest;
        logic                 score_bank;
        assign known = content[{score_bank, last.token_tile[ENTRY_BITS-1:0]}];
        assign maximum = content[{softmax_bank, maximum_tile[ENTRY_BITS-1:0]}];
        for (genvar n = 0; n < T_N; n++) begin : lane
            logic signed [15:0] base, with_first, first_value, second_value;
            assign base = last.tile_first && last.slot_start ? -16'sd32768 : $signed(known[n]);
            assign first_value = $signed(result[0][n]);
            assign second_value = $signed(result[R-1][n]);
            assign with_first = last.emit[0] && first_value > base ? first_value : base;
            assign largest[n] = last.emit[R-1] && second_value > with_first ? second_value : with_first;
        end
        always_ff @(posedge clk) begin
            if (is_scores(last.destination) && |last.emit)
                content[{score_bank, last.token_tile[ENTRY_BITS-1:0]}] <= largest;
            if (is_scores(last.destination) && last.slot_end && last.layer_end) score_bank <= !score_bank;
            if (rst) score_bank <= 1'b0;
        end
    end else begin : no_maximum
        assign maximum = '0;
    end

    // ---------------------------------------------------------------- what is complete
    logic [BLOCK_CYCLES:0] tile_late, layer_late;  // transposed results are written a block later
    logic late;
    assign late = last.destination == TO_ACTIVATION_TRANSPOSED;
    always_ff @(posedge clk) begin
        tile_late <= {tile_late[BLOCK_CYCLES-1:0], last.slot_end && last.tile_last && late};
        layer_late <= {layer_late[BLOCK_CYCLES-1:0], last.slot_end && last.layer_end && late};
        if (rst) begin
            tile_late <= '0;
            layer_late <= '0;
        end
    end
    assign token_tile_drained = (last.slot_end && last.tile_last && !late) || tile_late[BLOCK_CYCLES];
    assign layer_drained = (last.slot_end && last.layer_end && !late) || layer_late[BLOCK_CYCLES];
endmodule
