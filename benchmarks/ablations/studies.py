"""The ablations: what each compares, for one seed. Results are plain data; accuracies are shares, 0 to 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from networks import Budget, Laboratory, drawn_networks, space
from scipy import stats

from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.settings import METHODS

#: Names, shares of 8-bit rows, bits of activations.
PRECISIONS = (("W8A8", 1.0, 8), ("W4A8", 0.0, 8), ("W4A7", 0.0, 7), ("W4A5", 0.0, 5), ("W4A4", 0.0, 4))
#: From a laboratory and a seed to named numbers, or lists of numbers.
Study = Callable[[Laboratory, int], dict[str, Any]]


def layer_scale(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """Supernets with and without a learned factor per channel at the end of each branch."""
    subnets = _ends() + drawn_networks(laboratory.budget.networks)
    result: dict[str, Any] = {}
    for name, scaled in (("with", True), ("without", False)):
        supernet = laboratory.supernet(seed, layer_scale=scaled)
        smallest, largest, *drawn = laboratory.inherited_accuracies(supernet, subnets)
        result[name] = {"smallest": smallest, "drawn": sum(drawn) / len(drawn), "largest": largest}
    return result | _differences(result, "with")


def entanglement(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """Networks with the weights that all share, as they are and tuned, and the same networks trained alone
    for as many steps as the whole supernet."""
    supernet = laboratory.supernet(seed)
    subnets = dict(zip(("smallest", "largest"), _ends(), strict=True))
    inherited = laboratory.inherited_accuracies(supernet, list(subnets.values()))
    result = {
        "tuned": {
            name: laboratory.accuracy(laboratory.tuned(seed, supernet, subnet))
            for name, subnet in subnets.items()
        },
        "inherited": dict(zip(subnets, inherited, strict=True)),
        "alone": {
            name: laboratory.accuracy(laboratory.alone(seed, subnet)) for name, subnet in subnets.items()
        },
    }
    return result | _differences(result, "tuned")


def mixed_rows(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """Searches among all shares of 8-bit rows, and among networks of 4-bit and of 8-bit rows only, under the
    same limits of cycles; the picks tuned."""
    supernet = laboratory.supernet(seed)
    kinds = {
        "mixed": (supernet, "coarse-to-fine"),
        "4-bit": (laboratory.restricted(supernet, 0.0), "one-stage"),
        "8-bit": (laboratory.restricted(supernet, 1.0), "one-stage"),
    }
    result: dict[str, dict[str, float]] = {}
    chosen: dict[str, Any] = {}
    for name, (file, method) in kinds.items():
        picks = laboratory.search(seed, file, method)["picks"]
        result[name], chosen[name] = {}, {}
        for limit, pick in zip(_limits(laboratory), picks, strict=True):
            subnet = Subnet.of_key(json.dumps(pick["subnet"]))
            tuned = laboratory.tuned(seed, supernet, subnet)
            result[name][limit] = laboratory.accuracy(tuned)
            chosen[name][limit] = {key: pick[key] for key in ("cycles", "average_bits", "accuracy")}
    return result | _differences(result, "mixed") | {"chosen": chosen}


def search_methods(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """Coarse to fine, in one stage and at random, with as many evaluations each: best accuracy under each
    limit, and hypervolume, both on the images that are searched on."""
    supernet = laboratory.supernet(seed)
    result: dict[str, dict[str, float]] = {}
    progress: dict[str, list[list[float]]] = {}
    for method in METHODS:
        found = laboratory.search(seed, supernet, method)["progress"]
        best = dict(zip(_limits(laboratory), found[-1]["best"], strict=True))
        result[method] = {**best, "hypervolume": found[-1]["hypervolume"]}
        progress[method] = [[generation["trials"], generation["hypervolume"]] for generation in found]
    return result | _differences(result, METHODS[0]) | {"progress": progress}


def ranks(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """Whether networks that are better with the supernet's weights are better when they are tuned."""
    supernet = laboratory.supernet(seed)
    subnets = drawn_networks(laboratory.budget.ranked)
    inherited = laboratory.inherited_accuracies(supernet, subnets)
    tuned = [laboratory.accuracy(laboratory.tuned(seed, supernet, subnet)) for subnet in subnets]
    correlation = {
        "Spearman": float(stats.spearmanr(inherited, tuned).statistic),
        "Kendall": float(stats.kendalltau(inherited, tuned).statistic),
    }
    return {"correlation": correlation, "inherited": inherited, "tuned": tuned}


def precision(laboratory: Laboratory, seed: int) -> dict[str, Any]:
    """What low precision costs on this task: a network trained in float, then quantized without training, and
    with some. 8-bit rows and activations, 4-bit rows, and fewer bits of activations."""
    trained = laboratory.in_float(seed, space().largest().with_share(0.25))
    in_float = laboratory.accuracy(trained, quantized=False)
    result: dict[str, dict[str, float]] = {"float": {}, "quantized": {}, "tuned": {}}
    for name, share, bits in PRECISIONS:
        quantized = laboratory.at_precision(trained, share, bits)
        result["float"][name] = in_float
        result["quantized"][name] = laboratory.accuracy(quantized)
        result["tuned"][name] = laboratory.accuracy(laboratory.tuned_model(seed, quantized))
    return result | _differences(result, "float")


STUDIES: dict[str, Study] = {
    "precision": precision,
    "layer_scale": layer_scale,
    "entanglement": entanglement,
    "mixed_rows": mixed_rows,
    "search_methods": search_methods,
    "ranks": ranks,
}


def train_supernet(folder: Path, data: Path, budget: Budget, seed: int, layer_scale: bool) -> None:
    """Train a supernet that several studies need, in a process of its own."""
    torch.set_num_threads(1)
    Laboratory(folder, data, budget).supernet(seed, layer_scale=layer_scale)


def run_study(folder: Path, data: Path, budget: Budget, name: str, seed: int) -> dict[str, Any]:
    """One study for one seed, in a process of its own."""
    torch.set_num_threads(1)
    return STUDIES[name](Laboratory(folder, data, budget), seed)


def _ends() -> list[Subnet]:
    """The smallest and the largest network, a quarter of their rows 8-bit."""
    return [space().smallest().with_share(0.25), space().largest().with_share(0.25)]


def _limits(laboratory: Laboratory) -> list[str]:
    """Names of the limits, in the order of picks: the slowest target first."""
    return [f"{cycles:,} cycles" for cycles in sorted(laboratory.budget.cycles, reverse=True)]


def _differences(result: dict[str, dict[str, float]], of: str) -> dict[str, dict[str, float]]:
    """What one kind is better by than each of the others, in this seed."""
    return {
        f"{of} - {other}": {key: result[of][key] - value for key, value in values.items()}
        for other, values in result.items()
        if other != of
    }
