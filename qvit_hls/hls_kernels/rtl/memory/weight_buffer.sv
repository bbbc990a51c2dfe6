// The digits of the row tiles in use and to come: a ring of 2 * WEIGHT_DEPTH steps, room for two of the longest
// tiles or many short ones. Every atom row has its own RAM, as wide as one step of T_K digits. Read latency
// READ_LATENCY.
module weight_buffer #(
    parameter int T_M = 16,
    parameter int T_K = 8,
    parameter int WEIGHT_DEPTH = 64,
    parameter int ADDRESS_BITS = $clog2(2 * WEIGHT_DEPTH)
) (
    input  logic                           clk,
    input  logic [T_M-1:0]                 write_enable,
    input  logic [ADDRESS_BITS-1:0]        write_address,
    input  logic [T_M-1:0][T_K-1:0][3:0]   write_data,
    input  logic [ADDRESS_BITS-1:0]        read_address,
    output logic [T_M-1:0][T_K-1:0][3:0]   read_data
);
    for (genvar m = 0; m < T_M; m++) begin : row
        ram #(.DEPTH(2 * WEIGHT_DEPTH), .LANES(1), .LANE_BITS(4 * T_K)) digits (
            .clk,
            .write_enable(write_enable[m]),
            .write_address,
            .write_lanes(1'b1),
            .write_data(write_data[m]),
            .read_address,
            .read_data(read_data[m])
        );
    end
endmodule
