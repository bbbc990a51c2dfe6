"""Projects: the same input gives the same bytes, and another model's data runs on the same accelerator."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
import pytest
import torch
from small_model import CONFIG, TILE, write_model

from qvit_hls.codegen import render
from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.codegen.project import Origin, build_plan
from qvit_hls.flow.build import read_build
from qvit_hls.flow.compile import compile_simulation
from qvit_hls.flow.generate import Generated, Target, generate, golden_vectors
from qvit_hls.flow.images import input_node, load_images, random_images
from qvit_hls.hw.board import load_board
from qvit_hls.ir.file_format import load_graph
from qvit_hls.verify.csim import run_csim
from qvit_hls.verify.simulator import Simulator
from qvit_hls.verify.trace import read_layout


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """A project on an accelerator chosen for a small network."""
    folder = tmp_path_factory.mktemp("first")
    return generate(write_model(folder / "model.pt"), folder / "build", Target.on_board(tile=TILE))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def planned(first: Generated) -> BuildPlan:
    graph = load_graph(first.folder)
    return build_plan(
        graph, first.program, load_board("zcu102"), 200.0, golden_vectors(graph, 0), Origin("a", 0)
    )


def test_a_plan_is_a_function_of_its_arguments(first: Generated) -> None:
    one, two = planned(first), planned(first)
    assert list(one.files) == list(two.files)
    assert one == two


def test_the_folder_holds_the_plan_and_nothing_else(first: Generated) -> None:
    assert contents(first.folder) == first.plan.files


def test_projects_of_two_processes_are_equal(tmp_path: Path) -> None:
    """Other folders, other hash seeds, another time of day."""
    found = []
    for number, hash_seed in enumerate(("0", "12345")):
        here = tmp_path / f"somewhere{number}" / ("deep" * number)
        here.mkdir(parents=True)
        write_model(here / "model.pt")
        command = [
            sys.executable,
            "-m",
            "qvit_hls",
            "gen",
            "model.pt",
            "-o",
            f"out{number}",
            "--quiet",
            "--onnx",
        ]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": f"UTC+{number}"}
        tile = [str(size) for size in TILE]
        subprocess.run([*command, "--tile", *tile], cwd=here, env=environment, check=True, timeout=120)
        found.append(contents(here / f"out{number}"))
    assert sorted(found[0]) == sorted(found[1])
    assert [path for path in found[0] if found[0][path] != found[1][path]] == []


def test_the_manifest_names_the_digest_of_all_other_files(first: Generated) -> None:
    files = dict(first.plan.files)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files_sha256"] == BuildPlan(files).digest()
    assert (
        manifest["accelerator"] == json.loads(files["accelerator.json"]) == first.program.config.model_dump()
    )


def test_no_file_names_the_folder_it_was_made_in(first: Generated) -> None:
    for path, content in first.plan.files.items():
        assert str(first.folder.parent).encode() not in content, path
        assert str(Path.home()).encode() + b"/" not in content, path


def test_a_template_that_names_what_does_not_exist_fails(
    first: Generated, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = jinja2.Environment

    def with_a_mistake(loader: jinja2.BaseLoader, **options: object) -> jinja2.Environment:
        mistaken = jinja2.DictLoader({"Makefile.j2": "{{ config.tile_rwos }}"})
        return made(loader=jinja2.ChoiceLoader([mistaken, loader]), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(render.jinja2, "Environment", with_a_mistake)
    with pytest.raises(jinja2.UndefinedError, match="has no attribute 'tile_rwos'"):
        planned(first)


#: Models that fit the accelerator of the first one, each by changing something else.
OTHERS = {
    "other weights": {},
    "other shares of 8-bit rows": {"eight_bit_share": 0.0},
    "narrower": {"embed_dim": 10, "blocks": [{"heads": 1, "head_dim": 4, "mlp_hidden": 7}]},
    "fewer bits": {"activation_bits": 5, "table_bits": 6, "residual_bits": 13},
    "fewer patches": {"image_size": 6},
    "fewer classes": {"classes": 2},
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_first_models_program_runs_another_models_data(
    first: Generated, tmp_path: Path, what: str
) -> None:
    """Sources are the same, and so is the compiled simulation: it runs what gen --for writes."""
    model = write_model(tmp_path / "other.pt", seed=2, **OTHERS[what])
    second = generate(model, tmp_path / "second", Target.of_build(first.folder))
    sources = {path for path in first.plan.files if path.startswith("src/")} | {
        "accelerator.json",
        "hls_config.cfg",
    }
    assert {path: second.plan.files[path] for path in sources} == {p: first.plan.files[p] for p in sources}
    assert second.plan.files["data/weights0.bin"] != first.plan.files["data/weights0.bin"]

    graph = load_graph(second.folder)
    images = load_images(second.folder / "vectors" / "images.npz", graph).images
    values = {name: value.numpy() for name, value in graph.run(torch.from_numpy(images)).items()}
    layout = read_layout(second.folder / "program.json", graph)
    for packed in (False, True):
        program = compile_simulation(read_build(first.folder), packed).path
        trace = Simulator(program, second.folder / "data", layout.words).run(
            values[input_node(graph).name].astype(np.int8)
        )
        for tensor in layout.tensors:
            assert np.array_equal(
                tensor.entry.read(trace), tensor.entry.expected(values[tensor.entry.node])
            ), tensor


def test_the_testbench_says_where_logits_differ(first: Generated, tmp_path: Path) -> None:
    """The run that `make csim` does: logits against expected.bin, without a trace."""
    program = compile_simulation(read_build(first.folder)).path
    vectors = first.folder / "vectors"

    def run(expected: Path) -> tuple[int, list[str]]:
        command = [program, first.folder / "data", vectors / "images.bin", "-", "2", expected]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr.splitlines()

    assert run(vectors / "expected.bin") == (0, ["2 frames, logits equal"])
    logits = np.fromfile(vectors / "expected.bin", "<i2")
    assert len(logits) == 2 * CONFIG.classes
    logits[4] += 1
    logits.tofile(tmp_path / "wrong.bin")
    assert run(tmp_path / "wrong.bin") == (
        1,
        [f"image 1, logit 1: expected {logits[4]}, got {logits[4] - 1}", "2 frames, logits DIFFER"],
    )
    logits[:3].tofile(tmp_path / "short.bin")
    assert run(tmp_path / "short.bin") == (
        2,
        [f"{tmp_path / 'short.bin'}: expected 6 values of 2 bytes, found 3"],
    )


@pytest.mark.parametrize("fixture", ["first", "rtl"])
def test_images_are_taken_ahead_and_found_on_chip(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Six frames in one process: two of three take the next one's image."""
    project: Generated = request.getfixturevalue(fixture)
    np.savez(tmp_path / "images.npz", images=random_images(load_graph(project.folder), 6, seed=3))
    assert run_csim(project.folder, data=tmp_path / "images.npz", jobs=1).passed

    broken = Path(shutil.copytree(project.folder, tmp_path / "broken"))
    engine = broken / "src" / "kernels" / "engine.hpp"
    text = engine.read_text()
    assert text.count("image_layer = d;") == 1
    engine.write_text(text.replace("image_layer = d;", "image_layer = d, image_layer.k = 0;"))
    found = run_csim(broken, data=tmp_path / "images.npz", jobs=1).first
    assert found is not None and (found.tensor.unit, found.image) == ("load_image", 1)


def test_an_accelerator_that_takes_no_image_ahead_says_so(tmp_path: Path) -> None:
    target = Target.on_board(tile=TILE)
    model = write_model(tmp_path / "model.pt")
    config = generate(model, tmp_path / "first", target).program.config.model_copy(
        update={"image_ahead": False}
    )
    project = generate(model, tmp_path / "build", dataclasses.replace(target, config=config))
    header = project.plan.files["src/top.hpp"].decode()
    assert "constexpr bool IMAGE_AHEAD = false;" in header
    assert (
        "0 switches that\n//                 off, and is the only value that this accelerator allows"
        in header
    )
    assert run_csim(project.folder, jobs=1).passed


def test_program_json_describes_every_descriptor(first: Generated) -> None:
    layers = json.loads(first.plan.files["program.json"])["layers"]
    words = np.frombuffer(first.plan.files["data/program.bin"], "<u4").reshape(len(layers), -1)
    for layer, row, planned_layer in zip(layers, words.tolist(), first.program.layers, strict=True):
        assert layer["name"] == planned_layer.name
        assert layer["unit"] == planned_layer.descriptor.unit.name.lower()  # type: ignore[attr-defined]
        fields = [field.name for field in dataclasses.fields(planned_layer.descriptor)][1:]
        assert [layer["descriptor"][name] for name in fields] == row[1:]
        assert (layer["macs"], layer["atom_macs"]) == (planned_layer.macs, planned_layer.atom_macs)


@pytest.fixture(scope="module")
def rtl(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """A project whose engine is RTL."""
    folder = tmp_path_factory.mktemp("rtl")
    return generate(write_model(folder / "model.pt"), folder / "build", Target.on_board(tile=TILE, mac="rtl"))


def test_the_c_model_of_an_rtl_engine_is_equal_to_the_golden_graph(rtl: Generated) -> None:
    assert (rtl.program.config.mac, rtl.program.config.drain_rows) == ("rtl", 2)
    assert run_csim(rtl.folder).passed


def test_an_rtl_project_names_all_its_rtl_packages_first(rtl: Generated) -> None:
    entry = json.loads(rtl.plan.files["manifest.json"])["rtl"]
    named = [*entry["sources"], *entry["simulation_sources"], *entry["axi"]["sources"], entry["black_box"]]
    assert sorted(named) == sorted(path for path in rtl.plan.files if path.startswith("rtl/"))
    kernels = resources.files("qvit_hls") / "hls_kernels" / "rtl"
    for path in named:
        if (kernels / path.removeprefix("rtl/")).is_file():
            assert rtl.plan.files[path].endswith((kernels / path.removeprefix("rtl/")).read_bytes()), path
    packages = [path for path in entry["sources"] if path.endswith("_pkg.sv")]
    assert packages and entry["sources"][: len(packages)] == packages
    assert entry["sources"][0] == "rtl/qvit_pkg.sv"
    assert entry["sources"][-1] == f"rtl/{entry['top']}.sv"


def test_the_engine_has_the_accelerators_parameters(rtl: Generated) -> None:
    text = rtl.plan.files["rtl/qvit_engine_top.sv"].decode()
    given = dict(re.findall(r"\.([A-Z_]+)\((?:1'b)?(\w+)\)", text))
    config = rtl.program.config
    assert given.pop("FUNCTIONAL") == "FUNCTIONAL"
    assert {name: int(value) for name, value in given.items()} == {
        "T_N": config.tile_tokens,
        "T_M": config.tile_rows,
        "T_K": config.tile_depth,
        "A": config.activation_bits,
        "DSP_ROWS": config.dsp_rows,
        "PORTS": config.weight_ports,
        **{
            name.upper(): getattr(config, name)
            for name in (
                *("activation_depth", "digit_depth", "wide_depth", "weight_depth", "accumulator_bits"),
                *("drain_rows", "table_bits", "max_tokens", "max_channels", "image_pixels"),
            )
        },
        "HAS_SOFTMAX": config.softmax,
        "HAS_LAYER_NORM": config.layer_norm,
        "HAS_MEAN_TOKENS": config.mean_tokens,
        "HAS_NORM_SHIFTS": config.norm_shifts,
        "HAS_STREAM_OPERANDS": config.stream_operands,
    }
    engine = (resources.files("qvit_hls") / "hls_kernels" / "rtl" / "qvit_engine.sv").read_text()
    assert set(re.findall(r"^    parameter \w+ (\w+)", engine, re.MULTILINE)) == {*given, "FUNCTIONAL"}


def test_another_model_for_an_rtl_engine_changes_no_source(rtl: Generated, tmp_path: Path) -> None:
    model = write_model(tmp_path / "other.pt", seed=2, eight_bit_share=0.0)
    second = generate(model, tmp_path / "second", Target.of_build(rtl.folder))
    sources = [path for path in rtl.plan.files if path.startswith(("src/", "rtl/"))]
    for path in (*sources, "accelerator.json", "blackbox.json", "hls_config.cfg"):
        assert second.plan.files[path] == rtl.plan.files[path], path
    assert second.plan.files["data/weights0.bin"] != rtl.plan.files["data/weights0.bin"]


def test_a_project_for_hls_has_no_rtl(first: Generated) -> None:
    assert "rtl" not in json.loads(first.plan.files["manifest.json"])
    assert not [path for path in first.plan.files if "rtl" in path or "blackbox" in path]
    assert b"blackbox" not in first.plan.files["hls_config.cfg"] + first.plan.files["run_hls.tcl"]
