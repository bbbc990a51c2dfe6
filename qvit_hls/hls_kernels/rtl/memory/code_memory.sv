// The activation or the digit memory: 8-bit codes of T_N lanes. A word holds T_K neighbouring channels of every
// lane; it is read whole. It is kept in BANKS RAMs, channel c in RAM c % BANKS, so that BANKS channels can be
// written at once at addresses that have nothing else in common.
//
// Writes: each bank takes one word address, the lanes, and which of its channels in the word. Reads: word
// address to data in READ_LATENCY cycles.
module code_memory #(
    parameter int T_N = 8,
    parameter int T_K = 8,
    parameter int BANKS = 2,
    parameter int WORDS = 64,
    parameter int ADDRESS_BITS = WORDS > 1 ? $clog2(WORDS) : 1
) (
    input  logic                                          clk,
    input  logic [BANKS-1:0]                              write_enable,
    input  logic [BANKS-1:0][ADDRESS_BITS-1:0]            write_address,
    input  logic [BANKS-1:0][T_N-1:0]                     write_lanes,
    input  logic [BANKS-1:0][T_K/BANKS-1:0]               write_channels,
    input  logic [BANKS-1:0][T_N-1:0][T_K/BANKS-1:0][7:0] write_data,
    input  logic [ADDRESS_BITS-1:0]                       read_address,
    output logic [T_N-1:0][T_K-1:0][7:0]                  read_data
);
    localparam int CHANNELS = T_K / BANKS;

    for (genvar b = 0; b < BANKS; b++) begin : bank
        logic [T_N-1:0][CHANNELS-1:0]      enable;
        logic [T_N-1:0][CHANNELS-1:0][7:0] data;

        for (genvar n = 0; n < T_N; n++) begin : lane
            assign enable[n] = write_lanes[b][n] ? write_channels[b] : '0;
            for (genvar i = 0; i < CHANNELS; i++) begin : channel
                assign read_data[n][i*BANKS+b] = data[n][i];
            end
        end

        ram #(.DEPTH(WORDS), .LANES(T_N * CHANNELS), .LANE_BITS(8)) codes (
            .clk,
            .write_enable(write_enable[b]),
            .write_address(write_address[b]),
            .write_lanes(enable),
            .write_data(write_data[b]),
            .read_address,
            .read_data(data)
        );
    end
endmodule
