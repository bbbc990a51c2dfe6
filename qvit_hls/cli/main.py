"""The command ``qvit-hls``: its verbs, and how problems reach the user."""

from __future__ import annotations

import os
from typing import Any

import click

from qvit_hls import __version__
from qvit_hls.cli.cosim import cosim
from qvit_hls.cli.csim import csim
from qvit_hls.cli.doctor import doctor
from qvit_hls.cli.estimate import estimate
from qvit_hls.cli.explore import explore
from qvit_hls.cli.gen import gen
from qvit_hls.cli.mutate import mutate
from qvit_hls.cli.pipeline import pipeline
from qvit_hls.cli.quantize import quantize
from qvit_hls.cli.search import search
from qvit_hls.cli.train import train
from qvit_hls.errors import QvitError


class _Verbs(click.Group):
    """A group that turns problems into lines on stderr and exit code 1: every one of a QvitError, and what
    the file system refuses."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except QvitError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            ctx.exit(1)
        except OSError as error:
            if error.filename is None:  # not about a file: a pipe that was closed, which click knows
                raise
            name = os.fsdecode(error.filename)
            click.echo(f"error: {name} cannot be used: {error.strerror}.", err=True)
            ctx.exit(1)


# The modules of the verbs import only click; torch and all else come in when a verb runs.
@click.group(
    cls=_Verbs,
    commands=[quantize, gen, csim, cosim, mutate, estimate, explore, train, search, pipeline, doctor],
)
@click.version_option(__version__, prog_name="qvit-hls")
def main() -> None:
    """Quantized Vision Transformers to FPGA accelerators, bit-exact on the way."""
