"""Damaged files: weights and images whose bytes were changed load, or are refused by an error that names the file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

import dsct
from dsct.checkpoint import read_checkpoint
from dsct.config import DSCTConfig
from dsct.data.image_io import load_image, upright_size
from tests.ops.random_tensors import cases

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


@cache
def encoded_image(kind: str) -> bytes:
    made = Image.effect_mandelbrot((23, 17), (-2, -1, 1, 1), 20).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    made.save(file, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
    return file.getvalue()


@cache
def weights(kind: str) -> bytes:
    tensors = {"a.weight": torch.rand(3, 2), "a.bias": torch.rand(3).half(), "count": torch.tensor(7)}
    if kind == "safetensors":
        return save(tensors, {"dsct_config": DSCTConfig.tiny().to_json()})
    file = io.BytesIO()
    torch.save({"model": tensors}, file)
    return file.getvalue()


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """Some bytes changed, taken out or put in, most of them near the beginning, and perhaps an end that is missing."""
    damage = bytearray(content)
    for _ in range(draw(st.integers(0, 6))):
        within = draw(st.sampled_from([16, 200, len(content)]))
        position = draw(st.integers(0, min(within, len(damage))))
        replaced = draw(st.sampled_from([0, 1, 1, 1, 1, 2, 8]))
        damage[position : position + replaced] = draw(
            st.one_of(
                st.binary(min_size=replaced, max_size=replaced), st.sampled_from([b"", b"\xff", b"\x00", b"\x7f"])
            )
        )
    return bytes(damage[: draw(st.one_of(st.just(len(damage)), st.integers(0, len(damage))))])


def loaded(read: Callable[[], Any], errors: Any, text: str) -> Any:
    """What was read, or None after one of the errors, in which the text occurs."""
    error: Exception
    try:
        return read()
    except errors as caught:
        error = caught
    assert re.search(text, str(error)), repr(error)
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's and torch's remarks about the damage
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@cases(150)
@given(st.data())
def test_damaged_weights_load_or_name_the_file(folder: Path, kind: str, data: Any) -> None:
    file = folder / f"weights.{kind}"
    file.write_bytes(data.draw(damaged(weights(kind))))
    checkpoint = loaded(lambda: read_checkpoint(file), ValueError, str(file))
    if checkpoint is not None:
        for tensor in checkpoint.tensors.values():
            assert tensor.numel() * tensor.element_size() <= 1000
            tensor.clone()


@cases(20)
@given(st.data())
def test_a_damaged_model_is_refused_or_whole(folder: Path, data: Any) -> None:
    file = folder / "model.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dsct.save_model(dsct.DSCT(DSCTConfig.tiny(enc_layers=1, dec_layers=1, num_context_queries=0)), file)
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    model = loaded(lambda: dsct.load_model(file), ValueError, str(file))
    if model is not None:
        assert model(torch.zeros(1, 3, 32, 32))["pred_boxes"].shape[-1] == 4


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", FORMATS)
@cases(80)
@given(st.data())
def test_damaged_images_load_or_are_refused(folder: Path, kind: str, data: Any) -> None:
    file = folder / f"image.{kind.lower()}"
    file.write_bytes(data.draw(damaged(encoded_image(kind))))
    for read in (load_image, upright_size):
        found = loaded(lambda read=read: read(file), (OSError, ValueError), ".")
        if found is not None:
            assert found.mode == "RGB" if isinstance(found, Image.Image) else min(found) > 0


def test_the_undamaged_files_load(folder: Path) -> None:
    for kind in FORMATS:
        (folder / kind).write_bytes(encoded_image(kind))
        assert load_image(folder / kind).size in ((23, 17), (17, 23))
    for kind in ("safetensors", "pt"):
        (folder / f"sound.{kind}").write_bytes(weights(kind))
        assert len(read_checkpoint(folder / f"sound.{kind}").tensors) == 3
    assert json.loads(read_checkpoint(folder / "sound.safetensors").metadata["dsct_config"])
