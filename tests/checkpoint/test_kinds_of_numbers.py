"""Weights of another kind of numbers than the model's, or beyond its range, are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

import dsct
from dsct.checkpoint import load_pretrained, save_released
from dsct.checkpoint.native import distinct_tensors, metadata_of
from dsct.sound_values import require_values_for
from tests.comparison import small

NAME = "transformer.level_embed"
OTHERS = [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.complex64]


@pytest.fixture
def model() -> dsct.DSCT:
    torch.manual_seed(0)
    return dsct.DSCT(small()).eval()


def written(model: dsct.DSCT, path: Path, tensor: torch.Tensor) -> Path:
    """A file of the model with another tensor in the place of one."""
    tensors = {name: each.detach().clone() for name, each in distinct_tensors(model).items()}
    tensors[NAME] = tensor
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path, metadata_of(model))
    else:
        save_released(model, path)
        torch.save({**torch.load(path, weights_only=False), "model": tensors}, path)
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_other_kinds_of_numbers(model: dsct.DSCT, tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    other = model.transformer.level_embed.detach().mul(9).to(dtype)
    path = written(model, tmp_path / f"model.{suffix}", other)
    sentence = f"^{path}: {NAME} must hold floating-point numbers, got {dtype}$"
    with pytest.raises(ValueError, match=sentence):
        dsct.load_model(path)
    fresh = dsct.DSCT(small())
    before = fresh.query_embed.weight.clone()
    with pytest.raises(ValueError, match=sentence):
        load_pretrained(fresh, path, verbose=False)
    assert torch.equal(fresh.query_embed.weight, before)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_numbers_that_become_infinite(model: dsct.DSCT, tmp_path: Path, suffix: str) -> None:
    large = model.transformer.level_embed.detach().double()
    large[0, :2] = torch.tensor([1e39, -1e300], dtype=torch.float64)
    path = written(model, tmp_path / f"model.{suffix}", large)
    sentence = f"^{path}: {NAME} must be finite as torch.float32, got torch.float64 beyond its range in 2 of "
    with pytest.raises(ValueError, match=sentence):
        dsct.load_model(path)
    with pytest.raises(ValueError, match=sentence):
        load_pretrained(dsct.DSCT(small()), path, verbose=False)
    large[0, :2] = torch.tensor([1e38, -1e-300], dtype=torch.float64)
    dsct.load_model(written(model, path, large))


def test_the_range_is_that_of_the_model(model: dsct.DSCT) -> None:
    state = {**model.state_dict(), NAME: model.transformer.level_embed.detach() * 0 + 1e5}
    load_pretrained(dsct.DSCT(small()).bfloat16(), state, verbose=False)
    with pytest.raises(ValueError, match=f"the state dict: {NAME} must be finite as torch.float16, got torch.float32"):
        load_pretrained(dsct.DSCT(small()).half(), state, verbose=False)


def test_counters_stay_integers(model: dsct.DSCT) -> None:
    own = {"steps": torch.tensor(3)}
    state = {**model.state_dict(), "backbone.0.body.bn1.num_batches_tracked": torch.tensor(3)}
    load_pretrained(dsct.DSCT(small()), state, verbose=False)
    require_values_for(own, {"steps": torch.tensor(4, dtype=torch.int32)}, "file")
    with pytest.raises(ValueError, match=r"file: steps must hold integers, got torch\.float32"):
        require_values_for(own, {"steps": torch.tensor(4.0)}, "file")
