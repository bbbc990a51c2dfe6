// Runs the layers in order. A GEMM is left to the sequencer, and the next layer may begin when its last step is
// issued; every other unit runs alone: it begins when all layers before it are complete. With the trace on, a
// layer's result is written out before anything else begins.
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
    input  logic [31:0]           layers_in,
    input  logic                  trace_enable_in,
    output logic                  running,
    output logic [31:0]           layers,
    output logic                  trace_enable,
    // Progress: layers whose descriptors are known, that are loaded, that run or wait, that are complete.
    input  logic [COUNT_BITS-1:0] known,
    output logic [COUNT_BITS-1:0] load_layer,
    output logic [COUNT_BITS-1:0] run_layer,
    output logic [COUNT_BITS-1:0] completed,
    output logic [COUNT_BITS-1:0] finished,
    output logic [COUNT_BITS-1:0] begun,
    output logic [COUNT_BITS-1:0] drained_tiles,
    // verilator lint_off UNUSEDSIGNAL  // not every field concerns this module
    input  descriptor_t           run,
    // verilator lint_on UNUSEDSIGNAL
    input  logic                  layer_loaded,
    output logic                  load_valid,
    output logic                  load_undisturbed,
    // GEMM.
    output logic                  gemm_valid,
    input  logic                  gemm_step,
    input  logic                  gemm_issued,
    input  logic                  token_tile_drained,
    input  logic                  layer_drained,
    // Other units.
    output logic                  unit_start,
    output logic                  unit_active,
    input  logic                  unit_done,
    output logic                  trace_start,
    output logic                  trace_active,
    input  logic                  trace_done
);
    typedef enum logic [2:0] {IDLE, READY, UNIT, TRACE_WAIT, TRACE, DONE} state_t;
    state_t state;

    logic available, is_gemm, may_start;
    assign available = state == READY && run_layer != known;
    assign is_gemm = run.unit == GEMM;
    assign gemm_valid = available && is_gemm;
    // The loader has dealt with this layer, and everything before it is complete.
    assign may_start = available && !is_gemm && completed == run_layer && load_layer != run_layer;

    assign running = state != IDLE && state != DONE;
    assign load_valid = running && load_layer != known;
    // An image that is being loaded leaves the wide memory alone.
    assign load_undisturbed = completed == load_layer
                              ? run_layer == load_layer
                              : !trace_enable && state == UNIT && run.unit == LOAD_IMAGE && load_layer == run_layer + 1'b1;
    assign finished = completed - run_layer < 16'h8000 ? run_layer : completed;  // the lesser

    assign ap_idle = state == IDLE;
    assign ap_ready = state == IDLE && ap_start;
    assign ap_done = state == DONE;

    always_ff @(posedge clk) begin
        unit_start <= 1'b0;
        trace_start <= 1'b0;
        case (state)
            IDLE: begin
                load_layer <= '0;
                run_layer <= '0;
                completed <= '0;
                begun <= '0;
                drained_tiles <= '0;
                layers <= layers_in;
                trace_enable <= trace_enable_in;
                if (ap_start) state <= READY;
            end
            READY: begin
                if (32'(run_layer) == layers && completed == run_layer) state <= DONE;
                if (gemm_issued) begin
                    if (trace_enable) state <= TRACE_WAIT;
                    else run_layer <= run_layer + 1'b1;
                end
                if (may_start) begin
                    begun <= run_layer + 1'b1;
                    unit_start <= 1'b1;
                    state <= UNIT;
                end
            end
            UNIT: if (unit_done && !unit_start) begin
                completed <= completed + 1'b1;
                if (trace_enable) begin
                    trace_start <= 1'b1;
                    state <= TRACE;
                end else begin
                    run_layer <= run_layer + 1'b1;
                    state <= READY;
                end
            end
            TRACE_WAIT: if (completed == run_layer + 1'b1) begin
                trace_start <= 1'b1;
                state <= TRACE;
            end
            TRACE: if (trace_done && !trace_start) begin
                run_layer <= run_layer + 1'b1;
                state <= READY;
            end
            DONE: if (ap_continue) state <= IDLE;
            default: ;
        endcase
        if (running) begin
            if (layer_loaded) load_layer <= load_layer + 1'b1;
            if (gemm_step) begun <= run_layer + 1'b1;
            if (token_tile_drained) drained_tiles <= drained_tiles + 1'b1;
            if (layer_drained) begin
                completed <= completed + 1'b1;
                drained_tiles <= '0;
            end
        end
        if (rst) state <= IDLE;
    end
    assign unit_active = state == UNIT;
    assign trace_active = state == TRACE;
endmodule
