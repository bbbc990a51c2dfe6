// Bias, multiplier, shift and channel of the rows of eight row tiles: loading, loaded, in the MAC tile, draining.
// A beat of the weight stream brings 2 * PORTS rows; row r of a tile is in bank
// r % (2 * PORTS). Reads are combinational: ROWS neighbouring rows from a multiple of ROWS on.
module row_parameter_buffer
    import qvit_pkg::*;
#(
    parameter int T_M = 16,
    parameter int PORTS = 1,
    parameter int ROWS = 2,
    parameter int GROUP_BITS = $clog2((T_M + 2 * PORTS - 1) / (2 * PORTS) + 1),
    parameter int ROW_BITS = $clog2(T_M + 1)
) (
    input  logic                      clk,
    input  logic                      write_enable,
    input  logic [TILE_BITS-1:0]      write_tile,
    input  logic [GROUP_BITS-1:0]     write_group,  // row / (2 * PORTS)
    input  logic [2*PORTS-1:0][63:0]  write_data,
    input  logic [TILE_BITS-1:0]      read_tile,
    input  logic [ROW_BITS-1:0]       read_row,
    output logic [ROWS-1:0][63:0]     read_data
);
    localparam int BANKS = 2 * PORTS;
    localparam int DEPTH = 1 << (TILE_BITS + GROUP_BITS);

    logic [BANKS-1:0][63:0] word;
    logic [GROUP_BITS-1:0]  group;
    logic [ROW_BITS-1:0]    first;  // the row's bank

    // PORTS may be 3: then these are a division by 6 of a few bits.
    assign group = GROUP_BITS'(read_row / BANKS);
    assign first = ROW_BITS'(32'(read_row) % BANKS);

    for (genvar b = 0; b < BANKS; b++) begin : bank
        logic [63:0] content [0:DEPTH-1];
        always_ff @(posedge clk) begin
            if (write_enable) content[{write_tile, write_group}] <= write_data[b];
        end
        assign word[b] = content[{read_tile, group}];
    end

    always_comb begin
        for (int r = 0; r < ROWS; r++) begin
            read_data[r] = '0;
            for (int b = 0; b < BANKS; b++) begin
                if (b == 32'(first) + r) read_data[r] = word[b];
            end
        end
    end
endmodule
