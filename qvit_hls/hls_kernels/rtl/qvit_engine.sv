// The engine: runs the layers of a program on memories that live on chip. The same descriptors, the same weight
// stream and the same results as hls_kernels/hls/engine.hpp; here, loading, the MAC tile, and the drain of
// neighbouring layers overlap.
//
// Streams are valid/ready; ap_* is the ap_ctrl_chain protocol. layer_begun and layer_completed count layers, for
// observation only.
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
    output logic [31:0]              layer_issued,
    output logic [31:0]              layer_completed
);
    localparam int R = DRAIN_ROWS;
    localparam int BANK_SHIFT = R - 1;
    localparam int WORD_SHIFT = $clog2(T_K);
    localparam int BANK_CHANNELS = T_K / R;
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
    logic        trace_on, layer_loaded, load_valid, load_undisturbed;
    logic [31:0] layer_count;
    count_t      known, load_layer, run_layer, completed, finished, begun, drained_tiles;
    descriptor_t load_descriptor, d;
    logic        gemm_valid, gemm_issued, token_tile_drained, layer_drained;
    logic        unit_start, unit_active, unit_done, trace_start, trace_active, trace_done;
    logic        step_valid, step_first, step_last;

    program_reader reader (
        .clk, .rst, .running, .layers(layer_count), .finished, .program_data, .program_valid, .program_ready,
        .known, .load_layer, .load_descriptor, .run_layer, .run_descriptor(d)
    );
    controller control (
        .clk, .rst, .ap_start, .ap_ready, .ap_done, .ap_idle, .ap_continue, .layers_in(layers),
        .trace_enable_in(trace_enable != 0), .running, .layers(layer_count), .trace_enable(trace_on), .known,
        .load_layer, .run_layer, .completed, .finished, .begun, .drained_tiles, .run(d), .layer_loaded,
        .load_valid, .load_undisturbed, .gemm_valid, .gemm_step(step_valid), .gemm_issued, .token_tile_drained,
        .layer_drained, .unit_start, .unit_active, .unit_done, .trace_start, .trace_active, .trace_done
    );
    assign layer_issued = 32'(begun);
    assign layer_completed = 32'(completed);

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
    logic                           exponent_write;
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
        .T_N(T_N), .T_M(T_M), .T_K(T_K), .PORTS(PORTS), .WEIGHT_DEPTH(WEIGHT_DEPTH), .DRAIN_ROWS(R)
    ) loader (
        .clk, .rst(restart), .layer_valid(load_valid), .d(load_descriptor), .layer(load_layer), .layer_loaded, .completed,
        .undisturbed(load_undisturbed), .in_step(trace_on), .beat_valid, .beat(weights_data), .beat_ready,
        .digit_word(loader_digit_word), .digit_data, .buffer_write, .buffer_address(buffer_write_address),
        .buffer_data(buffer_write_data), .row_write, .row_tile(row_write_tile), .row_group(row_write_group),
        .row_data(row_write_data), .table_write, .exponent_write, .table_entry, .table_data,
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
        .clk, .rst(restart), .layer_valid(gemm_valid), .d, .layer_issued(gemm_issued), .completed, .drained_tiles,
        .tile_valid, .tile, .tile_ready, .tile_released, .released_steps, .step_valid, .step_first, .step_last,
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
    logic                                           normalizer_write;
    logic [11:0]                                    normalizer_token, maximum_tile;
    scaling_value_t                                 normalizer;
    // verilator lint_off UNUSEDSIGNAL  // a unit may be left out
    logic [T_N-1:0][15:0]                           maximum;
    // verilator lint_on UNUSEDSIGNAL
    logic [R-1:0][ADDRESS_BITS-1:0]                 drain_read_address, wide_read_channel;
    logic [R-1:0][T_N-1:0][15:0]                    wide_read_data;
    logic [R-1:0]                                   drain_code_write, drain_wide_write;
    logic                                           drain_to_digit;
    logic [R-1:0][ADDRESS_BITS-1:0]                 drain_code_word, drain_wide_address;
    logic [T_N-1:0]                                 drain_code_lanes, drain_wide_lanes;
    logic [R-1:0][BANK_CHANNELS-1:0]                drain_code_channels;
    logic [R-1:0][T_N-1:0][BANK_CHANNELS-1:0][7:0]  drain_code_data;
    logic [R-1:0][T_N-1:0][15:0]                    drain_wide_data;

    gemm_drain #(
        .T_N(T_N), .T_M(T_M), .T_K(T_K), .SUM_BITS(SUM_BITS), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .DRAIN_ROWS(R),
        .TABLE_BITS(TABLE_BITS), .MAX_TOKENS(MAX_TOKENS), .HAS_SOFTMAX(HAS_SOFTMAX)
    ) drain (
        .clk, .rst, .sums_valid, .sums, .front, .row_tile(row_read_tile), .row_first(row_read_first),
        .row_data(row_read_data), .table_write, .table_entry, .table_data, .normalizer_write, .normalizer_token,
        .normalizer, .maximum_tile, .maximum, .wide_read_address(drain_read_address), .wide_read_data,
        .code_write(drain_code_write), .code_to_digit(drain_to_digit), .code_word(drain_code_word),
        .code_lanes(drain_code_lanes), .code_channels(drain_code_channels), .code_data(drain_code_data),
        .wide_write(drain_wide_write), .wide_address(drain_wide_address), .wide_lanes(drain_wide_lanes),
        .wide_data(drain_wide_data), .token_tile_drained, .layer_drained
    );

    // ---------------------------------------------------------------- other units
    // verilator lint_off UNUSEDSIGNAL  // a unit may be left out
    logic     norm_start, softmax_start, mean_start, image_start, result_start;
    // verilator lint_on UNUSEDSIGNAL
    logic     norm_done, softmax_done, mean_done, image_done, result_done;
    address_t norm_read, softmax_read, mean_read, result_read, trace_read;
    logic     norm_write, softmax_write, mean_write, image_write;
    address_t norm_address, softmax_address, mean_address, image_address;
    logic [T_N-1:0][7:0] norm_data, softmax_data;
    logic [15:0]         mean_data, image_lane;
    logic [IMAGE_PIXELS-1:0][7:0] image_pixels;
    logic [T_N-1:0][15:0]         unit_wide_data;

    assign norm_start = unit_start && d.unit == LAYER_NORM;
    assign softmax_start = unit_start && d.unit == SOFTMAX;
    assign mean_start = unit_start && d.unit == MEAN_TOKENS;
    assign image_start = unit_start && d.unit == LOAD_IMAGE;
    assign result_start = unit_start && d.unit == STORE_RESULT;
    always_comb begin
        case (d.unit)
            LOAD_IMAGE: unit_done = image_done;
            LAYER_NORM: unit_done = norm_done;
            SOFTMAX: unit_done = softmax_done;
            MEAN_TOKENS: unit_done = mean_done;
            STORE_RESULT: unit_done = result_done;
            default: unit_done = 1'b1;  // LOAD_RESIDUAL: the loader has done it
        endcase
    end

    if (HAS_LAYER_NORM) begin : with_layer_norm
        layer_norm #(.T_N(T_N), .MAX_CHANNELS(MAX_CHANNELS)) unit (
            .clk, .rst, .start(norm_start), .d, .done(norm_done), .wide_address(norm_read),
            .wide_data(unit_wide_data), .write_enable(norm_write), .write_address(norm_address),
            .write_data(norm_data)
        );
    end else begin : without_layer_norm
        assign norm_done = 1'b1;
        assign norm_write = 1'b0;
        assign {norm_read, norm_address, norm_data} = '0;
    end
    if (HAS_SOFTMAX) begin : with_softmax
        softmax #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS)) unit (
            .clk, .rst, .start(softmax_start), .d, .done(softmax_done), .wide_address(softmax_read),
            .wide_data(unit_wide_data), .maximum_tile, .maximum, .table_write(exponent_write),
            .table_entry(table_entry[7:0]), .table_data, .write_enable(softmax_write),
            .write_address(softmax_address), .write_data(softmax_data), .normalizer_write, .normalizer_token,
            .normalizer
        );
    end else begin : without_softmax
        assign softmax_done = 1'b1;
        assign softmax_write = 1'b0;
        assign normalizer_write = 1'b0;
        assign {softmax_read, softmax_address, softmax_data, maximum_tile, normalizer_token, normalizer} = '0;
    end
    if (HAS_MEAN_TOKENS) begin : with_mean_tokens
        mean_tokens #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS)) unit (
            .clk, .rst, .start(mean_start), .d, .done(mean_done), .wide_address(mean_read),
            .wide_data(unit_wide_data), .write_enable(mean_write), .write_address(mean_address),
            .write_data(mean_data)
        );
    end else begin : without_mean_tokens
        assign mean_done = 1'b1;
        assign mean_write = 1'b0;
        assign {mean_read, mean_address, mean_data} = '0;
    end
    load_image #(.T_N(T_N), .T_K(T_K), .IMAGE_PIXELS(IMAGE_PIXELS)) image (
        .clk, .rst, .start(image_start), .d, .done(image_done), .image_data, .image_valid, .image_ready,
        .write_enable(image_write), .write_lane(image_lane), .write_address(image_address),
        .write_data(image_pixels)
    );
    store_result #(.T_N(T_N)) result (
        .clk, .rst, .start(result_start), .d, .done(result_done), .wide_address(result_read),
        .wide_data(unit_wide_data), .result_data, .result_valid, .result_ready
    );
    store_trace #(.T_N(T_N), .T_K(T_K)) trace (
        .clk, .rst, .start(trace_start), .d, .done(trace_done), .address(trace_read), .activation_data, .digit_data,
        .wide_data(unit_wide_data), .trace_data, .trace_valid, .trace_ready
    );

    // ---------------------------------------------------------------- memories and who uses them
    // One unit at a time reads the wide memory beside the drain, and writes the memories; a drain never
    // overlaps with a unit.
    address_t unit_read;
    always_comb begin
        case (d.unit)
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

    logic                           activation_column, digit_column;
    address_t                       column_address;
    logic [T_N-1:0][7:0]            column_data;
    assign activation_column = norm_write;
    assign digit_column = softmax_write;
    assign column_address = norm_write ? norm_address : softmax_address;
    assign column_data = norm_write ? norm_data : softmax_data;

    logic [R-1:0]                                  activation_write, digit_write, wide_write;
    logic [R-1:0][ACTIVATION_BITS-1:0]             activation_word;
    logic [R-1:0][DIGIT_BITS-1:0]                  digit_word;
    logic [R-1:0][WIDE_BITS-1:0]                   wide_word, wide_read_word;
    logic [T_N-1:0]                                activation_lanes, digit_lanes;
    logic [R-1:0][T_N-1:0]                         wide_lanes;
    logic [R-1:0][BANK_CHANNELS-1:0]               activation_channels, digit_channels;
    logic [R-1:0][T_N-1:0][BANK_CHANNELS-1:0][7:0] activation_codes, digit_codes;
    logic [R-1:0][T_N-1:0][15:0]                   wide_values;

    for (genvar n = 0; n < T_N; n++) begin : lane_writes
        assign activation_lanes[n] = image_write ? image_lane == 16'(n) : norm_write ? 1'b1 : drain_code_lanes[n];
        assign digit_lanes[n] = softmax_write ? 1'b1 : drain_code_lanes[n];
    end
    for (genvar b = 0; b < R; b++) begin : bank
        logic column_here;
        assign column_here = R == 1 || column_address[0] == 1'(b);
        assign activation_write[b] = image_write ? IMAGE_PIXELS > 1 || R == 1 || image_address[0] == 1'(b)
                                   : activation_column ? column_here : drain_code_write[b] && !drain_to_digit;
        assign digit_write[b] = digit_column ? column_here : drain_code_write[b] && drain_to_digit;
        assign activation_word[b] = ACTIVATION_BITS'(image_write ? image_address >> WORD_SHIFT
                                  : activation_column ? column_address >> WORD_SHIFT : drain_code_word[b]);
        assign digit_word[b] = DIGIT_BITS'(digit_column ? column_address >> WORD_SHIFT : drain_code_word[b]);
        for (genvar i = 0; i < BANK_CHANNELS; i++) begin : channel
            logic column_channel;
            assign column_channel = 32'(column_address[WORD_SHIFT-1:0]) / R == i;
            assign activation_channels[b][i] =
                image_write ? 32'(image_address[WORD_SHIFT-1:0]) / IMAGE_PIXELS == (i * R + b) / IMAGE_PIXELS
                : activation_column ? column_channel : drain_code_channels[b][i];
            assign digit_channels[b][i] = digit_column ? column_channel : drain_code_channels[b][i];
            for (genvar n = 0; n < T_N; n++) begin : lane
                assign activation_codes[b][n][i] = image_write ? image_pixels[(i*R+b)%IMAGE_PIXELS]
                                                 : activation_column ? column_data[n] : drain_code_data[b][n][i];
                assign digit_codes[b][n][i] = digit_column ? column_data[n] : drain_code_data[b][n][i];
            end
        end

        logic     other_write;
        address_t other_address;
        assign other_write = residual_write || mean_write;
        assign other_address = residual_write ? residual_address : mean_address;
        assign wide_write[b] = other_write ? R == 1 || other_address[0] == 1'(b) : drain_wide_write[b];
        assign wide_word[b] = WIDE_BITS'((other_write ? other_address : drain_wide_address[b]) >> BANK_SHIFT);
        assign wide_lanes[b] = residual_write ? residual_lanes : mean_write ? T_N'(1) : drain_wide_lanes;
        for (genvar n = 0; n < T_N; n++) begin : wide_lane
            assign wide_values[b][n] = residual_write ? residual_data[n] : mean_write ? mean_data
                                     : drain_wide_data[b][n];
        end
        assign wide_read_channel[b] = unit_active || trace_active ? unit_read : drain_read_address[b];
        assign wide_read_word[b] = WIDE_BITS'(wide_read_channel[b] >> BANK_SHIFT);
    end

    code_memory #(.T_N(T_N), .T_K(T_K), .BANKS(R), .WORDS(ACTIVATION_WORDS)) activations (
        .clk, .write_enable(activation_write), .write_address(activation_word), .write_lanes(activation_lanes),
        .write_channels(activation_channels), .write_data(activation_codes),
        .read_address(ACTIVATION_BITS'(trace_active ? trace_read >> WORD_SHIFT : gemm_activation_word)),
        .read_data(activation_data)
    );
    code_memory #(.T_N(T_N), .T_K(T_K), .BANKS(R), .WORDS(DIGIT_WORDS)) digit_operands (
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
