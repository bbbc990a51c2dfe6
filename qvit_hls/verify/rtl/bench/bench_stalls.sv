// When a stream withholds its valid or its ready: single cycles and bursts in turn, both with the same share of
// stalled cycles. Thresholds are shares of 2**16; all 0 never stalls.
module bench_stalls (
    input  logic        clk,
    input  logic        rst,
    input  logic [31:0] seed,         // not 0
    input  logic [31:0] single,       // stalled in any cycle, between bursts
    input  logic [31:0] burst_begin,  // a burst begins, after a cycle without stall
    input  logic [31:0] burst_stay,   // it lasts another cycle
    output logic        stalled
);

    logic [31:0] random, mixed, threshold;
    logic        bursts;

    // xorshift32
    always_comb begin
        mixed = random ^ (random << 13);
        mixed = mixed ^ (mixed >> 17);
        mixed = mixed ^ (mixed << 5);
        threshold = !bursts ? single : stalled ? burst_stay : burst_begin;
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            random  <= seed;
            stalled <= 0;
            bursts  <= seed[0];
        end else if (single != 0) begin
            random  <= mixed;
            stalled <= {16'd0, mixed[31:16]} < threshold;
            if (mixed[9:0] == 0) bursts <= !bursts;
        end
    end

endmodule
