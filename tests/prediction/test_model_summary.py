"""What a model consists of, against torchvision's network, the paper's numbers and sums made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.config import DSCTConfig
from dsct.prediction.model_summary import ModelSummary, Part


def part(found: ModelSummary, name: str) -> Part:
    return next(part for part in found.parts if part.name == name)


@pytest.fixture(scope="module")
def resnet50() -> ModelSummary:
    return dsct.summary(dsct.DSCT(DSCTConfig.paper_emotic(backbone="resnet50")), image_size=(224, 224))


def test_parameters_are_those_of_the_paper(resnet50: ModelSummary) -> None:
    """39.83 M are trained, 40.06 M are there; stem and first stage are frozen."""
    assert round(resnet50.trainable / 1e6, 2) == 39.83
    assert round(resnet50.parameters / 1e6, 2) == 40.06


def test_a_resnet_50_takes_4_1_billion_multiply_adds(resnet50: ModelSummary) -> None:
    body = torchvision.models.resnet50(weights=None).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        body(torch.zeros(1, 3, 224, 224))
    classifier = 2048 * 1000
    backbone = part(resnet50, "backbone").multiply_adds
    assert backbone == counter.get_total_flops() // 2 - classifier
    assert round(backbone / 1e9, 1) == 4.1


def test_encoder_and_decoder_are_the_sum_of_their_products(resnet50: ModelSummary) -> None:
    width, feed_forward, heads, samples, layers = 256, 1024, 8, 4 * 4, 6
    tokens = sum(side**2 for side in (28, 14, 7, 4))
    queries = 300 + 4
    projections = 2 * width * width + width * heads * samples * 3  # value and output; offsets (x, y) and weights
    sampling = 5 * samples * width  # four corners and the weight, for each of D channels of M heads
    encoder = layers * tokens * (projections + sampling + 2 * width * feed_forward)
    assert part(resnet50, "encoder").multiply_adds == encoder
    cross = tokens * width * width + queries * (projections - width * width + sampling)
    attention = queries * 4 * width * width + 2 * queries * queries * width
    least = layers * (cross + attention + queries * 2 * width * feed_forward)
    fusion = part(resnet50, "decoder").multiply_adds - least
    # Products of 4 subjects with 300 contexts, and their sums.
    assert 0 < fusion <= layers * 3 * 4 * 300 * width


def test_a_larger_image_takes_more_and_has_the_same_parameters() -> None:
    model = dsct.DSCT(DSCTConfig.tiny())
    small, large = (dsct.summary(model, image_size=size) for size in ((128, 128), (256, 256)))
    assert small.parameters == large.parameters
    assert part(large, "backbone").multiply_adds == 4 * part(small, "backbone").multiply_adds
    assert large.flops == 2 * large.multiply_adds


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        (None, (1066, 800)),
        ({"short_side": 96, "long_side": 1333}, (128, 96)),
        ({"short_side": 96, "long_side": 100}, (100, 75)),
        ({"short_side": None, "long_side": 1333}, (640, 480)),
    ],
)
def test_the_size_is_that_to_which_the_model_resizes(preprocess: Any, expected: tuple[int, int]) -> None:
    model = dsct.DSCT(DSCTConfig.tiny())
    model.preprocess = preprocess
    assert dsct.summary(model).image_size == expected


def test_counting_changes_nothing() -> None:
    model = dsct.DSCT(DSCTConfig.tiny()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dsct.summary(model, image_size=(128, 96))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(type(tensor) is torch.nn.Parameter for tensor in model.parameters())


@pytest.mark.parametrize("size", [(128,), (16, 96), (128.0, 96), ("128", 96)])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="summary: image_size must be width and height of at least 32 pixels, got"):
        dsct.summary(dsct.DSCT(DSCTConfig.tiny()), image_size=size)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"summary: model must be a dsct\.DSCT or a path, got Linear"):
        dsct.summary(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["info", *map(str, arguments)], env={"COLUMNS": "80"})
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_says_the_same(tmp_path: Path) -> None:
    model, path = dsct.DSCT(DSCTConfig.tiny(multi_label=True, num_classes=3)), tmp_path / "model.safetensors"
    model.preprocess, model.thresholds = {"short_side": 96, "long_side": 1333}, [0.25, 0.5, 0.75]
    dsct.save_model(model, path)
    about = json.loads(run(path, "--json"))
    found = dsct.summary(path)
    assert {name: value for name, value in about.items() if name not in ("file", "sha256")} == json.loads(
        json.dumps(found.to_dict())
    )
    assert (about["image_size"], about["short_side"], about["thresholds"]) == ([128, 96], 96, [0.25, 0.5, 0.75])
    assert about["config"] == json.loads(model.config.to_json())
    shown = run(path)
    assert str(found) in shown
    assert about["sha256"] in "".join(line.strip() for line in shown.splitlines())
    assert all(
        text in shown for text in ("0.25, 0.5, 0.75", "short side 96, long side at most 1333", "class 0, class 1")
    )
    assert json.loads(run(path, "--json", "--image-size", "64x64"))["image_size"] == [64, 64]
    assert "--image-size must be WIDTHxHEIGHT" in run(path, "--image-size", "64", code=1)
    assert json.loads(run("--json"))["torch"] == torch.__version__


def test_the_command_says_what_a_foreign_file_is(tmp_path: Path) -> None:
    tensors = {"transformer.level_embed": torch.ones(4, 8), "transformer.enc_out_class_embed.bias": torch.ones(2)}
    torch.save({"model": tensors}, tmp_path / "dino.pth")
    about = json.loads(run(tmp_path / "dino.pth", "--json"))
    assert about["kind"] == "DINO, recognised by transformer.enc_out_class_embed.bias"
    assert about["tensors"] == "2 with 34 numbers"


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 a photograph", b"\x89PNG\r\n", b"plain text"])
def test_a_photograph_is_no_weights_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    expected = (
        "photo.jpg is no readable PyTorch file of plain tensors: it begins neither as safetensors nor as PyTorch's do"
    )
    assert expected in " ".join(run(tmp_path / "photo.jpg", code=1).split())
    with pytest.raises(ValueError, match="begins neither as safetensors nor as PyTorch's do"):
        dsct.load_model(tmp_path / "photo.jpg")
