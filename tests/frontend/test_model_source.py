"""Models of timm and transformers with weights from a file: found, checked, or refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from float_models import transformers_model, with_random_weights
from safetensors.torch import load_file, save_file
from torch import nn

from qvit_hls.errors import QvitError
from qvit_hls.frontend.model_source import load_model

pytestmark = pytest.mark.usefixtures("importable_timm")

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def tiny(importable_timm: object) -> nn.Module:
    import timm

    return with_random_weights(timm.create_model(TINY, pretrained=False))


@pytest.fixture(scope="module")
def tiny_weights(tiny: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(tiny.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def saved_deit(importable_timm: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    model, _ = transformers_model("DeiTForImageClassificationWithTeacher")
    folder = tmp_path_factory.mktemp("models") / "deit"
    model.save_pretrained(folder)  # type: ignore[operator]
    return model, folder


def problems_of(source: str, weights: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        load_model(source, weights)
    return error.value.problems


def test_a_timm_model_has_the_weights_of_the_file(tiny: nn.Module, tiny_weights: Path) -> None:
    loaded = load_model(f"timm:{TINY}", tiny_weights)
    assert loaded.name == TINY and loaded.image_shape == (3, 224, 224)
    assert not loaded.module.training
    expected = tiny.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.module.state_dict().items())


def test_another_number_of_classes_and_half_precision_are_taken(tiny: nn.Module, tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in tiny.state_dict().items()}
    tensors["head.weight"], tensors["head.bias"] = torch.ones(7, 192).half(), torch.zeros(7).half()
    save_file(tensors, tmp_path / "half.safetensors")
    loaded = load_model(f"timm:{TINY}", tmp_path / "half.safetensors", classes=7)
    assert loaded.module.state_dict()["head.weight"].equal(torch.ones(7, 192))


def test_a_folder_of_transformers_brings_its_own_weights(saved_deit: tuple[nn.Module, Path]) -> None:
    model, folder = saved_deit
    loaded = load_model(str(folder))
    assert type(loaded.module).__name__ == "DeiTForImageClassificationWithTeacher"
    assert loaded.name == "deit" and loaded.image_shape == (3, 32, 32)
    expected = model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.module.state_dict().items())
    assert load_model(f"hf:{folder}", folder / "model.safetensors").image_shape == (3, 32, 32)


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    """A folder as timm writes it for the hub."""
    import timm
    from timm.models import save_for_hf

    arguments = {"num_classes": 4, "img_size": 32, "in_chans": 1, "embed_dim": 12, "depth": 1, "num_heads": 2}
    model = timm.create_model(TINY, **arguments)
    save_for_hf(model, tmp_path / "own", model_args=arguments, safe_serialization=True)
    return tmp_path / "own"


def change(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")


def test_a_folder_of_timm_brings_its_arguments_and_weights(timm_folder: Path) -> None:
    loaded = load_model(str(timm_folder))
    assert (loaded.name, loaded.image_shape, loaded.classes) == ("own", (1, 32, 32), 4)
    assert loaded.mean == (0.5,) and loaded.std == (0.5,)
    stored = load_file(timm_folder / "model.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in loaded.module.state_dict().items())


def test_the_example_s_folder_is_a_model_for_a_process_of_its_own() -> None:
    """Whatever build torchvision is of: no other module has prepared anything."""
    code = (
        "import sys; from qvit_hls.frontend.model_source import load_model; m = load_model(sys.argv[1]);"
        "print(m.image_shape, m.classes, m.mean, m.std)"
    )
    folder = Path(__file__).parents[2] / "examples" / "glyphs" / "timm_vit"
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.returncode) == ("(1, 64, 64) 67 (0.5,) (0.5,)\n", 0), done.stderr


def test_a_folder_of_timm_cannot_make_timm_read_other_files(timm_folder: Path) -> None:
    path = timm_folder / "config.json"
    change(timm_folder, model_args={"checkpoint_path": "other.pth", "pretrained_cfg": {"file": "other.pth"}})
    assert problems_of(str(timm_folder)) == (
        f"{path}: model_args has checkpoint_path, which is no argument of a model.",
        f"{path}: model_args has pretrained_cfg, which is no argument of a model.",
    )
    change(timm_folder, architecture="hf-hub:somebody/something")
    (problem,) = problems_of(str(timm_folder))
    assert problem.startswith(f"{path}: timm has no model hf-hub:somebody/something.")
    change(timm_folder, architecture=TINY, model_args=[1])
    assert problems_of(str(timm_folder)) == (f"{path}: model_args should be arguments by name.",)
    change(timm_folder, model_args={"wings": 2})
    (problem,) = problems_of(str(timm_folder))
    assert problem.startswith(f"{path} does not describe a model of timm: ") and "wings" in problem
    path.write_text("{", encoding="utf-8")
    (problem,) = problems_of(str(timm_folder))
    assert problem.startswith(f"{path} cannot be read as JSON (")


def test_a_model_without_a_classifier_is_refused(tmp_path: Path) -> None:
    import timm

    name = "vit_small_patch14_reg4_dinov2"
    save_file(timm.create_model(name, depth=12).state_dict(), tmp_path / "features.safetensors")
    assert problems_of(f"timm:{name}", tmp_path / "features.safetensors") == (
        f"timm:{name} has no classifier; say how many classes its weights are for (--classes), or name a "
        "model with one.",
    )


def test_an_unknown_timm_name_gives_the_nearest() -> None:
    (problem,) = problems_of("timm:deit_tiny_patch16_225")
    assert problem.startswith(
        "timm has no model deit_tiny_patch16_225. Nearest names: deit_tiny_patch16_224, "
    )


def test_names_that_cannot_be_meant(tmp_path: Path) -> None:
    forms = "a model is timm:NAME, hf:NAME, or a folder with a config.json of transformers or timm."
    assert problems_of("models/deit") == (f"There is no folder models/deit; {forms}",)
    assert problems_of("keras:vit") == (f"The model keras:vit cannot be found; {forms}",)
    assert problems_of("timm:") == (f"The model timm: cannot be found; {forms}",)
    assert problems_of(str(tmp_path)) == (f"The folder {tmp_path} has no config.json; {forms}",)
    assert problems_of("hf:nobody/never-published") == (
        "hf:nobody/never-published is neither a folder nor in Hugging Face's local cache, and nothing is "
        "downloaded; give a folder with its config.json.",
    )


def test_without_weights_the_error_says_what_to_give(tmp_path: Path) -> None:
    wanted = (
        "has no weights, and nothing is downloaded; name a safetensors file with all of its tensors "
        "(--weights)."
    )
    assert problems_of(f"timm:{TINY}") == (f"timm:{TINY} {wanted}",)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert problems_of(str(tmp_path)) == (f"{tmp_path} {wanted}",)
    missing = tmp_path / "none.safetensors"
    assert problems_of(f"timm:{TINY}", missing) == (f"There is no weights file {missing}.",)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save({"head.weight": torch.zeros(2)}, path)
    (problem,) = problems_of(f"timm:{TINY}", path)
    assert problem.startswith(f"{path} is not a safetensors file, or it is damaged (")
    assert problem.endswith("); other formats may contain code and are not read.")


def test_a_configuration_that_is_no_classifier_is_refused(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such"}), encoding="utf-8")
    (problem,) = problems_of(str(tmp_path), tiny_weights)
    start = f"{tmp_path / 'config.json'} does not describe an image classifier of transformers: "
    assert problem.startswith(start)


def test_every_tensor_that_does_not_fit_is_named(tiny_weights: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_weights)
    del tensors["norm.bias"]
    tensors["head.weight"] = torch.zeros(10, 192)
    tensors["ema.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "w.safetensors")
    assert problems_of(f"timm:{TINY}", tmp_path / "w.safetensors") == (
        f"The weights {tmp_path / 'w.safetensors'} do not fit timm:{TINY}.",
        "Tensor norm.bias is missing; it should be float32 of shape [192].",
        "Tensor head.weight is float32 of shape [10, 192]; it should be float32 of shape [1000, 192].",
        "Tensor ema.weight does not belong to the model that the configuration describes.",
    )


def test_problems_beyond_ten_are_counted(tiny_weights: Path, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in load_file(tiny_weights).items() if "blocks.3" not in name}
    save_file(tensors, tmp_path / "w.safetensors")
    problems = problems_of(f"timm:{TINY}", tmp_path / "w.safetensors")
    assert len(problems) == 12 and problems[-1] == "And 2 more tensors are wrong."


def test_tensors_that_do_not_fit_a_model_of_transformers_are_named(
    saved_deit: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    _, folder = saved_deit
    tensors = load_file(folder / "model.safetensors")
    del tensors["distillation_classifier.bias"]
    tensors["cls_classifier.weight"] = torch.zeros(6, 24)
    tensors["pooler"] = torch.zeros(2)
    tensors["deit.embeddings.cls_token"][0, 0, 0] = 2
    save_file(tensors, tmp_path / "w.safetensors")
    assert problems_of(str(folder), tmp_path / "w.safetensors") == (
        f"The weights {tmp_path / 'w.safetensors'} do not fit {folder}.",
        "Tensor distillation_classifier.bias is missing.",
        "Tensor cls_classifier.weight has shape [6, 24]; it should be [5, 24].",
        "Tensor pooler does not belong to the model that the configuration describes.",
    )


def test_values_that_are_no_numbers_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_weights)
    tensors["norm.bias"][3] = torch.nan
    save_file(tensors, tmp_path / "w.safetensors")
    assert problems_of(f"timm:{TINY}", tmp_path / "w.safetensors")[1:] == (
        "Tensor norm.bias has NaN or infinite values; all should be finite.",
    )
