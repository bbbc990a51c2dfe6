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


def test_several_queries_that_are_constant() -> None:
    draft = Draft(5, 6)
    draft("split", f.Reshape((5, 3, 2)), draft("k", linear(6, 6), "x"))
    draft("keys", f.Permute((1, 2, 0)), "split")
    draft("latent", f.Constant(RNG.standard_normal((3, 2, 2))))
    assert problems(draft, draft("scores", f.MatMul(), "latent", "keys")) == (
        "scores: its queries are the same for every image (attention pooling); the engine has one such "
        "query, of keys that are a linear layer.",
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
