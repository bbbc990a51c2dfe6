"""The sample has the first token of every image and, over the images, all the others."""

from __future__ import annotations

import torch

from qvit_hls.ptq.token_sample import sampled_queries, sampled_tokens


def numbered(images: int, tokens: int) -> torch.Tensor:
    """Each token's number, ``[n, T, 1]``."""
    return torch.arange(tokens).repeat(images, 1)[..., None]


def test_every_image_gives_its_first_token_and_distinct_others() -> None:
    found = sampled_tokens(numbered(32, 197), 0, 32, 512).squeeze(-1)
    assert found.shape == (32, 16)
    assert (found[:, 0] == 0).all()
    assert all(len(set(row)) == 16 for row in found.tolist())
    columns = {(token - 1) % 14 for row in found.tolist() for token in row[1:]}
    assert columns == set(range(14))


def test_batches_give_what_the_whole_gives() -> None:
    x = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(0))
    whole = sampled_tokens(x, 0, 5, 20)
    parts = torch.cat([sampled_tokens(x[:3], 0, 5, 20), sampled_tokens(x[3:], 3, 5, 20)])
    assert whole.shape == (5, 4, 3) and torch.equal(whole, parts)


def test_short_sequences_are_taken_whole() -> None:
    x = numbered(4, 5)
    assert torch.equal(sampled_tokens(x, 0, 4, 20), x)
    assert sampled_tokens(x, 0, 4, 2).shape == (4, 1, 1)


def test_queries_are_the_same_tokens() -> None:
    x = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    scores = x[:, None].expand(3, 2, 8, 5)
    expected = sampled_tokens(x, 0, 3, 12)
    found = sampled_queries(scores, 0, 3, 12)
    assert found.shape == (3, 2, 4, 5)
    assert torch.equal(found[:, 0], expected) and torch.equal(found[:, 1], expected)
