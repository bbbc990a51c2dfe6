// The logits: channels d.x_base .. d.x_base + d.k - 1 of lane 0 of the wide memory, to a stream. One value per cycle
// while the stream is ready; `done` follows `start` by d.k + 4 cycles when it always is.
module store_result #(
    parameter int T_N = 40
) (
    input  logic                              clk,
    input  logic                              rst,
    input  logic                              start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                              done,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] wide_address,
    // verilator lint_off UNUSEDSIGNAL
    input  logic [T_N-1:0][15:0]              wide_data,
    // verilator lint_on UNUSEDSIGNAL
    output logic [15:0]                       result_data,
    output logic                              result_valid,
    input  logic                              result_ready
);
    logic                            active;
    logic [qvit_pkg::COUNT_BITS-1:0] left;    // addresses to be issued
    logic                            ready;
    logic                            issue;
    logic                            idle;

    assign issue = active && left != '0 && ready;
    assign done = active && left == '0 && idle;

    always_ff @(posedge clk) begin
        if (issue) begin
            left <= left - 1'b1;
            wide_address <= wide_address + 1'b1;
        end
        if (start) begin
            left <= qvit_pkg::COUNT_BITS'(d.k);
            wide_address <= qvit_pkg::ADDRESS_BITS'(d.x_base);
        end
        if (rst) active <= 1'b0;
        else active <= start || (active && !done);
    end

    response_fifo #(.WIDTH(16), .LATENCY(qvit_pkg::READ_LATENCY)) buffer (
        .clk, .rst, .ready, .issue, .response(wide_data[0]), .idle, .data(result_data), .data_valid(result_valid),
        .data_ready(result_ready)
    );
endmodule
