"""What the engine has no operation for is said before anything is calibrated, by what would be right."""

from __future__ import annotations

import pytest
from graph_draft import RNG, Draft, linear

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as f
from qvit_hls.ptq.placement import BitWidths, place


def problems(draft: Draft, output: str) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        place(draft.graph(output), BitWidths())
    return error.value.problems


def test_patches_that_do_not_divide_the_image() -> None:
    draft = Draft(3, 8, 10)
    draft("proj", f.Conv2d(RNG.standard_normal((4, 3, 4, 4)), (4, 4)), "x")
    draft("flat", f.Reshape((4, 4)), "proj")
    draft("out", linear(2, 4), draft("tokens", f.Permute((1, 0)), "flat"))
    assert problems(draft, "out") == (
        "proj: its patches of 4 x 4 pixels do not divide the image of 8 x 10; take an image whose sides are "
        "multiples.",
    )


def test_constants_behind_tokens() -> None:
    draft = Draft(4, 6)
    draft("registers", f.Constant(RNG.standard_normal((2, 6))))
    draft("joined", f.ConcatTokens(), "x", "registers")
    assert problems(draft, draft("out", linear(2, 6), "joined")) == (
        "joined: it joins a constant behind tokens that depend on the image; it must be before.",
    )


def test_what_only_moves_data_to_what_is_named_is_not_named() -> None:
    draft = Draft(4, 6)
    draft("split", f.Reshape((4, 2, 3)), "x")
    draft("heads", f.Permute((1, 0, 2)), "split")
    draft("norm", f.LayerNorm(1e-5), "heads")
    assert problems(draft, "norm") == (
        "norm: it normalises values of shape [2, 4, 3]; the engine normalises whole tokens.",
    )
