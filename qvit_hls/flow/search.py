"""The verb ``search``: from a supernet, images and a board to the networks worth building."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target
from qvit_hls.flow.output import write_file, write_json
from qvit_hls.flow.search_inputs import SearchRequest, accelerators_of, target_of, validation_images
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.frontend.compile import integer_graph
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.supernet_file import load_supernet
from qvit_hls.search.accelerators import (
    Accelerator,
)
from qvit_hls.search.accuracy import CachedAccuracy, SupernetAccuracy
from qvit_hls.search.coarse_to_fine import Generation, Progress, Search
from qvit_hls.search.evolution import Evolution
from qvit_hls.search.front import dominance_ranks
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Hardware
from qvit_hls.search.picks import Pick, picks
from qvit_hls.search.settings import SearchSettings, check_settings
from qvit_hls.search.study import Record, SearchStudy

#: Files of a search's folder.
STUDY, ACCURACIES = "study.db", "accuracies.db"
PICKS, TRIALS = "picks.json", "trials.csv"


@dataclass(frozen=True, eq=False)
class Found:
    """What a search has found.

    Attributes:
        picks: for each target in ascending order; None where no network that was evaluated reaches it.
        row_bits: of each pick, 4 or 8 for every row of a layer, uint8 ``[rows]``, by layer; empty for none.
        history: how the search came on.
    """

    request: SearchRequest
    settings: SearchSettings
    hardware: Hardware
    records: tuple[Record, ...]
    picks: tuple[Pick | None, ...]
    row_bits: tuple[dict[str, np.ndarray], ...]
    history: tuple[Generation, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data: everything but the trials."""
        return {
            "space": self.hardware.genome.space.name,
            "board": self.hardware.board.name,
            "clock_mhz": self.hardware.clock_mhz,
            "trials": len(self.records),
            "settings": self.settings.to_json(),
            "picks": [
                {"target_fps": fps, "found": False} if pick is None else {"found": True, **pick.to_json()}
                for fps, pick in zip(self.settings.targets, self.picks, strict=True)
            ],
            "progress": [asdict(generation) for generation in self.history],
        }


def search_networks(
    request: SearchRequest, workers: int = 1, progress: Progress = lambda stage, done, total: None
) -> Found:
    """Search, and write ``picks.json`` and ``trials.csv``.

    A search that was stopped goes on. Others with the same request may work on the same study.

    Args:
        workers: processes on this machine.

    Raises:
        QvitError: the request cannot be searched; every problem is named. Or no network that was evaluated
            reaches some target; then the files are written nevertheless.
    """
    if workers < 1:
        raise QvitError(f"There are {workers} workers; there should be at least 1.")
    check_settings(request.targets, request.trials, request.method)
    supernet, target = load_supernet(request.supernet), target_of(request)
    validation = validation_images(request, supernet)
    request.out.mkdir(parents=True, exist_ok=True)
    progress("accelerators", 0, 1)
    accelerators = accelerators_of(request, supernet.space, target)
    progress("accelerators", 1, 1)
    worker = _Worker(request, supernet, validation, accelerators, target)
    with _other_workers(request, accelerators, workers - 1), _threads(workers):
        records = worker.search.run(worker.accuracy, progress)
    progress("picks", 0, 1)
    with one_torch_thread():
        picked = picks(records, worker.hardware, worker.settings.targets, partial(_graph, supernet))
    progress("picks", 1, 1)
    found = Found(
        request, worker.settings, worker.hardware, tuple(records), tuple(picked),
        tuple({} if pick is None else _row_bits(supernet, pick.subnet) for pick in picked),
        tuple(worker.search.history()),
    )  # fmt: skip
    write_json(request.out / PICKS, found.to_json())
    write_file(request.out / TRIALS, trials_csv(found))
    if lacks := [fps for fps, pick in zip(worker.settings.targets, picked, strict=True) if pick is None]:
        raise QvitError(
            f"No network of the {len(records)} that were evaluated reaches {fps:g} frames per second on an "
            "accelerator that holds it. Search with more --trials."
            for fps in lacks
        )
    return found


def trials_csv(found: Found) -> bytes:
    """All trials as a table; a trial is on the front if no other is both as accurate and as fast."""
    records, hardware = found.records, found.hardware
    subnets = [Subnet.of_key(record.key) for record in records]
    costs = hardware.costs(hardware.genome.rows(subnets))
    points = np.array([[-record.accuracy, record.cycles] for record in records]).reshape(-1, 2)
    on_front = dominance_ranks(points) == 0
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["trial", "stage", "generation", "accuracy", "cycles", "frames_per_second", "average_bits",
         "stream_bytes", "front", "network"]
    )  # fmt: skip
    for index, record in enumerate(records):
        rate = hardware.clock_mhz * 1e6 / record.cycles
        place = [record.number, record.stage, record.generation, record.accuracy, record.cycles]
        bits, read = f"{costs.average_bits[index]:.4f}", int(costs.stream_bytes[index])
        table.writerow([*place, f"{rate:.3f}", bits, read, int(on_front[index]), record.key])
    return text.getvalue().encode()


def _graph(supernet: Supernet, subnet: Subnet) -> Graph:
    """The integer graph of a network as it is in the supernet."""
    network = supernet.extract(subnet)
    config = network.config
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    return integer_graph(network, example, supernet.space.name)


def _row_bits(supernet: Supernet, subnet: Subnet) -> dict[str, np.ndarray]:
    return {name: layer.row_bits.numpy() for name, layer, _ in supernet.extract(subnet).weight_layers()}


# ---------------------------------------------------------------- one worker


class _Worker:
    """All that one process needs."""

    def __init__(
        self,
        request: SearchRequest,
        supernet: Supernet,
        validation: tuple[Tensor, Tensor],
        accelerators: tuple[Accelerator, ...],
        target: Target,
    ) -> None:
        evaluated = SupernetAccuracy(supernet, *validation)
        genome = Genome(supernet.space)
        self.hardware = Hardware(genome, accelerators, target.board, target.clock_mhz)
        settings = SearchSettings.of(
            self.hardware,
            evaluated.digest,
            targets=request.targets,
            trials=request.trials,
            method=request.method,
            seed=request.seed,
            minimise_resources=request.minimise_resources,
        )
        evolution = Evolution(self.hardware, settings.targets)
        study = SearchStudy(request.study or str(request.out / STUDY), settings)
        # Not before all else is known to be right: it makes a file.
        self.accuracy = CachedAccuracy(evaluated, request.out / ACCURACIES)
        self.settings = study.settings
        self.search = Search(study, evolution, request.trials)


def _work(request: SearchRequest, accelerators: tuple[Accelerator, ...], workers: int) -> None:
    """A further process on this machine; it ends with the first one, however that ends."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = multiprocessing.parent_process()

    def go_on(stage: str, done: int, total: int) -> None:
        if first is not None and not first.is_alive():
            raise SystemExit(1)

    try:
        with _threads(workers):
            supernet = load_supernet(request.supernet)
            validation = validation_images(request, supernet)
            worker = _Worker(request, supernet, validation, accelerators, target_of(request))
            worker.search.run(worker.accuracy, go_on)
    except QvitError as error:
        raise SystemExit("\n".join(f"error: {problem}" for problem in error.problems)) from None


@contextmanager
def _other_workers(
    request: SearchRequest, accelerators: tuple[Accelerator, ...], count: int
) -> Iterator[None]:
    """Further processes that work on the same study; they end with it, or when this one fails."""
    context = multiprocessing.get_context("spawn")
    arguments = (request, accelerators, count + 1)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()


@contextmanager
def _threads(workers: int) -> Iterator[None]:
    """Share the cores between the workers of this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
