// What lies between the memory and the engine's streams: copies in, copies out, and the start and end of a frame.
//
// A frame starts with `ap_start` and ends with one cycle of `ap_done` and `ap_ready`, when the engine is done,
// every word of the program, the weights and the images has been taken, and every write has been answered. The
// copies run beside one another and as far ahead of the engine as their queues allow; the next frame's image follows
// this frame's. A frame costs about ten cycles and the memory's latency more than the engine takes. Addresses are
// multiples of 16 bytes, the program's of 4.
module qvit_axi_shell #(
    parameter int PORTS = 1,
    parameter int WEIGHT_QUEUE = 512  // words of each weight port that may wait, a power of two, at least 64
) (
    input  logic                   clk,
    input  logic                   rst,

    // From and to the registers
    input  logic                   ap_start,
    output logic                   ap_done,
    output logic                   ap_ready,
    output logic                   ap_idle,
    input  logic [63:0]            program_address,
    input  logic [31:0]            layers,
    input  logic [PORTS-1:0][63:0] weights_address,
    input  logic [31:0]            beats,
    input  logic [63:0]            image_address,
    input  logic [31:0]            image_words,       // 0: the image is on chip already
    input  logic [63:0]            next_image_address,
    input  logic [31:0]            next_image_words,  // 0: none follows
    input  logic [63:0]            result_address,
    input  logic [31:0]            result_words,
    input  logic [63:0]            trace_address,
    input  logic [31:0]            trace_words,

    // Memory
    output logic                   program_ar_valid,
    input  logic                   program_ar_ready,
    output logic [63:0]            program_ar_address,
    output logic [7:0]             program_ar_length,
    input  logic                   program_r_valid,
    output logic                   program_r_ready,
    input  logic [31:0]            program_r_data,

    output logic [PORTS-1:0]        weights_ar_valid,
    input  logic [PORTS-1:0]        weights_ar_ready,
    output logic [PORTS-1:0][63:0]  weights_ar_address,
    output logic [PORTS-1:0][7:0]   weights_ar_length,
    input  logic [PORTS-1:0]        weights_r_valid,
    output logic [PORTS-1:0]        weights_r_ready,
    input  logic [PORTS-1:0][127:0] weights_r_data,

    output logic                   image_ar_valid,
    input  logic                   image_ar_ready,
    output logic [63:0]            image_ar_address,
    output logic [7:0]             image_ar_length,
    input  logic                   image_r_valid,
    output logic                   image_r_ready,
    input  logic [127:0]           image_r_data,

    output logic                   result_aw_valid,
    input  logic                   result_aw_ready,
    output logic [63:0]            result_aw_address,
    output logic [7:0]             result_aw_length,
    output logic                   result_aw_id,
    output logic                   result_w_valid,
    input  logic                   result_w_ready,
    output logic [127:0]           result_w_data,
    output logic [15:0]            result_w_strobe,
    output logic                   result_w_last,
    input  logic                   result_b_valid,
    output logic                   result_b_ready,
    input  logic                   result_b_id,

    // Engine
    output logic                    engine_start,
    input  logic                    engine_ready,
    input  logic                    engine_done,
    output logic                    engine_trace_enable,
    output logic                    engine_image_loaded,
    output logic                    engine_image_follows,
    output logic [31:0]             program_data,
    output logic                    program_valid,
    input  logic                    program_ready,
    output logic [PORTS-1:0][127:0] weights_data,
    output logic [PORTS-1:0]        weights_valid,
    input  logic [PORTS-1:0]        weights_ready,
    output logic [127:0]            image_data,
    output logic                    image_valid,
    input  logic                    image_ready,
    input  logic [15:0]             result_data,
    input  logic                    result_valid,
    output logic                    result_ready,
    input  logic [15:0]             trace_data,
    input  logic                    trace_valid,
    output logic                    trace_ready
);
    localparam int DESCRIPTOR_WORDS = 32;

    logic running, launch, engine_running;
    logic program_busy, image_busy, result_busy, trace_busy;
    logic next_image_start;
    logic [63:0] next_address;
    logic [31:0] next_words;  // 0 when its copy has begun
    logic [PORTS-1:0] weights_busy;

    assign launch = ap_start && !running;
    assign ap_idle = !running && !ap_start;
    assign ap_ready = ap_done;
    assign engine_trace_enable = trace_words != 0;
    assign engine_image_loaded = image_words == 0;
    assign engine_image_follows = next_image_words != 0;

    always_ff @(posedge clk) begin
        if (rst) begin
            running <= 1'b0;
            engine_start <= 1'b0;
            engine_running <= 1'b0;
            ap_done <= 1'b0;
        end else begin
            if (launch) begin
                running <= 1'b1;
                engine_start <= 1'b1;
                engine_running <= 1'b1;
            end else begin
                if (engine_ready) engine_start <= 1'b0;
                if (engine_done) engine_running <= 1'b0;
                if (ap_done) running <= 1'b0;
            end
            ap_done <= running && !ap_done && !engine_start && !engine_running && !program_busy && !image_busy
                && next_words == '0 && weights_busy == '0 && !result_busy && !trace_busy;
        end
    end

    axi_reader #(.DATA_BITS(32), .FIFO_DEPTH(64)) program_reader (
        .clk, .rst, .start(launch), .address(program_address), .beats(layers * DESCRIPTOR_WORDS),
        .busy(program_busy),
        .ar_valid(program_ar_valid), .ar_ready(program_ar_ready),
        .ar_address(program_ar_address), .ar_length(program_ar_length),
        .r_valid(program_r_valid), .r_ready(program_r_ready), .r_data(program_r_data),
        .out_valid(program_valid), .out_ready(program_ready), .out_data(program_data)
    );

    for (genvar p = 0; p < PORTS; p++) begin : g_weights
        axi_reader #(.DATA_BITS(128), .FIFO_DEPTH(WEIGHT_QUEUE)) reader (
            .clk, .rst, .start(launch), .address(weights_address[p]), .beats(beats), .busy(weights_busy[p]),
            .ar_valid(weights_ar_valid[p]), .ar_ready(weights_ar_ready[p]),
            .ar_address(weights_ar_address[p]), .ar_length(weights_ar_length[p]),
            .r_valid(weights_r_valid[p]), .r_ready(weights_r_ready[p]), .r_data(weights_r_data[p]),
            .out_valid(weights_valid[p]), .out_ready(weights_ready[p]), .out_data(weights_data[p])
        );
    end

    // One reader for both images, one after the other
    assign next_image_start = next_words != '0 && !image_busy;
    always_ff @(posedge clk) begin
        if (launch) next_address <= next_image_address;
        if (rst) next_words <= '0;
        else if (launch) next_words <= next_image_words;
        else if (next_image_start) next_words <= '0;
    end
    axi_reader #(.DATA_BITS(128), .FIFO_DEPTH(64)) image_reader (
        .clk, .rst, .start(launch || next_image_start), .address(launch ? image_address : next_address),
        .beats(launch ? image_words : next_words), .busy(image_busy),
        .ar_valid(image_ar_valid), .ar_ready(image_ar_ready),
        .ar_address(image_ar_address), .ar_length(image_ar_length),
        .r_valid(image_r_valid), .r_ready(image_r_ready), .r_data(image_r_data),
        .out_valid(image_valid), .out_ready(image_ready), .out_data(image_data)
    );

    // Writers 0 and 1: logits and trace
    logic [1:0] aw_valid, aw_ready, w_valid, w_ready, w_last, b_valid, b_ready;
    logic [1:0][63:0] aw_address;
    logic [1:0][7:0] aw_length;
    logic [1:0][127:0] w_data;
    logic [1:0][15:0] w_strobe;

    axi_writer result_writer (
        .clk, .rst, .start(launch), .address(result_address), .words(result_words), .busy(result_busy),
        .in_valid(result_valid), .in_ready(result_ready), .in_data(result_data),
        .aw_valid(aw_valid[0]), .aw_ready(aw_ready[0]), .aw_address(aw_address[0]), .aw_length(aw_length[0]),
        .w_valid(w_valid[0]), .w_ready(w_ready[0]), .w_data(w_data[0]), .w_strobe(w_strobe[0]),
        .w_last(w_last[0]), .b_valid(b_valid[0]), .b_ready(b_ready[0])
    );

    axi_writer trace_writer (
        .clk, .rst, .start(launch), .address(trace_address), .words(trace_words), .busy(trace_busy),
        .in_valid(trace_valid), .in_ready(trace_ready), .in_data(trace_data),
        .aw_valid(aw_valid[1]), .aw_ready(aw_ready[1]), .aw_address(aw_address[1]), .aw_length(aw_length[1]),
        .w_valid(w_valid[1]), .w_ready(w_ready[1]), .w_data(w_data[1]), .w_strobe(w_strobe[1]),
        .w_last(w_last[1]), .b_valid(b_valid[1]), .b_ready(b_ready[1])
    );

    axi_write_arbiter arbiter (
        .clk, .rst, .in_aw_valid(aw_valid), .in_aw_ready(aw_ready), .in_aw_address(aw_address),
        .in_aw_length(aw_length), .in_w_valid(w_valid), .in_w_ready(w_ready), .in_w_data(w_data),
        .in_w_strobe(w_strobe), .in_w_last(w_last), .in_b_valid(b_valid), .in_b_ready(b_ready),
        .aw_valid(result_aw_valid), .aw_ready(result_aw_ready), .aw_address(result_aw_address),
        .aw_length(result_aw_length), .aw_id(result_aw_id), .w_valid(result_w_valid), .w_ready(result_w_ready),
        .w_data(result_w_data), .w_strobe(result_w_strobe), .w_last(result_w_last),
        .b_valid(result_b_valid), .b_ready(result_b_ready), .b_id(result_b_id)
    );
endmodule
