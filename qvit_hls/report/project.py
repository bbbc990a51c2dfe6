"""What ``qvit-hls gen`` says when it is done."""

from __future__ import annotations

from rich.text import Text

from qvit_hls.flow.generate import Generated


def project_summary(result: Generated) -> Text:
    """The folder, the accelerator, and what to do next."""
    config = result.program.config
    size = sum(len(content) for content in result.plan.files.values())
    lines = [
        f"wrote {len(result.plan.files)} files, {size / 1e6:.1f} MB, to {result.folder}",
        f"accelerator: {config.tile_tokens} tokens x {config.tile_rows} atom rows "
        f"x {config.tile_depth} deep, {config.lanes} lanes of 4 x {config.activation_bits} bits; "
        f"{config.dsp_rows} rows on {config.mac_dsps} DSPs, {config.tile_rows - config.dsp_rows} on LUTs",
        f"target: {result.target.board.name} ({result.target.board.part}) at {result.target.clock_mhz:g} MHz",
        f"digest: {result.plan.digest()}",
        f"prove it: qvit-hls csim {result.folder}",
    ]
    return Text("\n".join(lines))
