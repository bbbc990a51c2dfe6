// Several widths of the arithmetic units side by side, for vector_arithmetic.cpp.
module vector_arithmetic (
    input  logic        clk,
    input  logic        rst,
    input  logic        valid,
    input  logic [63:0] value,
    input  logic [16:0] multiplier,
    input  logic [5:0]  shift,
    input  logic [15:0] qmax,
    output logic signed [15:0] requantized_14,
    output logic signed [15:0] requantized_24,
    output logic signed [15:0] requantized_27,
    output logic signed [15:0] requantized_32,
    output logic signed [7:0]  rounded_42,
    output logic [4:0]  reciprocal_valid,
    output logic [22:0] reciprocal_2,
    output logic [22:0] reciprocal_10,
    output logic [22:0] reciprocal_15,
    output logic [22:0] reciprocal_24,
    output logic [22:0] reciprocal_28,
    output logic [3:0]  root_valid,
    output logic [31:0] root_8,
    output logic [31:0] root_16,
    output logic [31:0] root_48,
    output logic [31:0] root_56
);
    requantize #(.WIDTH(14)) requantize_14 (
        .clk, .value(value[13:0]), .multiplier, .shift, .qmax, .result(requantized_14)
    );
    requantize #(.WIDTH(24)) requantize_24 (
        .clk, .value(value[23:0]), .multiplier, .shift, .qmax, .result(requantized_24)
    );
    requantize #(.WIDTH(27)) requantize_27 (
        .clk, .value(value[26:0]), .multiplier, .shift, .qmax, .result(requantized_27)
    );
    requantize #(.WIDTH(32)) requantize_32 (
        .clk, .value(value[31:0]), .multiplier, .shift, .qmax, .result(requantized_32)
    );
    round_shift #(.WIDTH(42), .RESULT_BITS(8)) round_42 (
        .clk, .value(value[41:0]), .distance(shift - 6'd1), .qmax(qmax[7:0]), .result(rounded_42)
    );

    reciprocal #(.WIDTH(2), .BITS_PER_STAGE(1)) inverse_2 (
        .clk, .rst, .valid, .denominator(value[1:0]), .multiplier(multiplier[15:0]), .exponent(shift),
        .result_valid(reciprocal_valid[0]), .result(reciprocal_2)
    );
    reciprocal #(.WIDTH(10), .BITS_PER_STAGE(3)) inverse_10 (
        .clk, .rst, .valid, .denominator(value[9:0]), .multiplier(multiplier[15:0]), .exponent(shift),
        .result_valid(reciprocal_valid[1]), .result(reciprocal_10)
    );
    reciprocal #(.WIDTH(15)) inverse_15 (
        .clk, .rst, .valid, .denominator(value[14:0]), .multiplier(multiplier[15:0]), .exponent(shift),
        .result_valid(reciprocal_valid[2]), .result(reciprocal_15)
    );
    reciprocal #(.WIDTH(24)) inverse_24 (
        .clk, .rst, .valid, .denominator(value[23:0]), .multiplier(multiplier[15:0]), .exponent(shift),
        .result_valid(reciprocal_valid[3]), .result(reciprocal_24)
    );
    reciprocal #(.WIDTH(28)) inverse_28 (
        .clk, .rst, .valid, .denominator(value[27:0]), .multiplier(multiplier[15:0]), .exponent(shift),
        .result_valid(reciprocal_valid[4]), .result(reciprocal_28)
    );

    square_root #(.WIDTH(8), .BITS_PER_STAGE(1)) deviation_8 (
        .clk, .rst, .valid, .value(value[7:0]), .result_valid(root_valid[0]), .root(root_8[3:0])
    );
    square_root #(.WIDTH(16), .BITS_PER_STAGE(3)) deviation_16 (
        .clk, .rst, .valid, .value(value[15:0]), .result_valid(root_valid[1]), .root(root_16[7:0])
    );
    square_root #(.WIDTH(48)) deviation_48 (
        .clk, .rst, .valid, .value(value[47:0]), .result_valid(root_valid[2]), .root(root_48[23:0])
    );
    square_root #(.WIDTH(56)) deviation_56 (
        .clk, .rst, .valid, .value(value[55:0]), .result_valid(root_valid[3]), .root(root_56[27:0])
    );
    assign root_8[31:4] = '0;
    assign root_16[31:8] = '0;
    assign root_48[31:24] = '0;
    assign root_56[31:28] = '0;
endmodule
