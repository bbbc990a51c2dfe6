// Mean, image loader and writers, each with its own ports, for vector_units.cpp, which models memories and streams.
module vector_units #(
    parameter int T_N = 12,
    parameter int T_K = 4,
    parameter int MAX_TOKENS = 50,
    parameter int IMAGE_PIXELS = 2
) (
    input  logic                          clk,
    input  logic                          rst,
    input  logic [3:0]                    start,  // in the order of the instances below
    output logic [3:0]                    done,
    input  logic [1023:0]                 d,

    input  logic [T_N-1:0][15:0]          wide_data,
    input  logic [T_N-1:0][T_K-1:0][7:0]  activation_data,
    input  logic [T_N-1:0][T_K-1:0][7:0]  digit_data,
    output logic [2:0][31:0]              read_address,  // mean, result, trace

    output logic                          mean_write,
    output logic [15:0]                   mean_lane,
    output logic [19:0]                   mean_address,
    output logic [15:0]                   mean_data,

    input  logic [127:0]                  image_data,
    input  logic                          image_valid,
    output logic                          image_ready,
    output logic                          image_write,
    output logic [15:0]                   image_lane,
    output logic [19:0]                   image_address,
    output logic [IMAGE_PIXELS-1:0][7:0]  image_pixels,

    output logic [15:0]                   result_data,
    output logic                          result_valid,
    input  logic                          result_ready,
    output logic [15:0]                   trace_data,
    output logic                          trace_valid,
    input  logic                          trace_ready
);
    logic [2:0][19:0] address;

    always_comb for (int i = 0; i < 3; i++) read_address[i] = 32'(address[i]);

    mean_tokens #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS)) mean (
        .clk, .rst, .start(start[0]), .d(d), .done(done[0]), .wide_address(address[0]), .wide_data,
        .write_enable(mean_write), .write_lane(mean_lane), .write_address(mean_address), .write_data(mean_data)
    );
    load_image #(.T_N(T_N), .T_K(T_K), .IMAGE_PIXELS(IMAGE_PIXELS)) image (
        .clk, .rst, .start(start[1]), .d(d), .done(done[1]), .image_data, .image_valid, .image_ready,
        .write_enable(image_write), .write_lane(image_lane), .write_address(image_address), .write_data(image_pixels)
    );
    store_result #(.T_N(T_N)) result (
        .clk, .rst, .start(start[2]), .d(d), .done(done[2]), .wide_address(address[1]), .wide_data, .result_data,
        .result_valid, .result_ready
    );
    store_trace #(.T_N(T_N), .T_K(T_K)) trace (
        .clk, .rst, .start(start[3]), .d(d), .done(done[3]), .address(address[2]), .activation_data, .digit_data,
        .wide_data, .trace_data, .trace_valid, .trace_ready
    );
endmodule
