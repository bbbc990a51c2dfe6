// The engine: runs the layers of a program on memories that live on chip. The same descriptors, the same weight
// stream and the same results as hls_kernels/hls/engine.hpp; here, loading, the MAC tile, the drain of
// neighbouring layers, and the vector units beside them overlap.
//
// Streams are valid/ready; ap_* is the ap_ctrl_chain protocol. layers, trace_enable and image_* hold for a frame and
// are taken with ap_start: image_loaded means that this frame's image is on chip, as the one that followed the
// last frame's; image_follows, that the next frame's image comes after this one's. layers_begun and
// layers_completed count the layers of each lane, {vector, GEMM}, for observation only.
module qvit_engine
    import qvit_pkg::*;
#(
    parameter int T_N = 8,
    parameter int T_M = 16,
    parameter int T_K = 8,
    parameter int A = 7,
    parameter int DSP_ROWS = 16,
    parameter int PORTS = 1,
    parameter int ACTIVATION_DEPTH = 512,
    parameter int DIGIT_DEPTH = 256,
    parameter int WIDE_DEPTH = 512,
    parameter int WEIGHT_DEPTH = 32,
    parameter int ACCUMULATOR_BITS = 24,
    parameter int DRAIN_ROWS = 2,
    parameter int TABLE_BITS = 8,
    parameter int MAX_TOKENS = 64,
    parameter int MAX_CHANNELS = 64,
    parameter int IMAGE_PIXELS = 4,
    parameter bit HAS_SOFTMAX = 1,
    parameter bit HAS_LAYER_NORM = 1,
    parameter bit HAS_MEAN_TOKENS = 1,
    parameter bit HAS_NORM_SHIFTS = 0,
    parameter bit HAS_STREAM_OPERANDS = 0,
    parameter bit FUNCTIONAL = 0  // MAC sums by plain arithmetic instead of DSP48E2 and LUT primitives
) (
    input  logic                     ap_clk,
    input  logic                     ap_rst,
    input  logic                     ap_start,
    output logic                     ap_ready,
    output logic                     ap_done,
    output logic                     ap_idle,
    input  logic                     ap_continue,
    input  logic [31:0]              layers,
    input  logic [31:0]              trace_enable,
    input  logic [31:0]              image_loaded,
    input  logic [31:0]              image_follows,
    input  logic [31:0]              program_data,
    input  logic                     program_valid,
    output logic                     program_ready,
    input  logic [PORTS-1:0][127:0]  weights_data,
    input  logic [PORTS-1:0]         weights_valid,
    output logic [PORTS-1:0]         weights_ready,
    input  logic [127:0]             image_data,
    input  logic                     image_valid,
    output logic                     image_ready,
    output logic [15:0]              result_data,
    output logic                     result_valid,
    input  logic                     result_ready,
    output logic [15:0]              trace_data,
    output logic                     trace_valid,
    input  logic                     trace_ready,
    output logic [31:0]              layers_begun,
    output logic [31:0]              layers_completed
);
    localparam int R = DRAIN_ROWS;
    localparam int BANK_SHIFT = R - 1;
    localparam int WORD_SHIFT = $clog2(T_K);
    // Twice the banks that the drain writes at once, so that LayerNorm may write beside it.
    localparam int CODE_BANKS = 2 * R <= T_K ? 2 * R : T_K;
    localparam int BANK_CHANNELS = T_K / CODE_BANKS;
    localparam int LARGEST_SUM = 8 * ((1 << (A - 1)) - 1) * WEIGHT_DEPTH * T_K;
    // One step's sum may have more bits than any layer's where the weight buffer is a few words.
    localparam int EXACT_BITS = $clog2(LARGEST_SUM + 1) + 1;
    localparam int STEP_BITS = mac_pkg::FIELD + $clog2(T_K / mac_pkg::cascade_links(A, T_K));
    localparam int SUM_BITS = EXACT_BITS > STEP_BITS ? EXACT_BITS : STEP_BITS;
    localparam int BUFFER_BITS = $clog2(2 * WEIGHT_DEPTH);
    localparam int GROUP_BITS = $clog2((T_M + 2 * PORTS - 1) / (2 * PORTS) + 1);
    localparam int ROW_BITS = $clog2(T_M + 1);
    localparam int ACTIVATION_WORDS = ACTIVATION_DEPTH / T_K;
    localparam int DIGIT_WORDS = DIGIT_DEPTH / T_K;
    localparam int ACTIVATION_BITS = ACTIVATION_WORDS > 1 ? $clog2(ACTIVATION_WORDS) : 1;
    localparam int DIGIT_BITS = DIGIT_WORDS > 1 ? $clog2(DIGIT_WORDS) : 1;
    localparam int WIDE_WORDS = (WIDE_DEPTH + R - 1) / R;
    localparam int WIDE_BITS = WIDE_WORDS > 1 ? $clog2(WIDE_WORDS) : 1;

    typedef logic [COUNT_BITS-1:0] count_t;
    typedef logic [ADDRESS_BITS-1:0] address_t;

    logic clk, rst, restart, running;
    assign clk = ap_clk;
    assign rst = ap_rst;
    assign restart = rst || !running;  // between frames

    // ---------------------------------------------------------------- program and control
    logic        layer_loaded, load_valid, load_may_use_memories;
    logic [31:0] layer_count;
    count_t      known, load_layer, gemm_layer, vector_layer, finished, gemms_begun, vectors_begun;
    progress_t   progress;
    descriptor_t load_descriptor, d, v, image_descriptor;  // d: of the GEMM lane, v: of the vector lane
    logic        gemm_valid, gemm_issued, token_tile_drained, layer_drained;
    logic        unit_start, unit_done, image_start, image_done;
    logic        trace_start, trace_active, trace_vector, trace_done;
    count_t      tiles_ready, norm_tiles_done;
    logic        step_valid, step_first, step_last;

    program_reader reader (
        .clk, .rst, .running, .layers(layer_count), .finished, .program_data, .program_valid, .program_ready,
        .known, .load_layer, .gemm_layer, .vector_layer, .load_descriptor, .gemm_descriptor(d), .vector_descriptor(v)
    );
    controller control (
        .clk, .rst, .ap_start, .ap_ready, .ap_done, .ap_idle, .ap_continue, .layers_in(layers),
        .trace_enable_in(trace_enable != 0), .image_loaded_in(image_loaded != 0),
        .image_follows_in(image_follows != 0), .running, .layers(layer_count), .known, .load_layer, .gemm_layer,
        .vector_layer, .finished, .progress, .gemms_begun, .vectors_begun, .gemm(d), .vector(v), .load_valid,
        .load_may_use_memories, .layer_loaded, .gemm_valid, .gemm_step(step_valid), .gemm_issued,
        .token_tile_drained, .layer_drained, .unit_start, .unit_tiles_ready(tiles_ready), .unit_done,
        .unit_tiles_done(v.unit == LAYER_NORM ? norm_tiles_done : '0), .image(image_descriptor), .image_start,
        .image_done, .trace_start, .trace_active, .trace_vector, .trace_done
    );
    assign layers_begun = {vectors_begun, gemms_begun};
    assign layers_completed = {progress.vectors, progress.gemms};

    // ---------------------------------------------------------------- loading
    logic                           beat_valid, beat_ready;
    logic [ADDRESS_BITS-1:0]        loader_digit_word;
    logic [T_N-1:0][T_K-1:0][7:0]   digit_data;
    logic [T_M-1:0]                 buffer_write;
    logic [BUFFER_BITS-1:0]         buffer_write_address, buffer_read_address;
    logic [T_M-1:0][T_K-1:0][3:0]   buffer_write_data, digits;
    logic                           row_write;
    logic [TILE_BITS-1:0]           row_write_tile, row_read_tile;
    logic [GROUP_BITS-1:0]          row_write_group;
    logic [2*PORTS-1:0][63:0]       row_write_data;
    logic [ROW_BITS-1:0]            row_read_first;
    logic [R-1:0][63:0]             row_read_data;
    logic                           table_write;
    // verilator lint_off UNUSEDSIGNAL  // a unit may be left out
    logic                           exponent_write, shift_write;
    // verilator lint_on UNUSEDSIGNAL
    count_t                         table_entry;
    logic [7:0]                     table_data;
    logic                           residual_write;
    address_t                       residual_address;
    logic [T_N-1:0]                 residual_lanes;
    logic [T_N-1:0][15:0]           residual_data;
    logic                           loaded_valid, tile_valid, tile_ready, tile_released;
    count_t                         released_steps;
    row_tile_t                      loaded, tile;

    assign beat_valid = &weights_valid;
    assign weights_ready = {PORTS{beat_valid && beat_ready}};

    gemm_loader #(
        .T_N(T_N), .T_M(T_M), .T_K(T_K), .PORTS(PORTS), .WEIGHT_DEPTH(WEIGHT_DEPTH), .DRAIN_ROWS(R),
        .HAS_NORM_SHIFTS(HAS_NORM_SHIFTS)
    ) loader (
        .clk, .rst(restart), .layer_valid(load_valid), .d(load_descriptor), .layer_loaded, .progress,
        .may_use_memories(load_may_use_memories), .beat_valid, .beat(weights_data), .beat_ready,
        .digit_word(loader_digit_word), .digit_data, .buffer_write, .buffer_address(buffer_write_address),
        .buffer_data(buffer_write_data), .row_write, .row_tile(row_write_tile), .row_group(row_write_group),
        .row_data(row_write_data), .table_write, .exponent_write, .shift_write, .table_entry, .table_data,
        .wide_write(residual_write), .wide_address(residual_address), .wide_lanes(residual_lanes),
        .wide_data(residual_data), .tile_valid(loaded_valid), .tile(loaded), .tile_released,
        .released_steps
    );
    // verilator lint_off PINCONNECTEMPTY
    queue #(.WIDTH($bits(row_tile_t)), .DEPTH(1 << TILE_BITS)) tiles (
        .clk, .rst(restart), .push(loaded_valid), .pushed(loaded), .pop(tile_valid && tile_ready),
        .valid(tile_valid), .front(tile), .full()  // the loader never has that many tiles
    );
    // verilator lint_on PINCONNECTEMPTY
    weight_buffer #(.T_M(T_M), .T_K(T_K), .WEIGHT_DEPTH(WEIGHT_DEPTH)) weights (
        .clk, .write_enable(buffer_write), .write_address(buffer_write_address), .write_data(buffer_write_data),
        .read_address(buffer_read_address), .read_data(digits)
    );
    row_parameter_buffer #(.T_M(T_M), .PORTS(PORTS), .ROWS(R)) rows (
        .clk, .write_enable(row_write), .write_tile(row_write_tile), .write_group(row_write_group),
        .write_data(row_write_data), .read_tile(row_read_tile), .read_row(row_read_first), .read_data(row_read_data)
    );

    // ---------------------------------------------------------------- multiplying
    address_t                       gemm_activation_word;
    count_t                         step_lanes;
    slot_t                          slot, front;
    logic                           slots_full, sums_valid;
    logic [T_N-1:0][T_K-1:0][7:0]   activation_data;
    logic [T_N-1:0][T_K-1:0][A-1:0] operand;
    logic [T_M-1:0][T_N-1:0][SUM_BITS-1:0] sums;

    gemm_sequencer #(.T_N(T_N), .T_K(T_K), .WEIGHT_DEPTH(WEIGHT_DEPTH)) sequencer (
        .clk, .rst(restart), .layer_valid(gemm_valid), .d, .layer_issued(gemm_issued), .progress, .tile_valid, .tile, .tile_ready, .tile_released, .released_steps, .step_valid, .step_first, .step_last,
        .activation_word(gemm_activation_word), .buffer_address(buffer_read_address), .lanes(step_lanes), .slot,
        .slots_full
    );
    // Slots whose sums are still in the MAC tile's pipeline.
    // verilator lint_off PINCONNECTEMPTY
    queue #(.WIDTH($bits(slot_t)), .DEPTH(32)) slots (
        .clk, .rst(restart), .push(step_valid && step_last), .pushed(slot), .pop(sums_valid), .valid(), .front,
        .full(slots_full)
    );
    // verilator lint_on PINCONNECTEMPTY

    // Lanes without a token hold old data that might not fit A bits.
    logic [READ_LATENCY-1:0] valid_late, first_late, last_late;
    count_t                  lanes_late [0:READ_LATENCY-1];
    always_ff @(posedge clk) begin
        valid_late <= {valid_late[READ_LATENCY-2:0], step_valid && !rst};
        first_late <= {first_late[READ_LATENCY-2:0], step_first};
        last_late <= {last_late[READ_LATENCY-2:0], step_last};
        lanes_late[0] <= step_lanes;
        for (int i = 1; i < READ_LATENCY; i++) lanes_late[i] <= lanes_late[i-1];
    end
    for (genvar n = 0; n < T_N; n++) begin : operand_lane
        for (genvar kk = 0; kk < T_K; kk++) begin : operand_channel
            assign operand[n][kk] = count_t'(n) < lanes_late[READ_LATENCY-1] ? activation_data[n][kk][A-1:0] : '0;
        end
    end
    mac_tile #(
        .T_N(T_N), .T_M(T_M), .T_K(T_K), .A(A), .DSP_ROWS(DSP_ROWS), .SUM_BITS(SUM_BITS), .FUNCTIONAL(FUNCTIONAL)
    ) mac (
        .clk, .rst, .valid(valid_late[READ_LATENCY-1]), .first(first_late[READ_LATENCY-1]),
        .last(last_late[READ_LATENCY-1]), .weight(digits), .activation(operand), .sums_valid, .sums
    );

    // ---------------------------------------------------------------- draining
    logic                                           normalizer_write, softmax_bank;
    logic [11:0]                                    normalizer_token, maximum_tile;
    scaling_value_t                                 normalizer;
    // verilator lint_off UNUSEDSIGNAL  // a unit may be left out
    logic [T_N-1:0][15:0]                           maximum;
    // verilator lint_on UNUSEDSIGNAL
    logic [R-1:0][ADDRESS_BITS-1:0]                 drain_read_address, wide_read_channel;
    logic [R-1:0][T_N-1:0][15:0]                    wide_read_data;
    logic [CODE_BANKS-1:0]                          drain_code_write;
    logic [R-1:0]                                   drain_wide_write;
    logic                                           drain_to_digit, drain_wide_read;
    // verilator lint_off UNUSEDSIGNAL
    logic                                           activation_write_next;
    logic [CODE_BANKS-1:0]                          activation_write_at_norm;
    logic                                           digit_write_at_softmax;
    logic                                           added_valid, added_first, added_start, added_end;
    count_t                                         added_tile;
    logic [R-1:0]                                   added_exists;
    logic [R-1:0][T_N-1:0][15:0]                    added;
    // verilator lint_on UNUSEDSIGNAL
    logic [CODE_BANKS-1:0][ADDRESS_BITS-1:0]        drain_code_word;
    logic [R-1:0][ADDRESS_BITS-1:0]                 drain_wide_address;
    logic [T_N-1:0]                                 drain_code_lanes, drain_wide_lanes;
    logic [CODE_BANKS-1:0][BANK_CHANNELS-1:0]       drain_code_channels;
    logic [CODE_BANKS-1:0][T_N-1:0][BANK_CHANNELS-1:0][7:0] drain_code_data;
    logic [R-1:0][T_N-1:0][15:0]                    drain_wide_data;

    gemm_drain #(
        .T_N(T_N), .T_M(T_M), .T_K(T_K), .SUM_BITS(SUM_BITS), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .DRAIN_ROWS(R),
        .CODE_BANKS(CODE_BANKS), .TABLE_BITS(TABLE_BITS), .MAX_TOKENS(MAX_TOKENS), .HAS_SOFTMAX(HAS_SOFTMAX)
    ) drain (
        .clk, .rst, .sums_valid, .sums, .front, .row_tile(row_read_tile), .row_first(row_read_first),
        .row_data(row_read_data), .table_write, .table_entry, .table_data, .softmax_bank, .normalizer_write,
        .normalizer_token, .normalizer, .maximum_tile, .maximum, .wide_read(drain_wide_read),
        .wide_read_address(drain_read_address), .wide_read_data, .activation_write_next, .activation_write_at_norm,
        .digit_write_at_softmax, .added_valid, .added_first, .added_start, .added_end, .added_tile, .added_exists,
        .added,
        .code_write(drain_code_write), .code_to_digit(drain_to_digit), .code_word(drain_code_word),
        .code_lanes(drain_code_lanes), .code_channels(drain_code_channels), .code_data(drain_code_data),
        .wide_write(drain_wide_write), .wide_address(drain_wide_address), .wide_lanes(drain_wide_lanes),
        .wide_data(drain_wide_data), .token_tile_drained, .layer_drained
    );

    // ---------------------------------------------------------------- other units
    // A unit takes a step only when the drain leaves it the wide memory now, and the memory that it writes when the
    // step's result comes.
    // verilator lint_off UNUSEDSIGNAL  // a unit may be left out
    logic     norm_start, softmax_start, mean_start, result_start, norm_advance, softmax_advance;
    // verilator lint_on UNUSEDSIGNAL
    logic     norm_done, softmax_done, mean_done, result_done;
    address_t norm_read, softmax_read, mean_read, result_read, trace_read;
    logic     norm_write_soon, mean_write, image_write;
    address_t norm_address, softmax_address, mean_address, image_address;
    logic [R-1:0]                 norm_write, softmax_write;
    logic [R-1:0][T_N-1:0][7:0]   norm_data, softmax_data;
    logic [15:0]                  mean_data, mean_lane, image_lane;
    logic [IMAGE_PIXELS-1:0][7:0] image_pixels;
    logic [T_N-1:0][15:0]         unit_wide_data;  // one channel, for units that take no more

    assign norm_start = unit_start && v.unit == LAYER_NORM;
    assign softmax_start = unit_start && v.unit == SOFTMAX;
    assign mean_start = unit_start && v.unit == MEAN_TOKENS;
    assign result_start = unit_start && v.unit == STORE_RESULT;
    // Channels of a step and their results have the same place in a word.
    always_comb begin
        norm_advance = !drain_wide_read;
        for (int b = 0; b < CODE_BANKS; b++) begin
            if (activation_write_at_norm[b] && b / R == 32'(norm_read[WORD_SHIFT-1:0]) % CODE_BANKS / R) norm_advance = 1'b0;
        end
    end
    assign softmax_advance = !drain_wide_read && !digit_write_at_softmax;
    always_comb begin
        case (v.unit)
            LOAD_IMAGE: unit_done = image_done;
            LAYER_NORM: unit_done = norm_done;
            SOFTMAX: unit_done = softmax_done;
            MEAN_TOKENS: unit_done = mean_done;
            STORE_RESULT: unit_done = result_done;
            default: unit_done = 1'b1;  // LOAD_RESIDUAL: the loader has done it
        endcase
    end

    if (HAS_LAYER_NORM) begin : with_layer_norm
        layer_norm #(
            .T_N(T_N), .MAX_TOKENS(MAX_TOKENS), .MAX_CHANNELS(MAX_CHANNELS), .CHANNELS(R), .SHIFTS(HAS_NORM_SHIFTS),
            .PASSES(HAS_STREAM_OPERANDS)
        ) unit (
            .clk, .rst, .start(norm_start), .d(v), .done(norm_done), .advance(norm_advance), .tiles_ready,
            .tiles_done(norm_tiles_done), .shift_write, .shift_entry($clog2(MAX_CHANNELS+1)'(table_entry)),
            .shift_data(table_data[2:0]), .wide_address(norm_read), .wide_data(wide_read_data), .added_valid,
            .added_first, .added_start, .added_end, .added_tile, .added_exists, .added, .write_enable(norm_write),
            .write_soon(norm_write_soon), .write_address(norm_address), .write_data(norm_data)
        );
    end else begin : without_layer_norm
        assign norm_done = 1'b1;
        assign {norm_tiles_done, norm_write, norm_write_soon, norm_read, norm_address, norm_data} = '0;
    end
    if (HAS_SOFTMAX) begin : with_softmax
        softmax #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS), .KEYS(R)) unit (
            .clk, .rst, .start(softmax_start), .d(v), .done(softmax_done), .advance(softmax_advance), .tiles_ready,
            .wide_address(softmax_read), .wide_data(wide_read_data), .maximum_tile, .maximum,
            .table_write(exponent_write), .table_entry(table_entry[7:0]), .table_data, .write_enable(softmax_write),
            .write_address(softmax_address), .write_data(softmax_data), .normalizer_write, .normalizer_token,
            .normalizer
        );
        // Attention's layers take the two banks in turn.
        always_ff @(posedge clk) begin
            if (softmax_done) softmax_bank <= !softmax_bank;
            if (rst) softmax_bank <= 1'b0;
        end
    end else begin : without_softmax
        assign softmax_done = 1'b1;
        assign {softmax_bank, softmax_write, normalizer_write, softmax_read, softmax_address, softmax_data} = '0;
        assign {maximum_tile, normalizer_token, normalizer} = '0;
    end
    if (HAS_MEAN_TOKENS) begin : with_mean_tokens
        mean_tokens #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS)) unit (
            .clk, .rst, .start(mean_start), .d(v), .done(mean_done), .wide_address(mean_read),
            .wide_data(unit_wide_data), .write_enable(mean_write), .write_lane(mean_lane),
            .write_address(mean_address), .write_data(mean_data)
        );
    end else begin : without_mean_tokens
        assign mean_done = 1'b1;
        assign mean_write = 1'b0;
        assign {mean_read, mean_address, mean_lane, mean_data} = '0;
    end
    load_image #(.T_N(T_N), .T_K(T_K), .IMAGE_PIXELS(IMAGE_PIXELS)) image (
        .clk, .rst, .start(image_start), .d(image_descriptor), .done(image_done),
        .advance(!activation_write_next && !norm_write_soon), .image_data, .image_valid, .image_ready,
        .write_enable(image_write), .write_lane(image_lane), .write_address(image_address),
        .write_data(image_pixels)
    );
    store_result #(.T_N(T_N)) result (
        .clk, .rst, .start(result_start), .d(v), .done(result_done), .wide_address(result_read),
        .wide_data(unit_wide_data), .result_data, .result_valid, .result_ready
    );
    store_trace #(.T_N(T_N), .T_K(T_K)) trace (
        .clk, .rst, .start(trace_start), .d(trace_vector ? v : d), .done(trace_done), .address(trace_read),
        .activation_data, .digit_data, .wide_data(unit_wide_data), .trace_data, .trace_valid, .trace_ready
    );

    // ---------------------------------------------------------------- memories and who uses them
    // The drain goes first; of the vector units, one at a time reads the wide memory. Writes never meet: LayerNorm,
    // softmax and the image keep out of the drain's way, and the program keeps the others apart.
    address_t unit_read;
    always_comb begin
        case (v.unit)
            LAYER_NORM: unit_read = norm_read;
            SOFTMAX: unit_read = softmax_read;
            MEAN_TOKENS: unit_read = mean_read;
            default: unit_read = result_read;
        endcase
        if (trace_active) unit_read = trace_read;
    end
    logic [READ_LATENCY-1:0] unit_bank;  // of the channel that a unit reads
    always_ff @(posedge clk) unit_bank <= {unit_bank[READ_LATENCY-2:0], unit_read[0]};
    assign unit_wide_data = R == 2 && unit_bank[READ_LATENCY-1] ? wide_read_data[R-1] : wide_read_data[0];

    logic [CODE_BANKS-1:0]                                  activation_write, digit_write;
    logic [CODE_BANKS-1:0][ACTIVATION_BITS-1:0]             activation_word;
    logic [CODE_BANKS-1:0][DIGIT_BITS-1:0]                  digit_word;
    logic [CODE_BANKS-1:0][T_N-1:0]                         activation_lanes, digit_lanes;
    logic [CODE_BANKS-1:0][BANK_CHANNELS-1:0]               activation_channels, digit_channels;
    logic [CODE_BANKS-1:0][T_N-1:0][BANK_CHANNELS-1:0][7:0] activation_codes, digit_codes;
    for (genvar b = 0; b < CODE_BANKS; b++) begin : code_bank
        logic norm_here, softmax_here;
        assign norm_here = norm_write[b%R] && 32'(norm_address[WORD_SHIFT-1:0]) % CODE_BANKS / R == b / R;
        assign softmax_here = softmax_write[b%R] && 32'(softmax_address[WORD_SHIFT-1:0]) % CODE_BANKS / R == b / R;
        assign activation_write[b] =
            image_write ? IMAGE_PIXELS >= CODE_BANKS
                          || 32'(image_address[WORD_SHIFT-1:0]) % CODE_BANKS / IMAGE_PIXELS == b / IMAGE_PIXELS
                        : norm_here || (drain_code_write[b] && !drain_to_digit);
        assign digit_write[b] = softmax_here || (drain_code_write[b] && drain_to_digit);
        assign activation_word[b] = ACTIVATION_BITS'(image_write ? image_address >> WORD_SHIFT
                                  : norm_here ? norm_address >> WORD_SHIFT : drain_code_word[b]);
        assign digit_word[b] = DIGIT_BITS'(softmax_here ? softmax_address >> WORD_SHIFT : drain_code_word[b]);
        for (genvar n = 0; n < T_N; n++) begin : lane
            assign activation_lanes[b][n] = image_write ? image_lane == 16'(n) : norm_here || drain_code_lanes[n];
            assign digit_lanes[b][n] = softmax_here || drain_code_lanes[n];
        end
        for (genvar i = 0; i < BANK_CHANNELS; i++) begin : channel
            localparam int PLACE = i * CODE_BANKS + b;  // in a word
            assign activation_channels[b][i] =
                image_write ? 32'(image_address[WORD_SHIFT-1:0]) / IMAGE_PIXELS == PLACE / IMAGE_PIXELS
                : norm_here ? 32'(norm_address[WORD_SHIFT-1:0]) / CODE_BANKS == i : drain_code_channels[b][i];
            assign digit_channels[b][i] =
                softmax_here ? 32'(softmax_address[WORD_SHIFT-1:0]) / CODE_BANKS == i : drain_code_channels[b][i];
            for (genvar n = 0; n < T_N; n++) begin : lane_of
                assign activation_codes[b][n][i] = image_write ? image_pixels[PLACE%IMAGE_PIXELS]
                                                 : norm_here ? norm_data[b%R][n] : drain_code_data[b][n][i];
                assign digit_codes[b][n][i] = softmax_here ? softmax_data[b%R][n] : drain_code_data[b][n][i];
            end
        end
    end

    logic [R-1:0]                wide_write;
    logic [R-1:0][WIDE_BITS-1:0] wide_word, wide_read_word;
    logic [R-1:0][T_N-1:0]       wide_lanes;
    logic [R-1:0][T_N-1:0][15:0] wide_values;
    for (genvar b = 0; b < R; b++) begin : wide_bank
        logic     other_write;
        address_t other_address;
        assign other_write = residual_write || mean_write;
        assign other_address = residual_write ? residual_address : mean_address;
        assign wide_write[b] = other_write ? R == 1 || other_address[0] == 1'(b) : drain_wide_write[b];
        assign wide_word[b] = WIDE_BITS'((other_write ? other_address : drain_wide_address[b]) >> BANK_SHIFT);
        for (genvar n = 0; n < T_N; n++) begin : wide_lane
            assign wide_lanes[b][n] = residual_write ? residual_lanes[n] : mean_write ? mean_lane == 16'(n)
                                    : drain_wide_lanes[n];
            assign wide_values[b][n] = residual_write ? residual_data[n] : mean_write ? mean_data
                                     : drain_wide_data[b][n];
        end
        assign wide_read_channel[b] = drain_wide_read ? drain_read_address[b] : unit_read;
        assign wide_read_word[b] = WIDE_BITS'(wide_read_channel[b] >> BANK_SHIFT);
    end

    code_memory #(.T_N(T_N), .T_K(T_K), .BANKS(CODE_BANKS), .WORDS(ACTIVATION_WORDS)) activations (
        .clk, .write_enable(activation_write), .write_address(activation_word), .write_lanes(activation_lanes),
        .write_channels(activation_channels), .write_data(activation_codes),
        .read_address(ACTIVATION_BITS'(trace_active ? trace_read >> WORD_SHIFT : gemm_activation_word)),
        .read_data(activation_data)
    );
    code_memory #(.T_N(T_N), .T_K(T_K), .BANKS(CODE_BANKS), .WORDS(DIGIT_WORDS)) digit_operands (
        .clk, .write_enable(digit_write), .write_address(digit_word), .write_lanes(digit_lanes),
        .write_channels(digit_channels), .write_data(digit_codes),
        .read_address(DIGIT_BITS'(trace_active ? trace_read >> WORD_SHIFT : loader_digit_word)),
        .read_data(digit_data)
    );
    wide_memory #(.T_N(T_N), .BANKS(R), .DEPTH(WIDE_DEPTH)) wide (
        .clk, .write_enable(wide_write), .write_address(wide_word), .write_lanes(wide_lanes),
        .write_data(wide_values), .read_address(wide_read_word), .read_data(wide_read_data)
    );
endmodule
