"""The model that Rust programs run, with weights from a file, equals the walk through Python's modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dsct
from dsct import _dsct
from dsct.post_process import PostProcess
from tests.comparison import assert_same, padded_images, small
from tests.model.test_tracing import VARIANTS, model_of

SIZES = torch.tensor([[480, 640], [333, 500]])
#: Heights and widths: enlarged, reduced, turned, by the long side, and as they are.
PHOTOS = {
    "enlarged": (48, 64, 80, 133),
    "reduced": (120, 90, 64, 107),
    "by the long side": (40, 160, 80, 133),
    "kept": (37, 51, None, 1333),
}


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "whole"])
def test_the_whole_model_equals_the_modules(tmp_path: Path, overrides: dict[str, Any], padded: bool) -> None:
    """Logits and boxes of every layer in float64; classes, scores and boxes of people in pixels."""
    model, (images, mask) = model_of(**overrides).eval(), padded_images()
    file = tmp_path / "model.safetensors"
    dsct.save_model(model, file)
    with torch.no_grad():
        expected = model(images, mask if padded else None)
    logits, boxes, earlier = _dsct.standalone_model(str(file), images, mask if padded else None)
    aux = [{"pred_logits": one, "pred_boxes": other} for one, other in earlier]
    found = {"pred_logits": logits, "pred_boxes": boxes, "aux_outputs": aux}
    assert_same(found, expected, 1e-9)
    post_process = PostProcess(model.config, score_threshold=-1e6)
    for one, other in zip(post_process(found, SIZES), post_process(expected, SIZES), strict=True):
        assert len(one["boxes"]) == len(other["boxes"]) > 0
        assert_same(one, other, 1e-6)


@pytest.mark.parametrize("overrides", [{"backbone": "resnet50"}, {"backbone": "resnet34", "aggregation": "split"}])
def test_larger_backbones_in_float32(tmp_path: Path, overrides: dict[str, Any]) -> None:
    model, (images, mask) = dsct.DSCT(small(**overrides)).eval(), padded_images(dtype=torch.float32)
    dsct.save_model(model, tmp_path / "model.safetensors")
    logits, boxes, _ = _dsct.standalone_model(str(tmp_path / "model.safetensors"), images, mask)
    with torch.no_grad():
        expected = model(images, mask)
    assert_same([logits, boxes], [expected["pred_logits"], expected["pred_boxes"]], 1e-5)


def test_a_file_of_the_wrong_kind_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        _dsct.standalone_model(str(tmp_path / "model.safetensors"), torch.zeros(1, 3, 32, 32), None)


@pytest.mark.parametrize(("height", "width", "short_side", "long_side"), PHOTOS.values(), ids=PHOTOS.keys())
@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA"])
def test_a_photo_is_prepared_alike(
    tmp_path: Path, mode: str, height: int, width: int, short_side: int | None, long_side: int
) -> None:
    """Of a PNG, whose pixels every reader agrees on."""
    random = np.random.default_rng(height)
    colours = Image.fromarray(random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8))
    image = colours.resize((width, height)).convert(mode)
    image.save(tmp_path / "photo.png")
    nobody = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    expected, _ = dsct.data.evaluation_transform(short_side, long_side)(image.convert("RGB"), nobody)
    found = _dsct.standalone_photo(str(tmp_path / "photo.png"), short_side, long_side)
    assert found.shape == (1, *expected.shape)
    assert_same(found[0], expected, 1e-6)
