// The MAC tile's adders and multipliers alone, each as `+` and `*` ([0]) and of LUTs and carry chains ([1]).
module mac_leaves (
    input  int         a,
    input  int         b,
    input  int         c,
    input  logic       clear,
    input  logic [1:0] carry,
    input  logic [3:0] weight,
    output int         adder_width[8],
    output int         adder_sum[8][2],
    output int         product[4:8][2]
);

    // Adder 0 inverts nothing, 1 a's highest bit, 2 b's upper half, 3 c's middle, the others c's from bit 7 on.
    for (genvar i = 0; i < 8; i++) begin : g_adder
        localparam int WIDTH = i < 4 ? 4 : i == 4 ? 8 : i == 5 ? 9 : i == 6 ? 20 : 24;
        assign adder_width[i] = WIDTH;
        for (genvar form = 0; form < 2; form++) begin : g_form
            logic [WIDTH-1:0] sum;
            ternary_adder #(
                .WIDTH(WIDTH),
                .INVERT_A(i == 1 ? WIDTH'('b1000) : '0),
                .INVERT_B(i == 2 ? WIDTH'('b1100) : '0),
                .INVERT_C(i == 3 ? WIDTH'('b0110) : i > 3 ? {WIDTH{1'b1}} << 7 : '0),
                .STRUCTURAL(form == 1)
            ) adder (
                .clear(clear), .a(a[WIDTH-1:0]), .b(b[WIDTH-1:0]), .c(c[WIDTH-1:0]), .carry(carry), .sum(sum)
            );
            assign adder_sum[i][form] = int'(sum);
        end
    end

    for (genvar bits = 4; bits <= 8; bits++) begin : g_multiplier
        for (genvar form = 0; form < 2; form++) begin : g_form
            logic [bits+2:0] result;
            booth_product #(
                .A(bits), .STRUCTURAL(form == 1)
            ) multiplier (
                .weight(weight), .activation(a[bits-1:0]), .product(result)
            );
            assign product[bits][form] = int'($signed(result));
        end
    end

endmodule
