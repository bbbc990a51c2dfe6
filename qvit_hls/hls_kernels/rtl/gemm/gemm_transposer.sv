// Turns requantized rows into channels' neighbours: in a transposed result, rows become tokens and tokens become
// channels. A block is ROWS * T_N / T_K rows that start at a multiple of that; its rows are the tokens of as many
// neighbouring lanes. It comes in T_N / T_K cycles, ROWS rows of T_N codes each, and leaves in as many, one word
// of T_K codes for each of its lanes. Two buffers take turns, so blocks may follow each other without a gap.
//
// A block's first word is written one cycle after its last rows came in.
module gemm_transposer
    import qvit_pkg::*;
#(
    parameter int T_N = 8,
    parameter int T_K = 4,
    parameter int ROWS = 2
) (
    input  logic                         clk,
    input  logic                         rst,
    input  logic                         valid,
    input  logic [COUNT_BITS-1:0]        cycle,        // in the block
    input  logic [ROWS-1:0]              emit,         // rows that exist
    input  logic [ROWS-1:0][T_N-1:0][7:0] codes,
    input  logic [COUNT_BITS-1:0]        block,        // its place in the lanes
    input  logic [ADDRESS_BITS-1:0]      address,      // of its lanes, first channel
    input  logic [COUNT_BITS-1:0]        end_channel,  // channels from here on do not exist
    output logic                         write,
    output logic [ADDRESS_BITS-1:0]      word,
    output logic [T_N-1:0]               lanes,
    output logic [T_K-1:0]               channels,
    output logic [T_N-1:0][T_K-1:0][7:0] data
);
    localparam int CYCLES = T_N / T_K;
    localparam int BLOCK_ROWS = ROWS * CYCLES;

    // Registers: a memory would need write enables of its own for every row.
    logic [1:0][BLOCK_ROWS-1:0][T_N-1:0][7:0] buffer;
    logic [1:0][BLOCK_ROWS-1:0]          exists;
    logic                                filling;  // which buffer
    logic                                leaving;
    logic [COUNT_BITS-1:0]               leaving_cycle, leaving_block, leaving_end;
    logic [ADDRESS_BITS-1:0]             leaving_address;

    always_ff @(posedge clk) begin
        for (int r = 0; r < BLOCK_ROWS; r++) begin
            if (valid && 32'(cycle) == r / ROWS) begin
                buffer[filling][r] <= codes[r%ROWS];
                exists[filling][r] <= emit[r%ROWS];
            end
        end
        if (leaving) begin
            leaving_cycle <= leaving_cycle + 1'b1;
            leaving_address <= leaving_address + ADDRESS_BITS'(T_K);
            if (32'(leaving_cycle) == CYCLES - 1) leaving <= 1'b0;
        end
        if (valid && 32'(cycle) == CYCLES - 1) begin
            filling <= !filling;
            leaving <= 1'b1;
            leaving_cycle <= '0;
            leaving_block <= block;
            leaving_address <= address;
            leaving_end <= end_channel;
        end
        if (rst) begin
            filling <= 1'b0;
            leaving <= 1'b0;
        end
    end

    logic [BLOCK_ROWS-1:0][T_N-1:0][7:0] full;
    logic [BLOCK_ROWS-1:0]               full_exists;
    assign full = buffer[!filling];
    assign full_exists = exists[!filling];
    assign write = leaving;
    assign word = leaving_address >> $clog2(T_K);
    for (genvar kk = 0; kk < T_K; kk++) begin : channel
        assign channels[kk] = 32'(leaving_cycle) * T_K + kk < 32'(leaving_end);
    end
    for (genvar n = 0; n < T_N; n++) begin : lane
        assign lanes[n] = 32'(leaving_block) == n / BLOCK_ROWS && full_exists[n%BLOCK_ROWS];
        assign data[n] = full[n%BLOCK_ROWS][32'(leaving_cycle)*T_K +: T_K];
    end
endmodule
