// Steps through the slots of a GEMM: for every group of row tiles, for every token tile, for every row tile of the
// group, k_steps steps of the MAC tile, one per cycle. Row tiles that take turns give a token tile's operands time
// to arrive, and finish a token tile sooner for the next layer. Without waiting it goes from slot to slot, group to
// group, and (but for one cycle) layer to layer.
//
// It waits for: the next row tile to be loaded; the operands of a slot to be complete (`after` in the
// descriptor); before the last step of a slot, for the drain to be done with the slot before it.
module gemm_sequencer
    import qvit_pkg::*;
#(
    parameter int T_N = 8,
    parameter int T_K = 8,
    parameter int WEIGHT_DEPTH = 64,  // the weight buffer has twice as many steps
    parameter int BUFFER_BITS = $clog2(2 * WEIGHT_DEPTH)
) (
    input  logic                    clk,
    input  logic                    rst,
    // The layer to run; `layer_issued` is high in the cycle of its last step.
    input  logic                    layer_valid,
    // verilator lint_off UNUSEDSIGNAL  // not every field concerns this module
    input  descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                    layer_issued,
    input  progress_t               progress,
    // Row tiles from the loader.
    input  logic                    tile_valid,
    input  row_tile_t               tile,
    output logic                    tile_ready,
    output logic                    tile_released,
    output logic [COUNT_BITS-1:0]   released_steps,
    // One step: operands' addresses; what it means, to the MAC tile; and the lanes that hold tokens.
    output logic                    step_valid,
    output logic                    step_first,
    output logic                    step_last,
    output logic [ADDRESS_BITS-1:0] activation_word,
    output logic [BUFFER_BITS-1:0]  buffer_address,
    output logic [COUNT_BITS-1:0]   lanes,
    // With the last step of a slot, what the drain must know.
    output slot_t                   slot,
    input  logic                    slots_full
);
    localparam int WORD_SHIFT = $clog2(T_K);
    typedef logic [COUNT_BITS-1:0] count_t;
    typedef logic [ADDRESS_BITS-1:0] address_t;

    localparam int INDEX_BITS = $clog2(GROUP_TILES);

    logic      running, current_valid;
    row_tile_t current;
    row_tile_t group [0:GROUP_TILES-1];  // the tiles that take turns, as far as they have come
    logic [INDEX_BITS-1:0] index, next_index;  // of the current tile in its group
    count_t    token_tile, step, place, tokens_left;  // place: of the step in the weight buffer
    address_t  token, x_tile, y_tile;
    count_t    drain_left;

    logic operands_ready, may_step, last_step, last_token_tile, slot_end, group_end, next_is_known;
    assign operands_ready = ready_tiles(d.after, progress) > token_tile;
    assign last_step = step + 1'b1 == count_t'(d.k_steps);
    assign last_token_tile = tokens_left <= count_t'(T_N);
    assign may_step = (step != 0 || operands_ready) && (!last_step || (drain_left == 0 && !slots_full));

    assign step_valid = running && current_valid && may_step;
    assign step_first = step == 0;
    assign step_last = last_step;
    assign activation_word = (x_tile >> WORD_SHIFT) + address_t'(step);
    assign buffer_address = BUFFER_BITS'(step == 0 ? current.base : place);
    assign lanes = last_token_tile ? tokens_left : count_t'(T_N);

    assign slot_end = step_valid && last_step;
    assign group_end = slot_end && current.group_last;
    assign tile_released = slot_end && last_token_tile;
    assign released_steps = count_t'(d.k_steps);
    assign layer_issued = tile_released && current.last;

    // After a slot comes the group's next tile, or its first one with the next token tile; a tile is new with the
    // first token tile, and when the group is done.
    assign next_index = !slot_end ? index : current.group_last ? '0 : index + 1'b1;
    assign next_is_known = current.group_last ? !last_token_tile : token_tile != '0;
    assign tile_ready = !current_valid || (slot_end && !next_is_known);

    always_comb begin
        slot.tile = current;
        slot.last = current.last && last_token_tile;
        slot.destination = d.destination;
        slot.scaling = d.scaling;
        slot.constant.multiplier = d.multiplier[MULTIPLIER_BITS-1:0];
        slot.constant.shift = d.shift[SHIFT_BITS-1:0];
        slot.has_table = d.table_entries != 0;
        slot.qmax = d.qmax[15:0];
        slot.token_tile = token_tile;
        slot.first_lane = '0;
        if (d.first_token[ADDRESS_BITS-1:0] > token) begin
            slot.first_lane = d.first_token[ADDRESS_BITS-1:0] - token > address_t'(T_N)
                            ? count_t'(T_N) : count_t'(d.first_token[ADDRESS_BITS-1:0] - token);
        end
        slot.end_lane = lanes;
        slot.token = token;
        slot.y_address = y_tile;
        slot.y_stride = d.y_stride[ADDRESS_BITS-1:0];
    end

    always_ff @(posedge clk) begin
        if (tile_ready) begin
            current_valid <= tile_valid;
            current <= tile;
            group[next_index] <= tile;
        end else if (slot_end) current <= group[next_index];
        index <= next_index;
        if (drain_left != 0) drain_left <= drain_left - 1'b1;
        if (step_valid) begin
            step <= step + 1'b1;
            place <= 32'(buffer_address) == 2 * WEIGHT_DEPTH - 1 ? '0 : count_t'(buffer_address) + 1'b1;
            if (last_step) begin
                // A transposed layer is still being written when its last slot is drained.
                drain_left <= current.drain_cycles - 1'b1
                            + (slot.last && d.destination == TO_ACTIVATION_TRANSPOSED ? count_t'(T_N / T_K + 1) : count_t'(0));
                step <= '0;
            end
        end
        if (group_end) begin
            token_tile <= token_tile + 1'b1;
            tokens_left <= tokens_left - count_t'(T_N);
            token <= token + address_t'(T_N);
            x_tile <= x_tile + address_t'(d.x_stride);
            y_tile <= y_tile + address_t'(d.y_stride);
        end
        // The first token tile, of the layer's next group or of the next layer.
        if (!running || (group_end && last_token_tile)) begin
            step <= '0;
            token_tile <= '0;
            tokens_left <= count_t'(d.tokens);
            token <= '0;
            x_tile <= address_t'(d.x_base);
            y_tile <= address_t'(d.y_base);
            running <= layer_valid && !layer_issued;
        end
        if (rst) begin
            running <= 1'b0;
            current_valid <= 1'b0;
            index <= '0;
            drain_left <= '0;
        end
    end
endmodule
