// Takes the words of a stream and writes them to a file, each as 32 little-endian bits. Counts the cycles in which
// the stream breaks its contract: a word that was offered and not taken must stay as it is.
module bench_sink #(
    parameter int WIDTH = 16,
    parameter     FILE  = ""
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             go,
    input  logic [31:0]      seed,
    input  logic [31:0]      single,
    input  logic [31:0]      burst_begin,
    input  logic [31:0]      burst_stay,
    input  logic [WIDTH-1:0] data,
    input  logic             valid,
    output logic             ready,
    output logic             fire,
    output logic [31:0]      passed,   // words given in this frame
    output logic [31:0]      broken    // since reset
);

    logic [WIDTH-1:0] waiting_data;
    logic             waiting, stalled;
    int               file;

    bench_stalls stalls (.clk, .rst, .seed, .single, .burst_begin, .burst_stay, .stalled);

    initial file = $fopen(FILE, "wb");
    final $fclose(file);

    assign ready = !stalled;
    assign fire  = valid && ready;

    always_ff @(posedge clk) begin
        waiting      <= valid && !ready && !rst;
        waiting_data <= data;
        if (rst) begin
            passed <= 0;
            broken <= 0;
        end else begin
            passed <= go ? 0 : passed + 32'(fire);
            if (fire) $fwrite(file, "%u", 32'(data));
            if (waiting && (!valid || data != waiting_data)) broken <= broken + 1;
        end
    end

endmodule
