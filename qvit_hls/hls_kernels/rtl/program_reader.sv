// Reads descriptors from the program stream, a word per cycle, and keeps the last RING of them for the loader
// (which runs ahead) and the two lanes.
module program_reader
    import qvit_pkg::*;
(
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  running,
    input  logic [31:0]           layers,
    input  logic [COUNT_BITS-1:0] finished,   // layers whose descriptors nothing needs any more
    input  logic [31:0]           program_data,
    input  logic                  program_valid,
    output logic                  program_ready,
    output logic [COUNT_BITS-1:0] known,      // layers whose descriptors have been read
    // verilator lint_off UNUSEDSIGNAL  // the ring's places are layers modulo RING
    input  logic [COUNT_BITS-1:0] load_layer,
    input  logic [COUNT_BITS-1:0] gemm_layer,
    input  logic [COUNT_BITS-1:0] vector_layer,
    // verilator lint_on UNUSEDSIGNAL
    output descriptor_t           load_descriptor,
    output descriptor_t           gemm_descriptor,
    output descriptor_t           vector_descriptor
);
    localparam int RING_BITS = $clog2(RING);
    localparam int DESCRIPTOR_BITS = 32 * DESCRIPTOR_WORDS;

    logic [DESCRIPTOR_BITS-1:0]          ring [0:RING-1];
    logic [DESCRIPTOR_BITS-1:32]         arriving;  // all but the last word
    logic [$clog2(DESCRIPTOR_WORDS)-1:0] word;
    logic                                take;

    assign program_ready = running && 32'(known) < layers && known - finished < COUNT_BITS'(RING);
    assign take = program_ready && program_valid;
    assign load_descriptor = descriptor_t'(ring[load_layer[RING_BITS-1:0]]);
    assign gemm_descriptor = descriptor_t'(ring[gemm_layer[RING_BITS-1:0]]);
    assign vector_descriptor = descriptor_t'(ring[vector_layer[RING_BITS-1:0]]);

    always_ff @(posedge clk) begin
        if (take) begin
            arriving <= {program_data, arriving[DESCRIPTOR_BITS-1:64]};
            if (word == '1) ring[known[RING_BITS-1:0]] <= {program_data, arriving};
        end
        if (rst || !running) begin
            word <= '0;
            known <= '0;
        end else if (take) begin
            word <= word + 1'b1;
            known <= known + COUNT_BITS'(word == '1);
        end
    end
endmodule
