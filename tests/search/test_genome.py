"""Rows of integers stand for networks of the space, whatever is done to them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from search_spaces import small_space

from qvit_hls.hw.timing.vit import vit_shape
from qvit_hls.nets.space import SearchSpace, load_space
from qvit_hls.search.genome import Genome

SPACE = small_space()
GENOME = Genome(SPACE)
SEEDS = st.integers(0, 2**32 - 1)


def _rows(seed: int, count: int = 8) -> np.ndarray:
    return GENOME.sample(count, np.random.default_rng(seed))


def _assert_valid(rows: np.ndarray) -> None:
    assert (rows == GENOME.canonical(rows)).all()
    for subnet in GENOME.subnets(rows):
        assert list(SPACE.problems_of(subnet)) == []


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_networks_come_back_from_their_rows(seed: int) -> None:
    generator = np.random.default_rng(seed)
    subnets = [SPACE.sample(generator) for _ in range(6)]
    rows = GENOME.rows(subnets)
    assert GENOME.subnets(rows) == subnets
    _assert_valid(rows)
    assert (GENOME.rows(GENOME.subnets(_rows(seed))) == _rows(seed)).all()


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_all_offspring_are_networks_of_the_space(seed: int, rate: float) -> None:
    generator = np.random.default_rng(seed)
    first, second = _rows(seed), _rows(seed + 1)
    _assert_valid(GENOME.mutate(first, rate, generator))
    _assert_valid(GENOME.cross(first, second, generator, share=rate))
    _assert_valid(GENOME.with_uniform_share(first))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_genes_that_are_not_free_stay(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = _rows(seed), _rows(seed + 1)
    fixed = ~GENOME.is_share
    mutated = GENOME.mutate(first, 0.5, generator, GENOME.is_share)
    crossed = GENOME.cross(first, second, generator, GENOME.is_share)
    assert (mutated[:, fixed] == first[:, fixed]).all()
    assert (crossed[:, fixed] == first[:, fixed]).all()
    assert (mutated != first).any()


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_each_gene_of_a_child_is_one_of_its_parents(seed: int) -> None:
    first, second = _rows(seed), _rows(seed + 1)
    child = GENOME.cross(first, second, np.random.default_rng(seed))
    assert ((child == first) | (child == second)).all()
    none = GENOME.cross(first, second, np.random.default_rng(seed), share=0.0)
    assert (none == first).all()
    everything = GENOME.cross(first, second, np.random.default_rng(seed), share=1.0)
    assert (everything == second).all()


def test_every_gene_mutates_at_the_rate_that_was_asked_for() -> None:
    rows = np.repeat(GENOME.rows([SPACE.largest()]), 4000, axis=0)
    # The deepest network may only get shallower: look at those that stay deep.
    mutated = GENOME.mutate(rows, 0.2, np.random.default_rng(0))
    deep = mutated[:, 0] == rows[:, 0]
    changed = (mutated[deep] != rows[deep]).mean(axis=0)[1:]
    assert np.abs(changed - 0.2).max() < 0.03


def test_a_uniform_share_is_one_share_in_all_layers() -> None:
    for subnet in GENOME.subnets(GENOME.with_uniform_share(_rows(3, 20))):
        assert subnet == subnet.with_share(subnet.patch_share)


def test_architectures_are_those_of_the_networks_configurations() -> None:
    rows = _rows(5, 30)
    nets = GENOME.architectures(rows)
    for index, subnet in enumerate(GENOME.subnets(rows)):
        config, depth = SPACE.config(subnet), subnet.depth
        assert nets.embed_dim[index] == config.embed_dim
        assert nets.heads[index].tolist() == [b.heads for b in config.blocks] + [0] * (3 - depth)
        assert nets.head_dim[index, :depth].tolist() == [b.head_dim for b in config.blocks]
        assert nets.mlp_hidden[index, :depth].tolist() == [b.mlp_hidden for b in config.blocks]
        assert nets.shares[index, :depth].tolist() == [list(b.shares) for b in subnet.blocks]
        assert (nets.patch_share[index], nets.head_share[index]) == (subnet.patch_share, subnet.head_share)
    assert len(vit_shape(nets).unit) == 30


def test_a_space_of_one_network_is_left_alone() -> None:
    one = {name: [getattr(SPACE, name)[0]] for name in _choices(SPACE)}
    genome = Genome(small_space(**one))
    rows = genome.sample(3, np.random.default_rng(0))
    assert (rows == 0).all()
    assert (genome.mutate(rows, 1.0, np.random.default_rng(0)) == 0).all()


def test_rows_of_a_published_space() -> None:
    space = load_space("autoformer_t")
    genome = Genome(space)
    assert genome.length == 5 + 14 * 9
    rows = genome.sample(50, np.random.default_rng(1))
    assert (genome.rows(genome.subnets(rows)) == rows).all()


def _choices(space: SearchSpace) -> list[str]:
    return ["depth", "embed_dim", "heads", "head_dim", "mlp_ratio", "eight_bit_share", "activation_bits"]
