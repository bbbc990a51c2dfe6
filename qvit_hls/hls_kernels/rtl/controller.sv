// Runs the layers of a program in two lanes, each in order: GEMMs, left to the sequencer, which begins the next one
// when the last step of one is issued; and all other units, one at a time, beside them. Each lane skips the other
// one's layers; what a layer waits for of either lane is in its descriptor. With the trace on, layers run one after
// the other in the order of the program, and a layer's result is written out before anything else begins.
//
// The image of the next frame may be loaded while this frame runs: once the GEMM that reads this frame's image is
// complete, by the LOAD_IMAGE descriptor of this frame.
//
// ap_start begins a frame (ap_ready tells that it has), ap_done stays until ap_continue.
module controller
    import qvit_pkg::*;
(
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  ap_start,
    output logic                  ap_ready,
    output logic                  ap_done,
    output logic                  ap_idle,
    input  logic                  ap_continue,
    // Of the frame, with ap_start.
    input  logic [31:0]           layers_in,
    input  logic                  trace_enable_in,
    input  logic                  image_loaded_in,
    input  logic                  image_follows_in,
    output logic                  running,
    output logic [31:0]           layers,
    // Progress: layers whose descriptors are known, that are loaded, that each lane runs or comes to next, that
    // nothing needs any more; and what is complete.
    input  logic [COUNT_BITS-1:0] known,
    output logic [COUNT_BITS-1:0] load_layer,
    output logic [COUNT_BITS-1:0] gemm_layer,
    output logic [COUNT_BITS-1:0] vector_layer,
    output logic [COUNT_BITS-1:0] finished,
    output progress_t             progress,
    output logic [COUNT_BITS-1:0] gemms_begun,
    output logic [COUNT_BITS-1:0] vectors_begun,
    // verilator lint_off UNUSEDSIGNAL  // not every field concerns this module
    input  descriptor_t           gemm,
    input  descriptor_t           vector,
    // verilator lint_on UNUSEDSIGNAL
    // Loader.
    output logic                  load_valid,
    output logic                  load_may_use_memories,
    input  logic                  layer_loaded,
    // GEMM lane.
    output logic                  gemm_valid,
    input  logic                  gemm_step,
    input  logic                  gemm_issued,
    input  logic                  token_tile_drained,
    input  logic                  layer_drained,
    // Vector lane.
    output logic                  unit_start,
    output logic [COUNT_BITS-1:0] unit_tiles_ready,
    input  logic                  unit_done,
    input  logic [COUNT_BITS-1:0] unit_tiles_done,
    // Image: started by a LOAD_IMAGE layer, or ahead of the next frame's.
    output descriptor_t           image,
    output logic                  image_start,
    input  logic                  image_done,
    // Trace of a layer's result.
    output logic                  trace_start,
    output logic                  trace_active,
    output logic                  trace_vector,   // the layer is in the vector lane
    input  logic                  trace_done
);
    typedef logic [COUNT_BITS-1:0] count_t;

    typedef enum logic [1:0] {IDLE, RUN, DONE} state_t;
    typedef enum logic [1:0] {NEXT, UNIT, TRACED} vector_state_t;
    typedef enum logic [1:0] {NO_IMAGE, IMAGE_WAITS, IMAGE_LOADS} ahead_t;
    state_t        state;
    vector_state_t vector_state;
    ahead_t        ahead;
    logic          trace_enable, image_loaded, image_known, gemm_held, trace_pending;
    count_t        gemms, gemm_tiles, vectors, gemms_issued, traced;

    assign running = state == RUN;
    assign ap_idle = state == IDLE;
    assign ap_ready = state == IDLE && ap_start;
    assign ap_done = state == DONE;
    // The least of the three: layers count from 0, so that no difference is ambiguous.
    always_comb begin
        finished = gemm_layer < vector_layer ? gemm_layer : vector_layer;
        if (load_layer < finished) finished = load_layer;
    end

    // ---------------------------------------------------------------- loader
    assign load_valid = running && load_layer != known;
    assign load_may_use_memories = !trace_enable || traced == load_layer;

    // ---------------------------------------------------------------- GEMM lane
    logic gemm_known;
    assign gemm_known = running && gemm_layer != known;
    assign gemm_valid = gemm_known && gemm.unit == GEMM && !gemm_held && (!trace_enable || traced == gemm_layer);

    // ---------------------------------------------------------------- vector lane
    logic vector_known, by_tile, may_start, from_ahead;
    assign vector_known = running && vector_layer != known;
    assign unit_tiles_ready = ready_tiles(vector.after, progress);
    assign by_tile = vector.unit == LAYER_NORM || vector.unit == SOFTMAX;
    // The loader has dealt with this layer (its table may be there), and operands are.
    assign may_start = vector_state == NEXT && vector_known && vector.unit != GEMM && load_layer > vector_layer
                    && (!trace_enable || traced == vector_layer)
                    && (by_tile ? unit_tiles_ready != '0 : unit_tiles_ready == '1);
    assign from_ahead = vector.unit == LOAD_IMAGE && image_loaded;

    always_ff @(posedge clk) begin
        unit_start <= 1'b0;
        image_start <= 1'b0;
        trace_start <= 1'b0;
        case (state)
            IDLE: begin
                load_layer <= '0;
                gemm_layer <= '0;
                vector_layer <= '0;
                gemms <= '0;
                gemm_tiles <= '0;
                vectors <= '0;
                gemms_begun <= '0;
                gemms_issued <= '0;
                vectors_begun <= '0;
                traced <= '0;
                gemm_held <= 1'b0;
                trace_pending <= 1'b0;
                trace_active <= 1'b0;
                vector_state <= NEXT;
                ahead <= image_follows_in ? IMAGE_WAITS : NO_IMAGE;
                layers <= layers_in;
                trace_enable <= trace_enable_in;
                image_loaded <= image_loaded_in;
                image_known <= 1'b0;
                if (ap_start) state <= RUN;
            end
            RUN: begin
                if (32'(gemm_layer) == layers && 32'(vector_layer) == layers && gemms == gemms_issued
                    && ahead == NO_IMAGE && !trace_active && !trace_pending) state <= DONE;

                if (layer_loaded) load_layer <= load_layer + 1'b1;

                if (gemm_known && gemm.unit != GEMM) gemm_layer <= gemm_layer + 1'b1;
                if (gemm_step && gemms_begun == gemms_issued) gemms_begun <= gemms_begun + 1'b1;
                if (gemm_issued) begin
                    gemms_issued <= gemms_issued + 1'b1;
                    if (trace_enable) gemm_held <= 1'b1;
                    else gemm_layer <= gemm_layer + 1'b1;
                end
                if (token_tile_drained) gemm_tiles <= gemm_tiles + 1'b1;
                if (layer_drained) begin
                    gemms <= gemms + 1'b1;
                    gemm_tiles <= '0;
                    trace_pending <= trace_enable;
                    trace_vector <= 1'b0;
                end

                case (vector_state)
                    NEXT: begin
                        if (vector_known && vector.unit == GEMM) vector_layer <= vector_layer + 1'b1;
                        if (may_start) begin
                            vectors_begun <= vectors_begun + 1'b1;
                            unit_start <= 1'b1;
                            image_start <= vector.unit == LOAD_IMAGE && !image_loaded;
                            if (vector.unit == LOAD_IMAGE) image <= vector;
                            vector_state <= UNIT;
                        end
                    end
                    UNIT: if ((unit_done || from_ahead) && !unit_start) begin
                        vectors <= vectors + 1'b1;
                        if (vector.unit == LOAD_IMAGE) image_known <= 1'b1;
                        trace_pending <= trace_enable;
                        trace_vector <= 1'b1;
                        if (trace_enable) vector_state <= TRACED;
                        else begin
                            vector_layer <= vector_layer + 1'b1;
                            vector_state <= NEXT;
                        end
                    end
                    default: ;
                endcase

                // image.rows: GEMMs that must be complete before the image may be overwritten.
                case (ahead)
                    IMAGE_WAITS: if (image_known && gemms >= count_t'(image.rows)) begin
                        image_start <= 1'b1;
                        ahead <= IMAGE_LOADS;
                    end
                    IMAGE_LOADS: if (image_done && !image_start) ahead <= NO_IMAGE;
                    default: ;
                endcase

                if (trace_pending) begin
                    trace_pending <= 1'b0;
                    trace_start <= 1'b1;
                    trace_active <= 1'b1;
                end
                if (trace_active && trace_done && !trace_start) begin
                    trace_active <= 1'b0;
                    traced <= traced + 1'b1;
                    if (trace_vector) begin
                        vector_layer <= vector_layer + 1'b1;
                        vector_state <= NEXT;
                    end else begin
                        gemm_held <= 1'b0;
                        gemm_layer <= gemm_layer + 1'b1;
                    end
                end
            end
            DONE: if (ap_continue) state <= IDLE;
            default: ;
        endcase
        if (rst) begin
            state <= IDLE;
            trace_active <= 1'b0;
        end
    end

    assign progress.gemms = gemms;
    assign progress.gemm_tiles = gemm_tiles;
    assign progress.vectors = vectors;
    assign progress.vector_tiles = vector_state == UNIT && !unit_start ? unit_tiles_done : '0;
endmodule
