// The wide memory: 16-bit values of T_N lanes (residual stream, scores, logits). Channel address c lies in bank
// c % BANKS, so BANKS channels can be read, and others written, in one cycle. Addresses are of the banks:
// channel address / BANKS. Read latency READ_LATENCY.
module wide_memory #(
    parameter int T_N = 8,
    parameter int BANKS = 2,
    parameter int DEPTH = 256,
    parameter int ADDRESS_BITS = DEPTH > BANKS ? $clog2((DEPTH + BANKS - 1) / BANKS) : 1
) (
    input  logic                               clk,
    input  logic [BANKS-1:0]                   write_enable,
    input  logic [BANKS-1:0][ADDRESS_BITS-1:0] write_address,
    input  logic [BANKS-1:0][T_N-1:0]          write_lanes,
    input  logic [BANKS-1:0][T_N-1:0][15:0]    write_data,
    input  logic [BANKS-1:0][ADDRESS_BITS-1:0] read_address,
    output logic [BANKS-1:0][T_N-1:0][15:0]    read_data
);
    for (genvar b = 0; b < BANKS; b++) begin : bank
        ram #(.DEPTH((DEPTH + BANKS - 1) / BANKS), .LANES(T_N), .LANE_BITS(16), .ADDRESS_BITS(ADDRESS_BITS)) values (
            .clk,
            .write_enable(write_enable[b]),
            .write_address(write_address[b]),
            .write_lanes(write_lanes[b]),
            .write_data(write_data[b]),
            .read_address(read_address[b]),
            .read_data(read_data[b])
        );
    end
endmodule
