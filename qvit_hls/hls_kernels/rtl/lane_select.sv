// One lane's value: result = data[lane], one per cycle, latency 2. A lane that does not exist gives anything.
module lane_select #(
    parameter int LANES = 40,
    parameter int WIDTH = 16,
    localparam int LANE_BITS = $clog2(LANES)
) (
    input  logic                        clk,
    input  logic [LANES-1:0][WIDTH-1:0] data,
    input  logic [LANE_BITS-1:0]        lane,
    output logic [WIDTH-1:0]            result
);
    localparam int GROUP = 4;
    localparam int GROUPS = (LANES + GROUP - 1) / GROUP;

    logic [GROUPS*GROUP-1:0][WIDTH-1:0] padded;
    logic [GROUPS-1:0][WIDTH-1:0]       choice;
    logic [GROUPS-1:0][WIDTH-1:0]       choice_q;
    logic [LANE_BITS:0]                 group_q;
    logic [WIDTH-1:0]                   chosen;

    // Constant indices only: an index times WIDTH would become a multiplier.
    always_comb begin
        padded = '0;
        padded[LANES-1:0] = data;
        choice = '0;
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < GROUP; i++)
                choice[g] = choice[g] | (padded[g*GROUP+i] & {WIDTH{32'(lane) % GROUP == i}});
        chosen = '0;
        for (int g = 0; g < GROUPS; g++) chosen = chosen | (choice_q[g] & {WIDTH{32'(group_q) == g}});
    end

    always_ff @(posedge clk) begin
        choice_q <= choice;
        group_q <= (LANE_BITS + 1)'(32'(lane) / GROUP);
        result <= chosen;
    end
endmodule
