"""The top and the registers of an accelerator with one weight port, in the form that Vitis HLS gives them."""

from __future__ import annotations

_ADDRESS = [
    "VALID",
    "READY",
    "ADDR",
    "ID",
    "LEN",
    "SIZE",
    "BURST",
    "LOCK",
    "CACHE",
    "PROT",
    "QOS",
    "REGION",
    "USER",
]
_CHANNELS = {
    "AW": ("output", "input", _ADDRESS),
    "W": ("output", "input", ["VALID", "READY", "DATA", "STRB", "LAST", "ID", "USER"]),
    "AR": ("output", "input", _ADDRESS),
    "R": ("input", "output", ["VALID", "READY", "DATA", "LAST", "ID", "USER", "RESP"]),
    "B": ("input", "output", ["VALID", "READY", "RESP", "ID", "USER"]),
}
_LITE = {
    "AW": ("input", "output", ["VALID", "READY", "ADDR"]),
    "W": ("input", "output", ["VALID", "READY", "DATA", "STRB"]),
    "AR": ("input", "output", ["VALID", "READY", "ADDR"]),
    "R": ("output", "input", ["VALID", "READY", "DATA", "RESP"]),
    "B": ("output", "input", ["VALID", "READY", "RESP"]),
}
BUNDLES = ("gmem_program", "gmem_weights0", "gmem_image", "gmem_result")


def top_text(bundles: tuple[str, ...] = BUNDLES) -> str:
    """``qvit_top.v``: names first, then directions and widths, most of them by parameter."""
    ports = [("input", "", "ap_clk"), ("input", "", "ap_rst_n"), ("output", "", "interrupt")]
    for bundle in bundles:
        ports += _ports(f"m_axi_{bundle}", _CHANNELS, f"C_M_AXI_{bundle.upper()}")
    ports += _ports("s_axi_control", _LITE, "C_S_AXI_CONTROL")
    names = ",\n".join(f"        {name}" for _, _, name in ports)
    declarations = "\n".join(f"{direction}  {width} {name};" for direction, width, name in ports)
    return (
        "`timescale 1 ns / 1 ps \n\n"
        '(* CORE_GENERATION_INFO="qvit_top_qvit_top,hls_ip,{HLS_INPUT_TYPE=cxx}" *)\n\n'
        f"module qvit_top (\n{names}\n);\n\n"
        "parameter    C_S_AXI_CONTROL_DATA_WIDTH = 32;\n"
        f"{declarations}\n"
        '(* shreg_extract = "no" *) reg    ap_rst_reg_2;\n'
        "// output  lost_in_a_comment;\n"
        "endmodule //qvit_top\n"
    )


def control_text(arguments: dict[str, int], continues: bool = False) -> str:
    """``qvit_top_control_s_axi.v``.

    Args:
        arguments: bits of each, in order.
        continues: as for the Vitis flow, with ap_continue.
    """
    lines = ["// 0x00 : Control signals", "//        bit 0  - ap_start (Read/Write/COH)"]
    lines += ["//        bit 4  - ap_continue (Read/Write/SC)"] if continues else []
    offset = 0x10
    for name, bits in arguments.items():
        for low in range(0, bits, 32):
            lines.append(f"// 0x{offset:02x} : Data signal of {name}")
            lines.append(f"//        bit 31~0 - {name}[{low + 31}:{low}] (Read/Write)")
            offset += 4
        lines.append(f"// 0x{offset:02x} : reserved")
        offset += 4
    comments = "\n".join(lines)
    return (
        "`timescale 1ns/1ps\nmodule qvit_top_control_s_axi\n#(parameter\n    C_S_AXI_ADDR_WIDTH = 8\n)(\n"
        "    input  wire                          ACLK\n);\n"
        "//------------------------Address Info-------------------\n"
        f"// Protocol Used: ap_ctrl_hs\n//\n{comments}\n"
        "// (SC = Self Clear, COR = Clear on Read, TOW = Toggle on Write, COH = Clear on Handshake)\n"
        "endmodule\n"
    )


def _ports(
    prefix: str, channels: dict[str, tuple[str, str, list[str]]], parameter: str
) -> list[tuple[str, str, str]]:
    ports = []
    for channel, (forward, back, signals) in channels.items():
        for signal in signals:
            wide = f"[{parameter}_{signal}_WIDTH - 1:0]" if signal in ("ADDR", "DATA", "ID", "USER") else ""
            ports.append((back if signal == "READY" else forward, wide, f"{prefix}_{channel}{signal}"))
    return ports
