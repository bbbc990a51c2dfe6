// What every module of the engine shares: descriptors, latencies, and the widths of the arithmetic contract.
package qvit_pkg;

    // hw/descriptor.py lists the same numbers and says what each means; a test holds the two together.
    typedef enum logic [31:0] {
        LOAD_IMAGE, LOAD_RESIDUAL, GEMM, LAYER_NORM, SOFTMAX, MEAN_TOKENS, STORE_RESULT
    } unit_t;
    typedef enum logic [31:0] {MEMORY_ACTIVATION, MEMORY_DIGIT, MEMORY_WIDE, MEMORY_NONE} memory_t;
    typedef enum logic [31:0] {DIGITS_STREAM, DIGITS_MEMORY} digit_source_t;
    typedef enum logic [31:0] {
        TO_ACTIVATION, TO_ACTIVATION_TRANSPOSED, TO_DIGIT, TO_WIDE, TO_WIDE_ADD, TO_SCORES, TO_SCORES_ADD
    } destination_t;
    // Whether results are added to what the wide memory holds: the residual stream, or a constant behind scores.
    function automatic logic adds_to_wide(destination_t destination);
        return destination == TO_WIDE_ADD || destination == TO_SCORES_ADD;
    endfunction
    // Whether results are attention scores, of which each query's maximum is tracked.
    function automatic logic is_scores(destination_t destination);
        return destination == TO_SCORES || destination == TO_SCORES_ADD;
    endfunction
    typedef enum logic [31:0] {SCALING_PER_ROW, SCALING_CONSTANT, SCALING_RECIPROCAL} scaling_t;

    localparam int DESCRIPTOR_WORDS = 32;

    // What a layer waits for: so many first GEMMs and so many first other layers must be complete. Where the last
    // of them is needed by token tile, a token tile waits only for the same token tile of that layer.
    typedef struct packed {
        logic        gemm_by_tile;
        logic        vector_by_tile;
        logic [14:0] vectors;
        logic [14:0] gemms;
    } after_t;

    // One record of the program; the last field is its first word.
    typedef struct packed {
        after_t        after;
        logic [31:0]   width;
        logic [31:0]   height;
        logic [31:0]   patch;
        logic [31:0]   epsilon_high;
        logic [31:0]   epsilon_low;
        logic [31:0]   table_entries;
        logic [31:0]   qmax;
        logic [31:0]   shift;
        logic [31:0]   multiplier;
        scaling_t      scaling;
        logic [31:0]   first_token;
        logic [31:0]   y_stride;
        logic [31:0]   y_base;
        destination_t  destination;
        logic [31:0]   digit_stride;
        logic [31:0]   digit_base;
        digit_source_t digit_source;
        logic [31:0]   rows8;
        logic [31:0]   rows;
        logic [31:0]   x_stride;
        logic [31:0]   x_base;
        logic [31:0]   k_steps;
        logic [31:0]   k;
        logic [31:0]   tokens;
        logic [31:0]   trace_channels;
        logic [31:0]   trace_tokens;
        logic [31:0]   trace_stride;
        logic [31:0]   trace_base;
        memory_t       trace_memory;
        logic [31:0]   steps;
        unit_t         unit;
    } descriptor_t;

    localparam int MULTIPLIER_BITS = 17;  // 16 for a row's multiplier, one more for a reciprocal's
    localparam int SHIFT_BITS = 6;
    localparam int BIAS_BITS = 30;
    localparam int CHANNEL_BITS = 12;

    // multiplier / 2**shift
    typedef struct packed {
        logic [MULTIPLIER_BITS-1:0] multiplier;
        logic [SHIFT_BITS-1:0]      shift;
    } scaling_value_t;

    // What a row needs after its sum, as in the weight stream from the lowest bit: bias, multiplier, shift,
    // channel.
    typedef struct packed {
        logic [CHANNEL_BITS-1:0]     channel;
        logic [SHIFT_BITS-1:0]       shift;
        logic [MULTIPLIER_BITS-2:0]  multiplier;
        logic signed [BIAS_BITS-1:0] bias;
    } row_parameters_t;

    localparam int ADDRESS_BITS = 20;  // of channels of a lane
    localparam int COUNT_BITS = 16;    // layers, tokens, rows, steps
    localparam int RING = 8;           // descriptors that are known at once
    localparam int TILE_BITS = 3;      // row tiles whose row parameters are kept: 8
    localparam int GROUP_TILES = 3;    // row tiles that take turns, at most

    // Where a token lies: its lane, and the address of channel 0 of its token tile.
    typedef struct packed {
        logic [COUNT_BITS-1:0]   lane;
        logic [ADDRESS_BITS-1:0] tile_address;
    } place_t;

    // How far a frame is: complete layers of each lane, and token tiles of the layer behind those that are there.
    typedef struct packed {
        logic [COUNT_BITS-1:0] gemms;
        logic [COUNT_BITS-1:0] gemm_tiles;
        logic [COUNT_BITS-1:0] vectors;
        logic [COUNT_BITS-1:0] vector_tiles;
    } progress_t;

    // Token tiles whose operands are there; all ones when all are.
    function automatic logic [COUNT_BITS-1:0] ready_tiles(after_t after, progress_t progress);
        logic [COUNT_BITS-1:0] gemm, vector;
        gemm = '0;
        if (progress.gemms >= COUNT_BITS'(after.gemms)) gemm = '1;
        else if (after.gemm_by_tile && progress.gemms + 1'b1 == COUNT_BITS'(after.gemms)) gemm = progress.gemm_tiles;
        vector = '0;
        if (progress.vectors >= COUNT_BITS'(after.vectors)) vector = '1;
        else if (after.vector_by_tile && progress.vectors + 1'b1 == COUNT_BITS'(after.vectors)) vector = progress.vector_tiles;
        return gemm < vector ? gemm : vector;
    endfunction

    // A row tile whose digits are loaded: the rows of a layer from first_row on, the first rows8 of two digits.
    typedef struct packed {
        logic                    last;          // of its layer
        logic                    group_last;    // of the row tiles that take turns
        logic [TILE_BITS-1:0]    index;         // modulo the number of row tiles that there is room for
        logic [COUNT_BITS-1:0]   base;          // of its digits in the weight buffer
        logic [COUNT_BITS-1:0]   first_row;
        logic [COUNT_BITS-1:0]   rows;
        logic [COUNT_BITS-1:0]   rows8;
        logic [COUNT_BITS-1:0]   drain_cycles;
        // Where first_row goes in a transposed result; see gemm_transposer.sv.
        logic [COUNT_BITS-1:0]   position;
        logic [COUNT_BITS-1:0]   block;
        logic [ADDRESS_BITS-1:0] block_address;
    } row_tile_t;

    // One slot of a GEMM: a row tile times a token tile, with all that its drain needs.
    typedef struct packed {
        row_tile_t               tile;
        logic                    last;           // of its layer
        destination_t            destination;
        scaling_t                scaling;
        scaling_value_t          constant;
        logic                    has_table;
        logic [15:0]             qmax;
        logic [COUNT_BITS-1:0]   token_tile;
        logic [COUNT_BITS-1:0]   first_lane;     // lanes first_lane..end_lane-1 hold tokens to be written
        logic [COUNT_BITS-1:0]   end_lane;
        logic [ADDRESS_BITS-1:0] token;          // of lane 0
        logic [ADDRESS_BITS-1:0] y_address;      // of channel 0 of the token tile
        logic [ADDRESS_BITS-1:0] y_stride;
    } slot_t;

    // Cycles from a memory's address to its data: the RAM and its output register.
    localparam int READ_LATENCY = 2;
    // Cycles from the operands of requantize.sv to its result.
    localparam int REQUANTIZE_LATENCY = 4;
    // Cycles from a vector unit's step (it consumes its read address) to the write of the step's result.
    localparam int LAYER_NORM_WRITE = READ_LATENCY + 7;
    localparam int SOFTMAX_WRITE = READ_LATENCY + 2;

endpackage
