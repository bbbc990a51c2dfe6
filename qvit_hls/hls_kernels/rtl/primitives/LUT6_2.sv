// Simulation model of the Xilinx primitive LUT6_2: O6 a function of all inputs, O5 the lower half's of I0..I4.
module LUT6_2 #(
    parameter logic [63:0] INIT = '0
) (
    output logic O6,
    output logic O5,
    input  logic I0,
    input  logic I1,
    input  logic I2,
    input  logic I3,
    input  logic I4,
    input  logic I5
);

    assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
    assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];

endmodule
