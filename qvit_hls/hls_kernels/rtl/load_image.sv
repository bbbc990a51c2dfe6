// The image into the activation memory, cut into patches on the way: codes [channels][height][width], 16 in a word of
// the stream, become [patch][channel, y, x], patch p as token d.first_token + p. IMAGE_PIXELS neighbours at a time,
// which divide d.patch and share a lane and a word; one such group per cycle while there are words. What is left of
// the last word is padding and dropped.
//
// `done` follows `start` by d.first_token / T_N + groups + 2 cycles when the stream always has a word and every group
// may be written at once.
module load_image #(
    parameter int T_N = 40,
    // verilator lint_off UNUSEDPARAM
    parameter int T_K = 8,
    // verilator lint_on UNUSEDPARAM
    parameter int IMAGE_PIXELS = 8
) (
    input  logic                              clk,
    input  logic                              rst,
    input  logic                              start,
    // verilator lint_off UNUSEDSIGNAL
    input  qvit_pkg::descriptor_t             d,
    // verilator lint_on UNUSEDSIGNAL
    output logic                              done,
    input  logic                              advance,        // a group may be written in the next cycle
    input  logic [15:0][7:0]                  image_data,
    input  logic                              image_valid,
    output logic                              image_ready,
    output logic                              write_enable,
    output logic [15:0]                       write_lane,
    output logic [qvit_pkg::ADDRESS_BITS-1:0] write_address,  // of the first pixel
    output logic [IMAGE_PIXELS-1:0][7:0]      write_data
);
    localparam int GROUPS = 16 / IMAGE_PIXELS;
    localparam int GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
    localparam logic [15:0] PIXELS = 16'(IMAGE_PIXELS);
    localparam logic [15:0] LANES = 16'(T_N);

    logic   placing;  // the first token is still beyond the tile
    logic   active;
    qvit_pkg::place_t image_start;  // first patch of the image
    qvit_pkg::place_t row_start;    // first patch of the row of patches
    qvit_pkg::place_t place;
    qvit_pkg::place_t next;

    logic [GROUP_BITS-1:0]             group;       // in the word
    logic [15:0]                       patch_x;     // within the patch
    logic [15:0]                       x;           // within the line
    logic [15:0]                       patch_y;
    logic [15:0]                       y;
    logic [15:0]                       channel;
    logic [qvit_pkg::ADDRESS_BITS-1:0] line;        // channel address of the patch line, from the token's first
    logic [qvit_pkg::ADDRESS_BITS-1:0] first_line;  // of the image channel
    logic [15:0]                       patch;
    logic                              patch_end;
    logic                              line_end;
    logic                              row_end;
    logic                              channel_end;
    logic                              image_end;
    logic                              step;

    assign patch = 16'(d.patch);
    assign patch_end = patch_x + PIXELS == patch;
    assign line_end = patch_end && x + PIXELS == 16'(d.width);
    assign row_end = line_end && patch_y + 1'b1 == patch;
    assign channel_end = row_end && y + 1'b1 == 16'(d.height);
    assign image_end = channel_end && channel + 1'b1 == 16'(d.k);
    assign step = active && image_valid && advance;
    assign image_ready = active && advance && (group == GROUP_BITS'(GROUPS - 1) || image_end);

    always_comb begin
        next.lane = place.lane + 1'b1;
        next.tile_address = place.tile_address;
        if (place.lane == LANES - 1'b1) begin
            next.lane = '0;
            next.tile_address = place.tile_address + qvit_pkg::ADDRESS_BITS'(d.y_stride);
        end
    end

    always_ff @(posedge clk) begin
        if (placing) begin
            if (place.lane >= LANES) begin
                place.lane <= place.lane - LANES;
                place.tile_address <= place.tile_address + qvit_pkg::ADDRESS_BITS'(d.y_stride);
            end else begin
                placing <= 1'b0;
                active <= 1'b1;
                image_start <= place;
                row_start <= place;
            end
        end
        if (step) begin
            group <= group == GROUP_BITS'(GROUPS - 1) ? '0 : group + 1'b1;
            patch_x <= patch_end ? '0 : patch_x + PIXELS;
            x <= line_end ? '0 : x + PIXELS;
            if (patch_end) place <= next;
            if (line_end) begin
                place <= row_end ? next : row_start;
                line <= row_end && !channel_end ? first_line : line + qvit_pkg::ADDRESS_BITS'(patch);
                patch_y <= row_end ? '0 : patch_y + 1'b1;
                y <= channel_end ? '0 : y + 1'b1;
            end
            if (row_end) row_start <= next;
            if (channel_end) begin
                place <= image_start;
                row_start <= image_start;
                first_line <= line + qvit_pkg::ADDRESS_BITS'(patch);
                channel <= channel + 1'b1;
            end
            if (image_end) active <= 1'b0;
        end
        if (start) begin
            placing <= 1'b1;
            place.lane <= 16'(d.first_token);
            place.tile_address <= qvit_pkg::ADDRESS_BITS'(d.y_base);
            group <= '0;
            patch_x <= '0;
            x <= '0;
            patch_y <= '0;
            y <= '0;
            channel <= '0;
            line <= '0;
            first_line <= '0;
        end
        if (rst) begin
            placing <= 1'b0;
            active <= 1'b0;
        end
    end

    always_ff @(posedge clk) begin
        write_enable <= step && !rst;
        done <= step && image_end && !rst;
        write_lane <= place.lane;
        write_address <= place.tile_address + line + qvit_pkg::ADDRESS_BITS'(patch_x);
        for (int g = 0; g < GROUPS; g++)
            if (group == GROUP_BITS'(g)) write_data <= image_data[g*IMAGE_PIXELS+:IMAGE_PIXELS];
    end
endmodule
