// Lets SOURCES writers share one AXI4 write port, a burst at a time, in turn.
//
// The writer that holds the port keeps it from its request to its last beat. Its number is the burst's ID, by
// which the response finds its way back.
module axi_write_arbiter #(
    parameter int SOURCES = 2,
    parameter int DATA_BITS = 128,
    localparam int ID_BITS = SOURCES > 1 ? $clog2(SOURCES) : 1
) (
    input  logic                                clk,
    input  logic                                rst,

    input  logic [SOURCES-1:0]                  in_aw_valid,
    output logic [SOURCES-1:0]                  in_aw_ready,
    input  logic [SOURCES-1:0][63:0]            in_aw_address,
    input  logic [SOURCES-1:0][7:0]             in_aw_length,
    input  logic [SOURCES-1:0]                  in_w_valid,
    output logic [SOURCES-1:0]                  in_w_ready,
    input  logic [SOURCES-1:0][DATA_BITS-1:0]   in_w_data,
    input  logic [SOURCES-1:0][DATA_BITS/8-1:0] in_w_strobe,
    input  logic [SOURCES-1:0]                  in_w_last,
    output logic [SOURCES-1:0]                  in_b_valid,
    input  logic [SOURCES-1:0]                  in_b_ready,

    output logic                                aw_valid,
    input  logic                                aw_ready,
    output logic [63:0]                         aw_address,
    output logic [7:0]                          aw_length,
    output logic [ID_BITS-1:0]                  aw_id,
    output logic                                w_valid,
    input  logic                                w_ready,
    output logic [DATA_BITS-1:0]                w_data,
    output logic [DATA_BITS/8-1:0]              w_strobe,
    output logic                                w_last,
    input  logic                                b_valid,
    output logic                                b_ready,
    input  logic [ID_BITS-1:0]                  b_id
);
    logic held;                  // by `owner`
    logic [ID_BITS-1:0] owner;
    logic [ID_BITS-1:0] next;    // the first after `owner` that asks

    always_comb begin
        next = owner;
        for (int i = SOURCES; i >= 1; i--) begin
            if (in_aw_valid[(32'(owner)+i)%SOURCES]) next = ID_BITS'((32'(owner) + i) % SOURCES);
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            held <= 1'b0;
            owner <= '0;
        end else if (!held) begin
            held <= |in_aw_valid;
            owner <= next;
        end else if (w_valid && w_ready && w_last) begin
            held <= 1'b0;
        end
    end

    assign aw_valid = held && in_aw_valid[owner];
    assign aw_address = in_aw_address[owner];
    assign aw_length = in_aw_length[owner];
    assign aw_id = owner;
    assign w_valid = held && in_w_valid[owner];
    assign w_data = in_w_data[owner];
    assign w_strobe = in_w_strobe[owner];
    assign w_last = in_w_last[owner];
    assign b_ready = in_b_ready[b_id];

    always_comb begin
        in_aw_ready = '0;
        in_w_ready = '0;
        in_b_valid = '0;
        in_aw_ready[owner] = held && aw_ready;
        in_w_ready[owner] = held && w_ready;
        in_b_valid[b_id] = b_valid;
    end
endmodule
