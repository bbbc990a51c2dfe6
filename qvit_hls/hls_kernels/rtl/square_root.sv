// root = floor(sqrt(value)), WIDTH even. One value per cycle; latency ceil(WIDTH/2 / BITS_PER_STAGE).
//
// Non-restoring: step by step two more bits of the value enter the remainder; the sign of each remainder is a bit
// of the root and says whether the next step subtracts 4*root + 1 or adds 4*root + 3 (Li and Chu, ICCD 1996).
module square_root #(
    parameter int WIDTH = 48,
    parameter int BITS_PER_STAGE = 2
) (
    input  logic               clk,
    input  logic               rst,
    input  logic               valid,
    input  logic [WIDTH-1:0]   value,
    output logic               result_valid,
    output logic [WIDTH/2-1:0] root
);
    localparam int STEPS = WIDTH / 2;
    localparam int STAGES = (STEPS + BITS_PER_STAGE - 1) / BITS_PER_STAGE;
    localparam int REST = STEPS + 2;

    // verilator lint_off UNUSEDSIGNAL  // after the last step only the root is read
    logic [STEPS:0][REST-1:0]  rest;      // signed
    logic [STEPS:0][WIDTH-1:0] entering;  // bits of the value, the next ones at the top
    // verilator lint_on UNUSEDSIGNAL
    logic [STEPS:0][STEPS-1:0] found;     // bits of the root

    assign rest[0] = '0;
    assign found[0] = '0;
    assign entering[0] = value;
    for (genvar i = 0; i < STEPS; i++) begin : g_step
        // With i bits found, the next remainder is within +-2**(i+2).
        localparam int BITS = i + 3;
        logic [BITS-1:0] partial;
        logic [BITS-1:0] change;
        logic [BITS-1:0] sum;
        logic [REST-1:0] extended;
        assign partial = {rest[i][BITS-3:0], entering[i][WIDTH-1-:2]};
        // -(4*root + 1) is ~root above two ones.
        if (i == 0) begin : g_first
            assign change = '1;
        end else begin : g_next
            logic subtract;
            assign subtract = ~rest[i][REST-1];
            assign change = {subtract, found[i][i-1:0] ^ {i{subtract}}, 2'b11};
        end
        assign sum = partial + change;
        assign extended = REST'($signed(sum));
        if ((i + 1) % BITS_PER_STAGE == 0 || i == STEPS - 1) begin : g_register
            logic [REST-1:0]  rest_q;
            logic [STEPS-1:0] found_q;
            logic [WIDTH-1:0] entering_q;
            always_ff @(posedge clk) begin
                rest_q <= extended;
                found_q <= {found[i][STEPS-2:0], ~sum[BITS-1]};
                entering_q <= entering[i] << 2;
            end
            assign rest[i+1] = rest_q;
            assign found[i+1] = found_q;
            assign entering[i+1] = entering_q;
        end else begin : g_wire
            assign rest[i+1] = extended;
            assign found[i+1] = {found[i][STEPS-2:0], ~sum[BITS-1]};
            assign entering[i+1] = entering[i] << 2;
        end
    end

    logic [STAGES-1:0] valid_at;

    always_ff @(posedge clk) begin
        if (rst) valid_at <= '0;
        else valid_at <= STAGES'({valid_at, valid});
    end

    assign root = found[STEPS];
    assign result_valid = valid_at[STAGES-1];
endmodule
