// The LayerNorm with its ports in whole words, for vector_layer_norm.cpp, which plays the drain and models the memories.
module vector_layer_norm #(
    parameter int T_N = 12,
    parameter int MAX_TOKENS = 50,
    parameter int MAX_CHANNELS = 48,
    parameter int CHANNELS = 2,
    parameter bit SHIFTS = 0
) (
    input  logic                               clk,
    input  logic                               rst,
    input  logic                               start,
    output logic                               done,
    input  logic [1023:0]                      d,
    input  logic                               advance,
    input  logic [15:0]                        tiles_ready,
    output logic [15:0]                        tiles_done,
    input  logic                               shift_write,
    input  logic [15:0]                        shift_entry,
    input  logic [7:0]                         shift_data,
    output logic [31:0]                        wide_address,
    input  logic [CHANNELS-1:0][T_N-1:0][15:0] wide_data,
    input  logic                               added_valid,
    input  logic                               added_first,
    input  logic                               added_start,
    input  logic                               added_end,
    input  logic [15:0]                        added_tile,
    input  logic [7:0]                         added_exists,
    input  logic [CHANNELS-1:0][T_N-1:0][15:0] added,
    output logic                               write_soon,
    output logic [7:0]                         write_enable,
    output logic [31:0]                        write_address,
    output logic [CHANNELS-1:0][T_N-1:0][7:0]  write_data
);
    logic [19:0]         source, target;
    logic [CHANNELS-1:0] enable;

    assign wide_address = 32'(source);
    assign write_enable = 8'(enable);
    assign write_address = 32'(target);

    layer_norm #(
        .T_N(T_N), .MAX_TOKENS(MAX_TOKENS), .MAX_CHANNELS(MAX_CHANNELS), .CHANNELS(CHANNELS), .SHIFTS(SHIFTS)
    ) unit (
        .clk, .rst, .start, .d(d), .done, .advance, .tiles_ready, .tiles_done, .shift_write,
        .shift_entry($clog2(MAX_CHANNELS+1)'(shift_entry)), .shift_data(shift_data[2:0]), .wide_address(source), .wide_data,
        .added_valid, .added_first, .added_start, .added_end, .added_tile,
        .added_exists(added_exists[CHANNELS-1:0]), .added, .write_soon, .write_enable(enable),
        .write_address(target), .write_data
    );
endmodule
