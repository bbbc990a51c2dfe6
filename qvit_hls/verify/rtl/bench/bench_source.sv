// Offers the words of a file to a stream, one per cycle at most. Little-endian. `go` starts a frame: `count` words
// from byte `offset` on. Once offered, a word stays until it is taken; between words the data are garbage.
module bench_source #(
    parameter int WIDTH = 128,
    parameter     FILE  = ""
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             go,
    input  logic [31:0]      count,
    input  logic [31:0]      offset,
    input  logic [31:0]      seed,
    input  logic [31:0]      single,
    input  logic [31:0]      burst_begin,
    input  logic [31:0]      burst_stay,
    output logic [WIDTH-1:0] data,
    output logic             valid,
    input  logic             ready,
    output logic             fire,
    output logic [31:0]      passed  // words taken in this frame
);

    logic [WIDTH-1:0] bytes;
    logic [31:0]      left;
    logic             stalled;
    int               file;

    bench_stalls stalls (.clk, .rst, .seed, .single, .burst_begin, .burst_stay, .stalled);

    initial file = $fopen(FILE, "rb");
    final $fclose(file);

    assign fire = valid && ready;

    /* verilator lint_off BLKSEQ */  // a word is read and offered in one step
    always_ff @(posedge clk) begin
        if (rst) begin
            valid  <= 0;
            left   <= 0;
            passed <= 0;
        end else if (go) begin
            valid  <= 0;
            left   <= count;
            passed <= 0;
            if ($fseek(file, offset, 0) != 0) $fatal(1, "%s has no byte %0d", FILE, offset);
        end else begin
            if (fire) passed <= passed + 1;
            if (!valid || ready) begin
                valid <= left != 0 && !stalled;
                if (left != 0 && !stalled) begin
                    if ($fread(bytes, file) != WIDTH / 8) $fatal(1, "%s ends too early", FILE);
                    data <= {<<8{bytes}};
                    left <= left - 1;
                end else data <= ~data;
            end
        end
    end
    /* verilator lint_on BLKSEQ */

endmodule
