"""``python -m qvit_hls`` is ``qvit-hls``."""

from qvit_hls.cli.main import main

main(prog_name="qvit-hls")
