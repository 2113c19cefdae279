"""Augmentation: boxes follow the image, sizes obey the recipe, randomness obeys the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_convert

from dsct.data import Annotations, evaluation_transform, flip_transform, training_transform
from dsct.data.transforms import IMAGENET_MEAN, IMAGENET_STD

BOX = [100, 60, 220, 200]


def scene(size: tuple[int, int] = (640, 480), box: list[int] = BOX) -> tuple[Image.Image, dict[str, Any]]:
    """A black image with one white rectangle, and the rectangle as its only person."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    annotations = Annotations(None, np.array([box]), np.array([[0, 1]]), size)
    return Image.fromarray(pixels), annotations.to_target(3)


def white_box(image: torch.Tensor) -> torch.Tensor:
    """Box of the white pixels of a normalised image, cxcywh in [0, 1]."""
    bright = image[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0] > 0.5
    rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
    corners = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
    height, width = image.shape[1:]
    return box_convert(corners, "xyxy", "cxcywh") / torch.tensor([width, height, width, height])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (800, 1066)), ((480, 640), (1066, 800)), ((2000, 500), (333, 1333)), ((601, 601), (800, 800))],
)
def test_evaluation_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image, target = evaluation_transform()(*scene(size))
    assert tuple(image.shape) == (3, *expected)
    assert target["orig_size"].tolist() == [size[1], size[0]]
    torch.testing.assert_close(target["boxes"][0], white_box(image), atol=4e-3, rtol=0)


def test_evaluation_normalises_and_keeps_values_without_resize() -> None:
    image, target = evaluation_transform(short_side=None)(*scene())
    white = [(1 - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    torch.testing.assert_close(image[:, 100, 150], torch.tensor(white))
    assert type(image) is torch.Tensor
    assert type(target["boxes"]) is torch.Tensor
    torch.testing.assert_close(target["boxes"], torch.tensor([[160 / 640, 130 / 480, 120 / 640, 140 / 480]]))
    assert (target["image_id"], target["labels"].tolist()) == (3, [[0, 1]])


def test_tensor_and_pil_input_agree() -> None:
    picture, target = scene()
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    from_pil, _ = evaluation_transform(short_side=None)(picture, target)
    from_tensor, _ = evaluation_transform(short_side=None)(tensor, target)
    torch.testing.assert_close(from_pil, from_tensor)


def test_training_boxes_follow_the_picture() -> None:
    torch.manual_seed(0)
    transform = training_transform()
    shapes, seen, cut_away = set(), 0, 0
    for _ in range(40):
        image, target = transform(*scene())
        shapes.add(tuple(image.shape[1:]))
        assert min(image.shape[1:]) in range(480, 801) or max(image.shape[1:]) == 1333
        assert max(image.shape[1:]) <= 1333
        assert len(target["labels"]) == len(target["boxes"])
        if len(target["boxes"]):
            seen += 1
            torch.testing.assert_close(target["boxes"][0], white_box(image), atol=6e-3, rtol=0)
        else:
            cut_away += 1
    assert len(shapes) > 20
    assert seen > 30
    assert cut_away < 10


def test_crop_drops_people_outside() -> None:
    torch.manual_seed(0)
    transform = training_transform()
    counts = {len(transform(*scene((640, 480), [0, 0, 12, 12]))[1]["boxes"]) for _ in range(30)}
    assert counts == {0, 1}


def test_small_images_and_empty_targets_are_ordinary() -> None:
    torch.manual_seed(0)
    nobody = Annotations(None, np.zeros((0, 4)), np.zeros(0), (40, 30)).to_target(0)
    for _ in range(6):
        image, target = training_transform()(Image.new("RGB", (40, 30)), nobody)
        assert target["boxes"].shape == (0, 4)
        assert torch.isfinite(image).all()


def test_flip_mirrors_or_leaves() -> None:
    torch.manual_seed(0)
    centres = {round(float(flip_transform()(*scene())[1]["boxes"][0, 0]), 4) for _ in range(20)}
    assert centres == {0.25, 0.75}


def test_seed_fixes_the_augmentation() -> None:
    def once() -> torch.Tensor:
        torch.manual_seed(5)
        image, _ = training_transform()(*scene())
        return image

    assert torch.equal(once(), once())
