// A small engine with the ports of the real one, for four weight ports: one layer with an input of one channel.
//
// y[token][row] = clamp(weight[row] * image[token], -LIMIT, LIMIT). Words 0 to 4 of the program are the number of
// words of each weight port and of the image, tokens, rows, and the token whose row is the result; the weights are
// the bytes of the first word behind port 0. LIMIT comes from a memory file. The program and the
// weights of each port end with a word that makes their checksum 0; lost, changed, doubled or swapped words make
// every value wrong. Images are kept in two halves, this frame's and the one of the next frame.
module qvit_engine_top (
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
    input  logic [127:0] weights2_data,
    input  logic         weights2_valid,
    output logic         weights2_ready,
    input  logic [127:0] weights3_data,
    input  logic         weights3_valid,
    output logic         weights3_ready,
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
    logic [15:0] limits[1];
    initial $readmemh("./qvit_top_limits.dat", limits);

    typedef enum logic [2:0] {IDLE, PROGRAM, LOAD, COMPUTE, FINISH} state_t;
    state_t state;
    // As Vitis HLS initialises its state registers.
    initial begin
        #0 state = IDLE;
    end

    logic [31:0] header[5];
    logic [7:0] pixels[2048];
    logic half;               // that has this frame's image
    logic [31:0] images_next; // 1 where the next frame's image follows, else 0
    logic [127:0] weights;
    logic [31:0] program_count, image_count, images, token, row, result_count;
    logic [3:0][31:0] weights_count;
    logic [31:0] program_sum;
    logic [3:0][127:0] weights_sum, weights_data;
    logic [3:0] weights_valid, weights_ready, weights_done;
    logic take_program, take_image, faulty;

    function automatic logic [15:0] value(
        input logic [7:0] pixel, input logic [127:0] row_weights, input logic [3:0] index, input logic [15:0] limit,
        input logic wrong
    );
        logic signed [7:0] weight;
        logic signed [15:0] product, bound;
        weight = row_weights[8*index+:8];
        product = 16'(weight) * 16'(signed'(pixel));
        bound = limit;
        if (product > bound) product = bound;
        if (product < -bound) product = -bound;
        return product + 16'(wrong);
    endfunction

    assign faulty = program_sum != '0 || weights_sum != '0;
    assign ap_idle = state == IDLE;
    assign ap_ready = state == IDLE && ap_start;
    assign ap_done = state == FINISH;
    assign program_ready = state == PROGRAM;
    assign weights_data = {weights3_data, weights2_data, weights1_data, weights0_data};
    assign weights_valid = {weights3_valid, weights2_valid, weights1_valid, weights0_valid};
    assign {weights3_ready, weights2_ready, weights1_ready, weights0_ready} = weights_ready;
    always_comb begin
        for (int p = 0; p < 4; p++) begin
            weights_done[p] = weights_count[p] == header[0];
            weights_ready[p] = state == LOAD && !weights_done[p];
        end
    end
    assign images_next = 32'(image_follows != '0);
    assign image_ready = (state == LOAD && images != images_next) || (state == COMPUTE && images != '0);
    assign trace_valid = state == COMPUTE && trace_enable != '0 && token != header[2];
    assign trace_data = value(pixels[{half, token[9:0]}], weights, row[3:0], limits[0], faulty);
    assign result_valid = state == COMPUTE && result_count != header[3];
    assign result_data = value(pixels[{half, header[4][9:0]}], weights, result_count[3:0], limits[0], faulty);
    assign take_program = program_valid && program_ready;
    assign take_image = image_valid && image_ready;
    assign layers_begun = 32'(state != IDLE);
    assign layers_completed = 32'(state == FINISH);

    always_ff @(posedge ap_clk) begin
        if (ap_rst) begin
            state <= IDLE;
        end else begin
            case (state)
                IDLE: if (ap_start) state <= PROGRAM;
                PROGRAM: if (take_program && program_count == layers * 32 - 1) state <= LOAD;
                LOAD: if (weights_done == '1 && images == images_next) state <= COMPUTE;
                COMPUTE:
                    if (result_count == header[3] && (token == header[2] || trace_enable == '0) && images == '0)
                        state <= FINISH;
                default: if (ap_continue) state <= IDLE;
            endcase
        end
    end

    always_ff @(posedge ap_clk) begin
        if (state == IDLE) begin
            program_count <= '0;
            weights_count <= '0;
            image_count <= '0;
            images <= 32'(image_loaded == '0) + images_next;
            token <= '0;
            row <= '0;
            result_count <= '0;
            program_sum <= '0;
            weights_sum <= '0;
        end
        if (take_program) begin
            if (program_count < 5) header[program_count[2:0]] <= program_data;
            program_count <= program_count + 1;
            program_sum <= {program_sum[30:0], program_sum[31]} ^ program_data;
        end
        for (int p = 0; p < 4; p++) begin
            if (weights_valid[p] && weights_ready[p]) begin
                if (p == 0 && weights_count[p] == 0) weights <= weights_data[p];
                weights_count[p] <= weights_count[p] + 1;
                weights_sum[p] <= {weights_sum[p][126:0], weights_sum[p][127]} ^ weights_data[p];
            end
        end
        if (take_image) begin
            for (int i = 0; i < 16; i++)
                pixels[{half ^ (state == COMPUTE), image_count[5:0], 4'(i)}] <= image_data[8*i+:8];
            image_count <= (image_count == header[1] - 1) ? '0 : image_count + 1;
            if (image_count == header[1] - 1) images <= images - 1;
        end
        if (state == FINISH && ap_continue && image_follows != '0) half <= !half;
        if (ap_rst) half <= 1'b0;
        if (trace_valid && trace_ready) begin
            row <= (row == header[3] - 1) ? '0 : row + 1;
            if (row == header[3] - 1) token <= token + 1;
        end
        if (result_valid && result_ready) result_count <= result_count + 1;
    end

    // As in what Vitis HLS writes; the file is not always there.
    // synthesis translate_off
    `include "qvit_top_hls_deadlock_kernel_monitor_top.vh"
    // synthesis translate_on
endmodule
