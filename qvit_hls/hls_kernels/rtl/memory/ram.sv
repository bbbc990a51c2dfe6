// A RAM with one write and one read port. The read data follow the address after READ_LATENCY (2) cycles: the
// RAM's own register and its output register. Each of the LANES parts of a word has its own write enable. A
// read of the address that is written in the same cycle gives the old word.
module ram #(
    parameter int DEPTH = 512,
    parameter int LANES = 4,
    parameter int LANE_BITS = 8,
    parameter int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  logic                            clk,
    input  logic                            write_enable,
    input  logic [ADDRESS_BITS-1:0]         write_address,
    input  logic [LANES-1:0]                write_lanes,
    input  logic [LANES-1:0][LANE_BITS-1:0] write_data,
    input  logic [ADDRESS_BITS-1:0]         read_address,
    output logic [LANES-1:0][LANE_BITS-1:0] read_data
);
    logic [LANES*LANE_BITS-1:0] content [0:DEPTH-1];
    logic [LANES*LANE_BITS-1:0] word;

    always_ff @(posedge clk) begin
        if (write_enable) begin
            /* verilator unroll_disable */
            for (int lane = 0; lane < LANES; lane++) begin
                if (write_lanes[lane]) content[write_address][lane*LANE_BITS +: LANE_BITS] <= write_data[lane];
            end
        end
    end

    always_ff @(posedge clk) begin
        word <= content[read_address];
        read_data <= word;
    end
endmodule
