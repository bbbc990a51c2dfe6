"""The verb ``pipeline``: from images to proved projects, one for each frame rate, step by step.

The steps are train, search, and for each pick: extract, tune, measure, generate, prove. Each depends on the
files of earlier ones by their digests, so that what has not changed is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from qvit_hls import __version__
from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target, compile_model, generate
from qvit_hls.flow.output import write_json
from qvit_hls.flow.pipeline_inputs import Checked, check
from qvit_hls.flow.pipeline_result import Accuracies, PipelineResult, Project
from qvit_hls.flow.pipeline_settings import PipelineSettings, ProofSettings
from qvit_hls.flow.pipeline_steps import Done, Step, Steps, Update, Watch, digest_file, locked
from qvit_hls.flow.search import PICKS, Found, search_networks
from qvit_hls.flow.search_inputs import SearchRequest, check_targets
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.flow.train import Resume, train
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.cycles import estimate
from qvit_hls.nets.checkpoint import load_model, save_model
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet_file import load_supernet
from qvit_hls.search.accelerators import Accelerator
from qvit_hls.train.checkpoint import checkpoint_paths
from qvit_hls.train.evaluation import predict
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.settings import OPERATIONAL, TrainingConfig
from qvit_hls.train.sources import open_source
from qvit_hls.train.trainer import CHECKPOINTS

#: What the whole pipeline came to, beside the folders of the steps.
RESULT = "pipeline.json"
_SUPERNET, _MODEL, _IMAGES = "supernet.pt", "model.pt", "test.npz"
#: Images that the golden graph takes at a time.
_BATCH = 64

#: Pictures of a search by file name.
Draw = Callable[[Found], Mapping[str, bytes]]


class Prover(Protocol):
    """Compares a project with its golden graph."""

    def __call__(
        self, project: Path, images: Path, settings: ProofSettings, engine: Mac, update: Update
    ) -> dict[str, Any]:
        """What was compared, as plain JSON values.

        Args:
            images: .npz file of normalised images with labels.

        Raises:
            QvitError: a value differs, or it cannot be simulated.
        """


def run_pipeline(
    settings: PipelineSettings,
    out: Path,
    *,
    watch: Watch,
    draw: Draw,
    prove: Prover,
    workers: int = 1,
    cpu: bool = False,
) -> PipelineResult:
    """Do all steps that are not done yet, and write ``pipeline.json``.

    Args:
        out: folder of all steps; nothing is written outside.
        watch: told of each step, kept or run.
        draw: pictures of the search.
        prove: a project's proof.
        workers: processes that search.
        cpu: train on the CPU even where there is a GPU.

    Raises:
        QvitError: everything that is wrong with what the settings name; or what a step says. Steps that are
            complete stay.
    """
    checked = check(settings)
    with locked(out):
        return _Pipeline(settings, checked, Steps(out, watch), draw, prove, workers, cpu).run()


# ---------------------------------------------------------------- the steps


def _lasting(config: TrainingConfig) -> dict[str, Any]:
    """Settings that a training's result depends on."""
    return config.model_dump(mode="json", exclude=set(OPERATIONAL))


@dataclass(frozen=True)
class _Pick:
    """A network of the search, as ``picks.json`` has it."""

    target_fps: float
    subnet: Subnet
    config: AcceleratorConfig
    average_bits: float

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> _Pick:
        return cls(
            fields["target_fps"],
            Subnet.of_key(json.dumps(fields["subnet"])),
            AcceleratorConfig.model_validate(fields["accelerator"]["config"]),
            fields["average_bits"],
        )


@dataclass(frozen=True, eq=False)
class _Pipeline:
    settings: PipelineSettings
    checked: Checked
    steps: Steps
    draw: Draw
    prove: Prover
    workers: int
    cpu: bool

    def run(self) -> PipelineResult:
        supernet = self._supernet()
        picks = [_Pick.of(fields) for fields in self._search(supernet).result]
        images = self._images(supernet)
        projects: list[Project] = []
        for pick in picks:
            projects += self._projects(pick, supernet, images)
        target = self.checked.target
        result = PipelineResult(
            self.steps.folder,
            self.checked.space.name,
            target.board.name,
            target.clock_mhz,
            tuple(projects),
        )
        write_json(self.steps.folder / RESULT, result.to_json())
        return result

    def _supernet(self) -> Path:
        options, data = self.settings.supernet, self.checked.data
        if options.file is not None:
            return Path(options.file)
        assert options.space is not None and options.training is not None
        inputs = {
            "space": self.checked.space.model_dump(mode="json"),
            "training": _lasting(options.training),
            "train": data["train"],
            "validation": data["validation"],
        }

        def work(folder: Path, update: Update) -> Any:
            assert options.space is not None and options.training is not None
            if not checkpoint_paths(folder / CHECKPOINTS):
                update("targets", 0, 1)
                self._check_targets()
                update("targets", 1, 1)
            return self._train(options.space, options.training, folder, update)

        return self.steps.run(Step("supernet", inputs, work, (_SUPERNET,), resumes=True)).folder / _SUPERNET

    def _check_targets(self) -> None:
        """Whether the space's networks can reach the targets: better known before a training than after."""
        check_targets(
            self.checked.space, self.checked.target, self.settings.search.accelerator, self.settings.targets
        )

    def _train(self, what: str, config: TrainingConfig, out: Path, update: Update) -> dict[str, Any]:
        """Train, from the newest checkpoint where there is one."""
        trained = train(
            what,
            self.settings.data.train,
            out,
            validation=self.settings.data.validation,
            changes=config.model_dump(mode="json"),
            resume=Resume() if checkpoint_paths(out / CHECKPOINTS) else None,
            cpu=self.cpu,
            progress=lambda phase, done, total, loss: update(phase, done, total),
        )
        if trained is None:
            raise QvitError("A pipeline is one process; train with several by qvit-hls train.")
        return trained.to_json()

    def _search(self, supernet: Path) -> Done:
        options, target = self.settings.search, self.checked.target
        inputs = {
            "supernet": digest_file(supernet),
            "validation": self.checked.data["validation"],
            "board": target.board.model_dump(),
            "clock_mhz": target.clock_mhz,
            "built": None if target.config is None else target.config.model_dump(),
            "tile": options.accelerator if options.build is None else None,
            "target_fps": list(self.settings.targets),
            **options.model_dump(
                mode="json", include={"trials", "method", "seed", "images", "minimise_resources"}
            ),
        }

        def work(folder: Path, update: Update) -> Any:
            request = SearchRequest(
                supernet=supernet,
                data=self.settings.data.validation,
                out=folder,
                targets=self.settings.targets,
                board=options.board,
                clock_mhz=options.clock_mhz,
                accelerator=options.accelerator,
                trials=options.trials,
                method=options.method,
                seed=options.seed,
                images=options.images,
                minimise_resources=options.minimise_resources,
            )
            found = search_networks(request, self.workers, update)
            for name, content in self.draw(found).items():
                (folder / name).write_bytes(content)
            return found.to_json()["picks"]

        return self.steps.run(Step("search", inputs, work, (PICKS,), resumes=True))

    def _images(self, supernet: Path) -> Path:
        """The test images, as networks and simulations take them."""
        data = self.settings.data
        inputs = {
            "supernet": digest_file(supernet),
            "test": self.checked.data["test"],
            "test_images": data.test_images,
        }

        def work(folder: Path, update: Update) -> Any:
            config = load_supernet(supernet).latent.config
            grey = (0.5,) * config.channels
            preparation = Preparation(
                config.image_size, config.channels, config.mean or grey, config.std or grey
            )
            source = open_source(data.test, config.classes)
            items = [source.item(index) for index in range(data.test_images or len(source))]
            images = np.stack([preparation.validation(picture).numpy() for picture, _ in items])
            folder.mkdir(exist_ok=True)
            np.savez(folder / _IMAGES, images=images, labels=np.array([label for _, label in items]))
            return {"images": len(items)}

        return self.steps.run(Step("images", inputs, work)).folder / _IMAGES

    def _projects(self, pick: _Pick, supernet: Path, images: Path) -> list[Project]:
        """One network: cut out, tuned, measured, and a project for each engine."""
        name = f"fps_{pick.target_fps!r}".removesuffix(".0")  # all digits: targets may be close
        inherited = self._extracted(f"{name}/inherited", pick.subnet, supernet)
        tuned = self._tuned(f"{name}/tuned", inherited)
        accuracies = self._accuracies(f"{name}/accuracy", inherited, tuned, images)
        projects = []
        for engine in self.settings.engines:
            made = self._generated(f"{name}/{engine}", pick, engine, tuned)
            config = AcceleratorConfig.model_validate(made.result["accelerator"])
            projects.append(
                Project(
                    target_fps=pick.target_fps,
                    engine=engine,
                    cycles=made.result["cycles"],
                    frames_per_second=self.checked.target.clock_mhz * 1e6 / made.result["cycles"],
                    average_bits=pick.average_bits,
                    accelerator=Accelerator.on_board(config, self.checked.target.board),
                    accuracies=accuracies,
                    subnet=pick.subnet,
                    proof=self._proved(f"{name}/{engine}_proof", made, engine, images),
                    model=tuned.relative_to(self.steps.folder),
                    folder=made.folder.relative_to(self.steps.folder),
                )
            )
        return projects

    def _extracted(self, name: str, subnet: Subnet, supernet: Path) -> Path:
        def work(folder: Path, update: Update) -> Any:
            folder.mkdir(exist_ok=True)
            save_model(load_supernet(supernet).extract(subnet), folder / _MODEL)
            return None

        inputs = {"supernet": digest_file(supernet), "subnet": subnet.to_json()}
        return self.steps.run(Step(name, inputs, work)).folder / _MODEL

    def _tuned(self, name: str, inherited: Path) -> Path:
        config, data = self.settings.tune, self.checked.data
        inputs = {
            "inherited": digest_file(inherited),
            "tune": _lasting(config),
            "train": data["train"],
            "validation": data["validation"],
        }
        work = partial(self._train, str(inherited), config)
        return self.steps.run(Step(name, inputs, work, (_MODEL,), resumes=True)).folder / _MODEL

    def _accuracies(self, name: str, inherited: Path, tuned: Path, images: Path) -> Accuracies:
        inputs = {
            "qvit_hls": __version__,
            "inherited": digest_file(inherited),
            "tuned": digest_file(tuned),
            "images": digest_file(images),
        }

        @one_torch_thread()
        def work(folder: Path, update: Update) -> Any:
            with np.load(images, allow_pickle=False) as file:
                inputs, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
            graph = compile_model(tuned, False, lambda stage, done, total: None)
            logits = []
            for batch in inputs.split(_BATCH):
                logits.append(graph.run(batch)[graph.outputs[0]].flatten(1))
                update("golden graph", sum(map(len, logits)), len(inputs))
            predictions = {
                "inherited": predict(load_model(inherited), inputs),
                "tuned": predict(load_model(tuned), inputs),
                "integer": torch.cat(logits).argmax(dim=1),
            }
            folder.mkdir(exist_ok=True)
            shares = {key: float((value == labels).double().mean()) for key, value in predictions.items()}
            return {"images": len(labels), **shares}

        return Accuracies(**self.steps.run(Step(name, inputs, work)).result)

    def _generated(self, name: str, pick: _Pick, engine: Mac, model: Path) -> Done:
        board, clock_mhz = self.checked.target.board, self.checked.target.clock_mhz
        inputs = {
            "qvit_hls": __version__,
            "model": digest_file(model),
            "accelerator": pick.config.model_dump(),
            "board": board.model_dump(),
            "clock_mhz": clock_mhz,
            "target_fps": pick.target_fps,
        }
        if engine == pick.config.mac:
            target = Target(board, clock_mhz, pick.config)
        else:
            # Another engine has other memories; the tile is the same.
            tile = pick.config.tile_tokens, pick.config.tile_rows, pick.config.tile_depth
            target = Target(board, clock_mhz, tile=tile, mac=engine)

        def work(folder: Path, update: Update) -> Any:
            made = generate(model, folder, target, progress=update)
            frame = estimate(made.program, board, clock_mhz)
            if engine == pick.config.mac and frame.frames_per_second < pick.target_fps:
                raise QvitError(
                    f"{name}: the project takes {frame.cycles:,} cycles, {frame.frames_per_second:,.1f} "
                    f"frames per second; it was picked for {pick.target_fps:g}."
                )
            return {"cycles": frame.cycles, "accelerator": made.program.config.model_dump()}

        return self.steps.run(Step(name, inputs, work))

    def _proved(self, name: str, made: Done, engine: Mac, images: Path) -> dict[str, Any]:
        proof = self.settings.proof
        inputs = {
            "qvit_hls": __version__,
            "project": made.digest,
            "images": digest_file(images),
            "proof": proof.model_dump(exclude=set() if engine == "rtl" else {"cosim_images"}),
        }

        def work(folder: Path, update: Update) -> Any:
            folder.mkdir(exist_ok=True)
            return self.prove(made.folder, images, proof, engine, update)

        found: dict[str, Any] = self.steps.run(Step(name, inputs, work)).result
        return found
