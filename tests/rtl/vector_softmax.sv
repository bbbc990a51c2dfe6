// The softmax with its ports in whole words, for vector_softmax.cpp, which models the memories.
module vector_softmax #(
    parameter int T_N = 12,
    parameter int MAX_TOKENS = 50,
    parameter int KEYS = 2
) (
    input  logic                           clk,
    input  logic                           rst,
    input  logic                           start,
    output logic                           done,
    input  logic [1023:0]                  d,
    input  logic                           advance,
    input  logic [15:0]                    tiles_ready,
    input  logic                           table_write,
    input  logic [7:0]                     table_entry,
    input  logic [7:0]                     table_data,
    output logic [31:0]                    wide_address,
    input  logic [KEYS-1:0][T_N-1:0][15:0] wide_data,
    output logic [15:0]                    maximum_tile,
    input  logic [T_N-1:0][15:0]           maximum,
    output logic [7:0]                     write_enable,
    output logic [31:0]                    write_address,
    output logic [KEYS-1:0][T_N-1:0][7:0]  write_data,
    output logic                           normalizer_write,
    output logic [15:0]                    normalizer_token,
    output logic [31:0]                    normalizer
);
    logic [19:0]                source, target;
    logic [11:0]                tile, token;
    logic [KEYS-1:0]            enable;
    qvit_pkg::scaling_value_t   value;

    assign wide_address = 32'(source);
    assign maximum_tile = 16'(tile);
    assign write_enable = 8'(enable);
    assign write_address = 32'(target);
    assign normalizer_token = 16'(token);
    assign normalizer = 32'(value);

    softmax #(.T_N(T_N), .MAX_TOKENS(MAX_TOKENS), .KEYS(KEYS)) unit (
        .clk, .rst, .start, .d(d), .done, .advance, .tiles_ready, .table_write, .table_entry, .table_data,
        .wide_address(source), .wide_data, .maximum_tile(tile), .maximum, .write_enable(enable),
        .write_address(target), .write_data, .normalizer_write, .normalizer_token(token), .normalizer(value)
    );
endmodule
