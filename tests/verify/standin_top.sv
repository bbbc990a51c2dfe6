// A tiny accelerator with the engine's ports, to prove the harness: y[t][r] = clamp(w[r] * x[t], q[r]) for four
// pixels x, three rows r; the result is the row of token 1. Each row's w comes on weight port 0, its q on port 1.
// The next frame's image is taken when all layers are complete.
//
// Its descriptors have words of their own: 0 the unit (0 image, 2 linear, 6 result), 1 a number of cycles to wait,
// 30 a fault and 29 where it strikes.
module standin_top #(
    parameter bit FUNCTIONAL = 0
) (
    input  logic         ap_clk,
    input  logic         ap_rst,
    input  logic         ap_start,
    output logic         ap_ready,
    output logic         ap_done,
    output logic         ap_idle,
    input  logic         ap_continue,
    input  logic [31:0]  layers,
    input  logic [31:0]  trace_enable,
    input  logic [31:0]  image_loaded,
    input  logic [31:0]  image_follows,
    input  logic [31:0]  program_data,
    input  logic         program_valid,
    output logic         program_ready,
    input  logic [127:0] weights0_data,
    input  logic         weights0_valid,
    output logic         weights0_ready,
    input  logic [127:0] weights1_data,
    input  logic         weights1_valid,
    output logic         weights1_ready,
    input  logic [127:0] image_data,
    input  logic         image_valid,
    output logic         image_ready,
    output logic [15:0]  result_data,
    output logic         result_valid,
    input  logic         result_ready,
    output logic [15:0]  trace_data,
    output logic         trace_valid,
    input  logic         trace_ready,
    output logic [31:0]  layers_begun,
    output logic [31:0]  layers_completed
);

    typedef enum {IDLE, FETCH, WAIT, IMAGE, LOAD, LINEAR, RESULT, COMPLETE, AHEAD, DONE} state_t;
    typedef enum logic [31:0] {
        NONE, WRONG, HANG, SKIPS_WEIGHTS, WITHDRAWS, WRONG_UNTRACED, ASSERTS, STAYS_BUSY, EXTRA_RESULT, PACKED_WRONG
    } fault_t;

    state_t             state;
    logic [31:0]        descriptor[32];
    logic [31:0]        at, waited, layer, one;
    logic signed [7:0]  pixel[4];
    logic signed [7:0]  weight[3], limit[3];
    logic signed [15:0] y[12];
    logic signed [15:0] product, clamped;
    logic               strikes, skips, busy, withdrawn;
    fault_t             fault;

    assign fault = fault_t'(descriptor[30]);
    assign strikes = at == descriptor[29];

    assign ap_ready = ap_start && state == IDLE;
    assign ap_done = state == DONE;
    assign ap_idle = state == IDLE && !busy;
    assign program_ready = state == FETCH;
    assign image_ready = state == IMAGE || state == AHEAD;
    assign one = descriptor[0] == 2 ? 32'h1 : 32'h10000;
    assign skips = fault == SKIPS_WEIGHTS && at == 2;
    assign weights0_ready = state == LOAD && weights1_valid && !skips;
    assign weights1_ready = state == LOAD && weights0_valid && !skips;

    assign product = weight[at % 3] * pixel[at / 3];
    assign clamped = product > limit[at % 3] ? limit[at % 3] : product < -limit[at % 3] ? -limit[at % 3] : product;
    assign trace_valid = state == LINEAR && trace_enable != 0 && !(fault == HANG && strikes);
    assign trace_data = clamped + 16'((fault == WRONG || fault == PACKED_WRONG && !FUNCTIONAL) && strikes);
    assign result_valid = state == RESULT && !withdrawn;
    assign result_data = y[3+at%3] + 16'(fault == WRONG_UNTRACED && strikes && trace_enable == 0);

    always_ff @(posedge ap_clk) begin
        withdrawn <= 0;
        if (ap_rst) begin
            state <= IDLE;
            busy  <= 0;
            layers_begun <= 0;
            layers_completed <= 0;
        end else
            case (state)
                IDLE: if (ap_start) begin
                    state <= FETCH;
                    at <= 0;
                    layer <= 0;
                    layers_begun <= 0;
                    layers_completed <= 0;
                end
                FETCH: if (program_valid) begin
                    descriptor[at] <= program_data;
                    at <= at + 1;
                    if (at == 31) begin
                        at <= 0;
                        waited <= 0;
                        state <= WAIT;
                        layers_begun <= layers_begun + one;
                    end
                end
                WAIT: begin
                    waited <= waited + 1;
                    if (fault == ASSERTS) $error("layer %0d has a forbidden descriptor", layer);
                    if (waited == descriptor[1]) begin
                        waited <= 0;
                        state <= descriptor[0] == 0 ? (image_loaded != 0 ? COMPLETE : IMAGE) : descriptor[0] == 2 ? LOAD : RESULT;
                    end
                end
                IMAGE, AHEAD: if (image_valid) begin
                    for (int t = 0; t < 4; t++) pixel[t] <= image_data[8*t+:8];
                    state <= state == IMAGE ? COMPLETE : DONE;
                end
                LOAD: if (skips) begin
                    at <= 0;
                    weight[2] <= 3;
                    limit[2] <= 63;
                    state <= LINEAR;
                end else if (weights0_valid && weights1_valid) begin
                    weight[at] <= weights0_data[7:0];
                    limit[at] <= weights1_data[7:0];
                    at <= at == 2 ? 0 : at + 1;
                    if (at == 2) state <= LINEAR;
                end
                LINEAR: if (!(fault == HANG && strikes) && (trace_ready || trace_enable == 0)) begin
                    y[at] <= trace_data;
                    at <= at + 1;
                    if (at == 11) state <= COMPLETE;
                end
                RESULT: begin
                    if (result_valid && !result_ready && fault == WITHDRAWS) withdrawn <= 1;
                    if (result_valid && result_ready) begin
                        at <= at + 1;
                        if (at == (fault == EXTRA_RESULT ? 3 : 2)) state <= COMPLETE;
                    end
                    if (fault == STAYS_BUSY) busy <= 1;
                end
                COMPLETE: begin
                    at <= 0;
                    layer <= layer + 1;
                    layers_completed <= layers_completed + one;
                    state <= layer + 1 != layers ? FETCH : image_follows != 0 ? AHEAD : DONE;
                end
                DONE: if (ap_continue) state <= IDLE;
            endcase
    end

endmodule
