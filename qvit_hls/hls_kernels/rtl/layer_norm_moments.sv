// Sum and sum of squares of every token, kept in TILES token tiles of T_N lanes. A slot is some channels of one tile: its
// sums are added to what the tile has, or with `restart` take its place. Sum and squares come and go on their own, each
// at most once per cycle, and count from the next cycle on.
// Reading: the moments of one token, two cycles after its tile and lane, unless `busy` in the cycle of these.
module layer_norm_moments #(
    parameter int T_N = 40,
    parameter int TILES = 5,
    parameter int CHANNEL_BITS = 8,
    localparam int SUM_BITS = 16 + CHANNEL_BITS,
    localparam int SQUARES_BITS = SUM_BITS + 16,
    localparam int TILE_BITS = TILES > 1 ? $clog2(TILES) : 1,
    localparam int LANE_BITS = $clog2(T_N)
) (
    input  logic                             clk,
    input  logic                             sum_valid,
    input  logic                             sum_restart,
    input  logic [TILE_BITS-1:0]             sum_tile,
    input  logic [T_N-1:0][SUM_BITS-1:0]     sum,
    input  logic                             squares_valid,
    input  logic                             squares_restart,
    input  logic [TILE_BITS-1:0]             squares_tile,
    input  logic [T_N-1:0][SQUARES_BITS-1:0] squares,
    output logic                             busy,
    input  logic [TILE_BITS-1:0]             tile,
    input  logic [LANE_BITS-1:0]             lane,
    output logic [SUM_BITS-1:0]              token_sum,
    output logic [SQUARES_BITS-1:0]          token_squares
);
    (* ram_style = "distributed" *) logic [T_N*SUM_BITS-1:0] sums [0:TILES-1];
    (* ram_style = "distributed" *) logic [T_N*SQUARES_BITS-1:0] squares_sums [0:TILES-1];

    logic [T_N-1:0][SUM_BITS-1:0]              old_sum;
    logic [T_N-1:0][SUM_BITS-1:0]              new_sum;
    logic [T_N-1:0][SQUARES_BITS-1:0]          old_squares;
    logic [T_N-1:0][SQUARES_BITS-1:0]          new_squares;
    logic [T_N-1:0][SUM_BITS+SQUARES_BITS-1:0] moments;

    // One port reads: for adding, else for a token. Read, add and write are one cycle, so slots may follow at once.
    assign old_sum = sums[sum_valid ? sum_tile : tile];
    assign old_squares = squares_sums[squares_valid ? squares_tile : tile];
    assign busy = sum_valid || squares_valid;

    for (genvar n = 0; n < T_N; n++) begin : g_lane
        assign new_sum[n] = (sum_restart ? '0 : old_sum[n]) + sum[n];
        assign new_squares[n] = (squares_restart ? '0 : old_squares[n]) + squares[n];
        assign moments[n] = {old_squares[n], old_sum[n]};
    end

    always_ff @(posedge clk) begin
        if (sum_valid) sums[sum_tile] <= new_sum;
        if (squares_valid) squares_sums[squares_tile] <= new_squares;
    end

    lane_select #(.LANES(T_N), .WIDTH(SUM_BITS + SQUARES_BITS)) pick (
        .clk, .data(moments), .lane, .result({token_squares, token_sum})
    );
endmodule
