// Runs ahead of everything else and takes what layers need from the weight stream, in order: tables, the
// residual stream's constant part, row parameters and digits. A row tile's digits go where the weight buffer has
// room; digits of attention products come from the digit memory instead. Loaded row tiles are handed to the
// sequencer in order.
//
// Rate: one beat (a word of every port) per cycle, DIGIT_GROUP rows of T_K channels per cycle from the digit
// memory, one table entry per cycle.
module gemm_loader
    import qvit_pkg::*;
#(
    parameter int T_N = 8,
    parameter int T_M = 16,
    parameter int T_K = 8,
    parameter int PORTS = 1,
    parameter int WEIGHT_DEPTH = 64,
    parameter int DRAIN_ROWS = 2,
    parameter bit HAS_NORM_SHIFTS = 0,
    parameter int BUFFER_BITS = $clog2(2 * WEIGHT_DEPTH),
    parameter int GROUP_BITS = $clog2((T_M + 2 * PORTS - 1) / (2 * PORTS) + 1)
) (
    input  logic                            clk,
    input  logic                            rst,
    // The layer to load, and how far the others are.
    input  logic                            layer_valid,
    // verilator lint_off UNUSEDSIGNAL  // not every field concerns this module
    input  descriptor_t                     d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                            layer_loaded,   // one cycle: on to the next
    input  progress_t                       progress,
    input  logic                            may_use_memories,  // the trace does not need them
    // Weight stream.
    input  logic                            beat_valid,
    input  logic [PORTS-1:0][127:0]         beat,
    output logic                            beat_ready,
    // Digit memory, data after READ_LATENCY.
    output logic [ADDRESS_BITS-1:0]         digit_word,
    input  logic [T_N-1:0][T_K-1:0][7:0]    digit_data,
    // Weight buffer.
    output logic [T_M-1:0]                  buffer_write,
    output logic [BUFFER_BITS-1:0]          buffer_address,
    output logic [T_M-1:0][T_K-1:0][3:0]    buffer_data,
    // Row parameters.
    output logic                            row_write,
    output logic [TILE_BITS-1:0]            row_tile,
    output logic [GROUP_BITS-1:0]           row_group,
    output logic [2*PORTS-1:0][63:0]        row_data,
    // Tables: of elementwise functions, of the softmax's exponents, and of the shifts of LayerNorm's channels.
    output logic                            table_write,
    output logic                            exponent_write,
    output logic                            shift_write,
    output logic [COUNT_BITS-1:0]           table_entry,
    output logic [7:0]                      table_data,
    // Residual constant: wide memory.
    output logic                            wide_write,
    output logic [ADDRESS_BITS-1:0]         wide_address,
    output logic [T_N-1:0]                  wide_lanes,
    output logic [T_N-1:0][15:0]            wide_data,
    // Row tiles to the sequencer, and its word that it is done with one, of so many steps.
    output logic                            tile_valid,
    output row_tile_t                       tile,
    input  logic                            tile_released,
    input  logic [COUNT_BITS-1:0]           released_steps
);
    function automatic int gcd(int a, int b);
        int x, y, rest;
        x = a;
        y = b;
        while (y != 0) begin
            rest = x % y;
            x = y;
            y = rest;
        end
        return x;
    endfunction

    localparam int ROWS_PER_BEAT = 32 * PORTS / T_K;
    localparam int DIGIT_GROUP = gcd(T_N, T_M / 2);
    localparam int DIGIT_GROUPS = T_N / DIGIT_GROUP;
    localparam int BLOCK = DRAIN_ROWS * T_N / T_K;        // rows of a transposed block
    localparam int BLOCK_CYCLES = T_N / T_K;
    localparam int BLOCKS = T_K / DRAIN_ROWS;             // in the lanes
    localparam int VALUES_PER_BEAT = 8 * PORTS;
    localparam int WORD_SHIFT = $clog2(T_K);

    typedef logic [COUNT_BITS-1:0] count_t;
    typedef logic [ADDRESS_BITS-1:0] address_t;

    typedef enum logic [3:0] {
        IDLE, TABLE, RESIDUAL, PLAN, PARAMETERS, DIGITS, GROUPS, FLUSH, ADVANCE, PUSH
    } state_t;
    state_t state;

    // ---------------------------------------------------------------- what the layer is, and when it may load
    count_t gemms, vectors;              // layers of each lane that have been dealt with
    // Layers of a lane that must be complete before a table is overwritten.
    count_t table_free, exponents_free, shifts_free;
    logic   from_memory, two_digit_source, transposed, operands_complete;
    assign operands_complete = may_use_memories && ready_tiles(d.after, progress) == '1;
    assign from_memory = d.digit_source == DIGITS_MEMORY;
    assign two_digit_source = d.rows8 != 0;
    assign transposed = d.destination == TO_ACTIVATION_TRANSPOSED;

    // ---------------------------------------------------------------- the row tile being loaded
    count_t rows_left, rows8_left;   // of the layer, this tile included
    count_t tile_rows, tile_rows8, tile_atoms;
    count_t rows8_here, rows4_here, room4;
    assign rows8_here = rows8_left < count_t'(T_M / 2) ? rows8_left : count_t'(T_M / 2);
    assign room4 = count_t'(T_M) - (rows8_here << 1);
    assign rows4_here = rows_left - rows8_here < room4 ? rows_left - rows8_here : room4;

    row_tile_t planned;
    count_t    row, step, atom, conflicts;
    count_t    digit_block;           // of DIGIT_GROUP lanes, in the digit memory
    address_t  digit_base, digit_tile;
    logic [TILE_BITS-1:0] tile_index;
    // The weight buffer is a ring: a tile may be loaded when there is room for its steps. Row parameters are
    // kept until a tile is drained, which is one tile later than its digits.
    localparam int BUFFER_STEPS = 2 * WEIGHT_DEPTH;
    localparam int MOST_TILES = (1 << TILE_BITS) - 2;
    logic [TILE_BITS-1:0] tiles_taken;
    // Row tiles take turns in groups, as many as half of the buffer holds: the other half loads meanwhile.
    logic [1:0]           group_tiles;  // of the group before this tile
    logic                 another_fits;
    assign another_fits = 32'(group_tiles) + 1 < GROUP_TILES
                       && (32'(group_tiles) + 2) * 32'(d.k_steps[COUNT_BITS-1:0]) <= WEIGHT_DEPTH;
    count_t               free_steps, base, place;  // place: of the current step
    count_t               next_place;
    assign next_place = place + 1'b1 == count_t'(BUFFER_STEPS) ? '0 : place + 1'b1;

    // ---------------------------------------------------------------- weight stream
    logic take_parameters, take_digits, take_table, take_residual;
    assign take_parameters = state == PARAMETERS && beat_valid;
    assign take_digits = state == DIGITS && beat_valid;
    count_t table_left, byte_left;
    logic [16*PORTS-1:0][7:0] table_bytes;
    assign take_table = state == TABLE && byte_left == 0 && table_left != 0 && beat_valid;
    assign take_residual = state == RESIDUAL && beat_valid;
    assign beat_ready = take_parameters || take_digits || take_table || take_residual;

    // Rows whose channels are in the same bank cannot be written in the same cycle.
    logic [PORTS-1:0] conflict;
    count_t           conflicts_here;
    always_comb begin
        conflicts_here = '0;
        for (int p = 0; p < PORTS; p++) begin
            conflict[p] = DRAIN_ROWS == 2 && count_t'(2 * p) + row + 1'b1 < tile_rows && beat[p][52] == beat[p][116];
            conflicts_here += count_t'(conflict[p]);
        end
    end

    always_ff @(posedge clk) begin
        row_write <= take_parameters;
        row_tile <= tile_index;
        row_data <= beat;
    end

    // ---------------------------------------------------------------- digits from the digit memory
    // Pipeline: address, READ_LATENCY, choice of the lanes, split into digits.
    localparam int MEMORY_STAGES = READ_LATENCY + 1;
    typedef struct packed {
        logic                   valid;
        logic [BUFFER_BITS-1:0] address;
        count_t                 row;         // first of the group, in the tile
        count_t                 rows;
        count_t                 digit_block;
        logic [T_K-1:0]         channels;    // those that exist
    } group_t;
    group_t group_pipe [0:MEMORY_STAGES-1];
    // verilator lint_off UNUSEDSIGNAL  // the lanes have been chosen
    group_t group_now;
    // verilator lint_on UNUSEDSIGNAL
    logic [DIGIT_GROUP-1:0][T_K-1:0][7:0] group_codes;
    logic issue_group;
    assign issue_group = state == GROUPS;
    assign digit_word = (digit_tile >> WORD_SHIFT) + address_t'(step);

    always_ff @(posedge clk) begin
        group_pipe[0].valid <= issue_group && !rst;
        group_pipe[0].address <= BUFFER_BITS'(place);
        group_pipe[0].row <= row;
        group_pipe[0].rows <= tile_rows;
        group_pipe[0].digit_block <= digit_block;
        for (int kk = 0; kk < T_K; kk++) begin
            group_pipe[0].channels[kk] <= (32'(step) << WORD_SHIFT) + kk < d.k;
        end
        for (int i = 1; i < MEMORY_STAGES; i++) group_pipe[i] <= group_pipe[i-1];
        for (int j = 0; j < DIGIT_GROUP; j++) begin
            for (int b = 0; b < DIGIT_GROUPS; b++) begin
                if (group_pipe[READ_LATENCY-1].digit_block == count_t'(b)) begin
                    for (int kk = 0; kk < T_K; kk++) begin
                        group_codes[j][kk] <= group_pipe[READ_LATENCY-1].channels[kk]
                                              && group_pipe[READ_LATENCY-1].row + count_t'(j) < group_pipe[READ_LATENCY-1].rows
                                              ? digit_data[b*DIGIT_GROUP+j][kk] : 8'd0;
                    end
                end
            end
        end
    end
    assign group_now = group_pipe[MEMORY_STAGES-1];

    // ---------------------------------------------------------------- writing the weight buffer
    logic [32*PORTS-1:0][3:0] beat_atoms;
    assign beat_atoms = beat;
    for (genvar m = 0; m < T_M; m++) begin : atom_row
        localparam int SINGLE = m % DIGIT_GROUP;        // as one-digit row
        localparam int DOUBLE = (m / 2) % DIGIT_GROUP;  // as one of a two-digit row's digits
        logic [T_K-1:0][3:0] low, high;
        logic                in_group;
        always_comb begin
            for (int kk = 0; kk < T_K; kk++) begin
                low[kk] = group_codes[two_digit_source ? DOUBLE : SINGLE][kk][3:0];
                // Balanced digits: a low digit of -8..-1 borrows one from the high digit.
                high[kk] = group_codes[DOUBLE][kk][7:4] + {3'd0, group_codes[DOUBLE][kk][3]};
            end
            in_group = (two_digit_source ? count_t'(m / 2 - DOUBLE) : count_t'(m - SINGLE)) == group_now.row;
        end
        always_ff @(posedge clk) begin
            if (group_now.valid) begin
                buffer_write[m] <= in_group;
                buffer_data[m] <= two_digit_source && m % 2 == 0 ? high : low;
            end else begin
                buffer_write[m] <= take_digits && atom == count_t'(m - m % ROWS_PER_BEAT);
                for (int kk = 0; kk < T_K; kk++) buffer_data[m][kk] <= beat_atoms[(m%ROWS_PER_BEAT)*T_K+kk];
            end
        end
    end
    always_ff @(posedge clk) begin
        buffer_address <= group_now.valid ? group_now.address : BUFFER_BITS'(place);
    end

    // ---------------------------------------------------------------- residual constant
    count_t   lane, channel;
    address_t residual_tile;
    count_t   tokens_left;
    always_ff @(posedge clk) begin
        wide_write <= take_residual;
        wide_address <= residual_tile + address_t'(channel);
        for (int n = 0; n < T_N; n++) begin
            wide_lanes[n] <= lane == count_t'(n - n % VALUES_PER_BEAT);
            wide_data[n] <= beat[(n%VALUES_PER_BEAT)/8][16*(n%8) +: 16];
        end
    end

    // ---------------------------------------------------------------- control
    logic begin_tile;
    assign begin_tile = state == PLAN && free_steps >= count_t'(d.k_steps) && tiles_taken < TILE_BITS'(MOST_TILES)
                     && (!from_memory || operands_complete);
    count_t   blocks, next_position, next_block;
    address_t next_block_address;
    logic [2:0] flush;

    always_ff @(posedge clk) begin
        layer_loaded <= 1'b0;
        table_write <= 1'b0;
        exponent_write <= 1'b0;
        shift_write <= 1'b0;
        if (rst) begin
            state <= IDLE;
            tile_valid <= 1'b0;
            tile_index <= '0;
            tiles_taken <= '0;
            group_tiles <= '0;
            free_steps <= count_t'(BUFFER_STEPS);
            base <= '0;
            gemms <= '0;
            vectors <= '0;
            table_free <= '0;
            exponents_free <= '0;
            shifts_free <= '0;
        end else begin
            tile_valid <= 1'b0;
            if (layer_loaded) begin
                if (d.unit == GEMM) gemms <= gemms + 1'b1;
                else vectors <= vectors + 1'b1;
            end
            tiles_taken <= tiles_taken + TILE_BITS'(begin_tile) - TILE_BITS'(tile_released);
            free_steps <= free_steps - (begin_tile ? count_t'(d.k_steps) : '0) + (tile_released ? released_steps : '0);

            case (state)
                IDLE: if (layer_valid && !layer_loaded) begin
                    rows_left <= count_t'(d.rows);
                    rows8_left <= count_t'(d.rows8);
                    table_left <= count_t'(d.table_entries);
                    table_entry <= '1;
                    byte_left <= '0;
                    planned.first_row <= '0;
                    planned.position <= '0;
                    planned.block <= '0;
                    planned.block_address <= address_t'(d.y_base);
                    digit_block <= '0;
                    digit_base <= address_t'(d.digit_base);
                    lane <= '0;
                    channel <= '0;
                    residual_tile <= address_t'(d.y_base);
                    tokens_left <= count_t'(d.tokens);
                    case (d.unit)
                        GEMM: begin
                            if (d.table_entries == 0) state <= PLAN;
                            else if (progress.gemms >= table_free) begin
                                state <= TABLE;
                                table_free <= gemms + 1'b1;
                            end
                        end
                        SOFTMAX: begin
                            if (d.table_entries == 0) layer_loaded <= 1'b1;
                            else if (progress.vectors >= exponents_free) state <= TABLE;
                            if (d.table_entries == 0 || progress.vectors >= exponents_free) exponents_free <= vectors + 1'b1;
                        end
                        LAYER_NORM: begin
                            if (!HAS_NORM_SHIFTS || d.table_entries == 0) layer_loaded <= 1'b1;
                            else if (progress.vectors >= shifts_free) begin
                                state <= TABLE;
                                shifts_free <= vectors + 1'b1;
                            end
                        end
                        LOAD_RESIDUAL: if (operands_complete) state <= RESIDUAL;
                        default: layer_loaded <= 1'b1;
                    endcase
                end
                TABLE: begin
                    if (take_table) begin
                        table_bytes <= beat;
                        byte_left <= count_t'(16 * PORTS);
                    end else if (byte_left != 0) begin
                        // Bytes behind the last entry fill the beat.
                        if (table_left != 0) begin
                            table_write <= d.unit == GEMM;
                            exponent_write <= d.unit == SOFTMAX;
                            shift_write <= HAS_NORM_SHIFTS && d.unit == LAYER_NORM;
                            table_data <= table_bytes[0];
                            table_entry <= table_entry + 1'b1;
                            table_left <= table_left - 1'b1;
                        end
                        table_bytes <= table_bytes >> 8;
                        byte_left <= table_left > 1 ? byte_left - 1'b1 : '0;
                    end else if (table_left == 0) begin
                        layer_loaded <= d.unit != GEMM;
                        state <= d.unit != GEMM ? IDLE : PLAN;
                    end
                end
                RESIDUAL: if (take_residual) begin
                    lane <= lane + count_t'(VALUES_PER_BEAT);
                    if (lane + count_t'(VALUES_PER_BEAT) >= count_t'(T_N)) begin
                        lane <= '0;
                        channel <= channel + 1'b1;
                        if (channel + 1'b1 == count_t'(d.k)) begin
                            channel <= '0;
                            residual_tile <= residual_tile + address_t'(d.y_stride);
                            tokens_left <= tokens_left - count_t'(T_N);
                            if (tokens_left <= count_t'(T_N)) begin
                                state <= IDLE;
                                layer_loaded <= 1'b1;
                            end
                        end
                    end
                end
                PLAN: if (begin_tile) begin
                    tile_rows8 <= rows8_here;
                    tile_rows <= rows8_here + rows4_here;
                    tile_atoms <= (rows8_here << 1) + rows4_here;
                    row <= '0;
                    step <= '0;
                    atom <= '0;
                    conflicts <= '0;
                    place <= base;
                    digit_tile <= digit_base;
                    flush <= 3'(MEMORY_STAGES);
                    state <= from_memory ? GROUPS : PARAMETERS;
                end
                PARAMETERS: if (take_parameters) begin
                    row <= row + count_t'(2 * PORTS);
                    conflicts <= conflicts + conflicts_here;
                    if (row + count_t'(2 * PORTS) >= tile_rows) state <= DIGITS;
                end
                DIGITS: if (take_digits) begin
                    atom <= atom + count_t'(ROWS_PER_BEAT);
                    if (atom + count_t'(ROWS_PER_BEAT) >= tile_atoms) begin
                        atom <= '0;
                        step <= step + 1'b1;
                        place <= next_place;
                        if (step + 1'b1 == count_t'(d.k_steps)) state <= ADVANCE;
                    end
                end
                GROUPS: begin
                    step <= step + 1'b1;
                    place <= next_place;
                    if (step + 1'b1 == count_t'(d.k_steps)) begin
                        step <= '0;
                        place <= base;
                        row <= row + count_t'(DIGIT_GROUP);
                        digit_block <= digit_block + 1'b1;
                        if (digit_block + 1'b1 == count_t'(DIGIT_GROUPS)) begin
                            digit_block <= '0;
                            digit_tile <= digit_tile + address_t'(d.digit_stride);
                        end
                        if (row + count_t'(DIGIT_GROUP) >= tile_rows) state <= FLUSH;
                    end
                end
                FLUSH: begin
                    flush <= flush - 1'b1;
                    digit_base <= digit_tile;
                    if (flush == 0) state <= ADVANCE;
                end
                default: ;
            endcase

            // The tile is loaded: count the blocks that a transposed result of it touches, then hand it over.
            if (state == PLAN) begin
                planned.index <= tile_index;
                planned.base <= base;
                planned.rows <= rows8_here + rows4_here;
                planned.rows8 <= rows8_here;
                blocks <= '0;
                next_position <= planned.position + rows8_here + rows4_here;
                next_block <= planned.block;
                next_block_address <= planned.block_address;
            end
            if (state == ADVANCE) begin
                if (next_position >= count_t'(BLOCK)) begin
                    next_position <= next_position - count_t'(BLOCK);
                    blocks <= blocks + 1'b1;
                    next_block <= next_block + 1'b1;
                    if (next_block + 1'b1 == count_t'(BLOCKS)) begin
                        next_block <= '0;
                        next_block_address <= next_block_address + address_t'(d.y_stride);
                    end
                end else begin
                    state <= PUSH;
                    planned.last <= rows_left == tile_rows;
                    planned.group_last <= rows_left == tile_rows || !another_fits;
                    planned.drain_cycles <= transposed ? count_t'((32'(blocks) + 32'(next_position != 0)) * BLOCK_CYCLES)
                                            : DRAIN_ROWS == 2 ? ((tile_rows + 1'b1) >> 1) + conflicts : tile_rows;
                end
            end
            if (state == PUSH) begin
                tile <= planned;
                base <= base + count_t'(d.k_steps) < count_t'(BUFFER_STEPS)
                      ? base + count_t'(d.k_steps) : base + count_t'(d.k_steps) - count_t'(BUFFER_STEPS);
                tile_valid <= 1'b1;
                tile_index <= tile_index + 1'b1;
                group_tiles <= planned.group_last ? '0 : group_tiles + 1'b1;
                rows_left <= rows_left - tile_rows;
                rows8_left <= rows8_left - tile_rows8;
                planned.first_row <= planned.first_row + tile_rows;
                planned.position <= next_position;
                planned.block <= next_block;
                planned.block_address <= next_block_address;
                layer_loaded <= planned.last;
                state <= planned.last ? IDLE : PLAN;
            end
        end
    end

    always_ff @(posedge clk) row_group <= GROUP_BITS'(row / (2 * PORTS));
endmodule
