// AXI4-Lite registers of the accelerator, at the addresses and with the meaning that Vitis HLS gives them.
//
// `ap_start` stays 1 until `ap_ready` (for ever with auto_restart). The map has room for four weight ports;
// pointers of ports that an accelerator lacks are read by nobody.
//------------------------Address Info-------------------
// 0x00 : Control signals
//        bit 0  - ap_start (Read/Write/COH)
//        bit 1  - ap_done (Read/COR)
//        bit 2  - ap_idle (Read)
//        bit 3  - ap_ready (Read/COR)
//        bit 7  - auto_restart (Read/Write)
//        bit 9  - interrupt (Read)
//        others - reserved
// 0x04 : Global Interrupt Enable Register
//        bit 0  - Global Interrupt Enable (Read/Write)
//        others - reserved
// 0x08 : IP Interrupt Enable Register (Read/Write)
//        bit 0  - enable ap_done interrupt (Read/Write)
//        bit 1  - enable ap_ready interrupt (Read/Write)
//        others - reserved
// 0x0c : IP Interrupt Status Register (Read/TOW)
//        bit 0  - ap_done (Read/TOW)
//        bit 1  - ap_ready (Read/TOW)
//        others - reserved
// 0x10 : Data signal of program
//        bit 31~0 - program[31:0] (Read/Write)
// 0x14 : Data signal of program
//        bit 31~0 - program[63:32] (Read/Write)
// 0x18 : reserved
// 0x1c : Data signal of layers
//        bit 31~0 - layers[31:0] (Read/Write)
// 0x20 : reserved
// 0x24 : Data signal of weights0
//        bit 31~0 - weights0[31:0] (Read/Write)
// 0x28 : Data signal of weights0
//        bit 31~0 - weights0[63:32] (Read/Write)
// 0x2c : reserved
// 0x30 : Data signal of weights1
//        bit 31~0 - weights1[31:0] (Read/Write)
// 0x34 : Data signal of weights1
//        bit 31~0 - weights1[63:32] (Read/Write)
// 0x38 : reserved
// 0x3c : Data signal of weights2
//        bit 31~0 - weights2[31:0] (Read/Write)
// 0x40 : Data signal of weights2
//        bit 31~0 - weights2[63:32] (Read/Write)
// 0x44 : reserved
// 0x48 : Data signal of weights3
//        bit 31~0 - weights3[31:0] (Read/Write)
// 0x4c : Data signal of weights3
//        bit 31~0 - weights3[63:32] (Read/Write)
// 0x50 : reserved
// 0x54 : Data signal of beats
//        bit 31~0 - beats[31:0] (Read/Write)
// 0x58 : reserved
// 0x5c : Data signal of image
//        bit 31~0 - image[31:0] (Read/Write)
// 0x60 : Data signal of image
//        bit 31~0 - image[63:32] (Read/Write)
// 0x64 : reserved
// 0x68 : Data signal of image_words
//        bit 31~0 - image_words[31:0] (Read/Write)
// 0x6c : reserved
// 0x70 : Data signal of next_image
//        bit 31~0 - next_image[31:0] (Read/Write)
// 0x74 : Data signal of next_image
//        bit 31~0 - next_image[63:32] (Read/Write)
// 0x78 : reserved
// 0x7c : Data signal of next_image_words
//        bit 31~0 - next_image_words[31:0] (Read/Write)
// 0x80 : reserved
// 0x84 : Data signal of result
//        bit 31~0 - result[31:0] (Read/Write)
// 0x88 : Data signal of result
//        bit 31~0 - result[63:32] (Read/Write)
// 0x8c : reserved
// 0x90 : Data signal of result_words
//        bit 31~0 - result_words[31:0] (Read/Write)
// 0x94 : reserved
// 0x98 : Data signal of trace
//        bit 31~0 - trace[31:0] (Read/Write)
// 0x9c : Data signal of trace
//        bit 31~0 - trace[63:32] (Read/Write)
// 0xa0 : reserved
// 0xa4 : Data signal of trace_words
//        bit 31~0 - trace_words[31:0] (Read/Write)
// 0xa8 : reserved
// (SC = Self Clear, COR = Clear on Read, TOW = Toggle on Write, COH = Clear on Handshake)
//
// Rate: one write or one read in two cycles and more, as the master takes the responses.
module qvit_top_control_s_axi (
    input  logic             clk,
    input  logic             rst,

    input  logic             awvalid,
    output logic             awready,
    input  logic [7:0]       awaddr,
    input  logic             wvalid,
    output logic             wready,
    input  logic [31:0]      wdata,
    input  logic [3:0]       wstrb,
    output logic             bvalid,
    input  logic             bready,
    input  logic             arvalid,
    output logic             arready,
    input  logic [7:0]       araddr,
    output logic             rvalid,
    input  logic             rready,
    output logic [31:0]      rdata,

    output logic             interrupt,
    output logic             ap_start,
    input  logic             ap_done,
    input  logic             ap_ready,
    input  logic             ap_idle,
    output logic [63:0]      program_address,
    output logic [31:0]      layers,
    output logic [3:0][63:0] weights_address,
    output logic [31:0]      beats,
    output logic [63:0]      image_address,
    output logic [31:0]      image_words,
    output logic [63:0]      next_image_address,
    output logic [31:0]      next_image_words,
    output logic [63:0]      result_address,
    output logic [31:0]      result_words,
    output logic [63:0]      trace_address,
    output logic [31:0]      trace_words
);
    // Registers are counted in words of 32 bits.
    localparam logic [5:0] CONTROL = 6'h0, GLOBAL_ENABLE = 6'h1, ENABLE = 6'h2, STATUS = 6'h3;
    localparam int REGISTERS = 42;
    // Bit i is 1 where address 4 * i holds an argument or a half of one.
    localparam logic [63:0] IS_ARGUMENT = 64'h2d6_b5ad_b6b0;

    logic [REGISTERS-1:0][31:0] arguments;
    logic [5:0] write_index, read_index;
    logic write, read;
    logic done, ready, restart, global_enable;
    logic [1:0] enable, status;

    assign write = awvalid && wvalid && !bvalid;
    assign awready = write;
    assign wready = write;
    assign write_index = awaddr[7:2];
    assign read = arvalid && !rvalid;
    assign arready = read;
    assign read_index = araddr[7:2];

    always_ff @(posedge clk) begin
        if (rst) begin
            bvalid <= 1'b0;
            rvalid <= 1'b0;
        end else begin
            bvalid <= write || (bvalid && !bready);
            rvalid <= read || (rvalid && !rready);
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            arguments <= '0;
        end else if (write && IS_ARGUMENT[write_index]) begin
            for (int i = 0; i < 4; i++)
                if (wstrb[i]) arguments[write_index][8*i+:8] <= wdata[8*i+:8];
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            ap_start <= 1'b0;
            restart <= 1'b0;
            done <= 1'b0;
            ready <= 1'b0;
            global_enable <= 1'b0;
            enable <= 2'b00;
            status <= 2'b00;
        end else begin
            if (write && write_index == CONTROL && wstrb[0]) begin
                restart <= wdata[7];
                if (wdata[0]) ap_start <= 1'b1;
            end
            // After the write, so that a start of the next frame is not lost to the end of this one.
            if (ap_ready && !(write && write_index == CONTROL && wstrb[0] && wdata[0])) ap_start <= restart;
            if (ap_done) done <= 1'b1;
            else if (read && read_index == CONTROL) done <= 1'b0;
            if (ap_ready) ready <= 1'b1;
            else if (read && read_index == CONTROL) ready <= 1'b0;

            if (write && write_index == GLOBAL_ENABLE && wstrb[0]) global_enable <= wdata[0];
            if (write && write_index == ENABLE && wstrb[0]) enable <= wdata[1:0];
            if (write && write_index == STATUS && wstrb[0]) status <= status ^ wdata[1:0];
            if (ap_done && enable[0]) status[0] <= 1'b1;
            if (ap_ready && enable[1]) status[1] <= 1'b1;
        end
    end

    always_ff @(posedge clk) begin
        if (read) begin
            case (read_index)
                CONTROL: rdata <= {22'b0, interrupt, 1'b0, restart, 3'b0, ready, ap_idle, done, ap_start};
                GLOBAL_ENABLE: rdata <= {31'b0, global_enable};
                ENABLE: rdata <= {30'b0, enable};
                STATUS: rdata <= {30'b0, status};
                default: rdata <= IS_ARGUMENT[read_index] ? arguments[read_index] : '0;
            endcase
        end
    end

    assign interrupt = global_enable && status != 2'b00;
    assign program_address = arguments['h14/4-:2];
    assign layers = arguments['h1c/4];
    assign weights_address = {
        arguments['h4c/4-:2], arguments['h40/4-:2], arguments['h34/4-:2], arguments['h28/4-:2]
    };
    assign beats = arguments['h54/4];
    assign image_address = arguments['h60/4-:2];
    assign image_words = arguments['h68/4];
    assign next_image_address = arguments['h74/4-:2];
    assign next_image_words = arguments['h7c/4];
    assign result_address = arguments['h88/4-:2];
    assign result_words = arguments['h90/4];
    assign trace_address = arguments['h9c/4-:2];
    assign trace_words = arguments['ha4/4];

    // Bytes within a register are chosen by the strobes, not by the address.
    logic unused;
    assign unused = &{1'b0, awaddr[1:0], araddr[1:0]};
endmodule
