"""Figure 7: the maps of the backbone over the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import dsct
from dsct.data.image_io import load_image
from dsct.data.transforms import evaluation_transform
from dsct.visualize import draw_activations
from tests.visualize.traced_model import HEIGHT, IMAGE, WIDTH, small_model


def test_each_map_is_the_mean_activation_of_the_prepared_image() -> None:
    model = small_model()
    figure = draw_activations(model, IMAGE)
    pixels, _ = evaluation_transform(64, 200)(load_image(IMAGE), {"boxes": torch.zeros(0, 4)})
    with torch.no_grad():
        maps = model.backbone[0](pixels[None])
    first, *others = figure.axes
    assert len(first.images) == 1
    assert len(others) == len(maps) == 3
    for ax, features in zip(others, maps, strict=True):
        drawn = ax.images[-1]
        np.testing.assert_allclose(drawn.get_array(), features[0].abs().mean(0), rtol=1e-5)
        assert drawn.get_extent() == [0, WIDTH, HEIGHT, 0]
        rows, columns = features.shape[-2:]
        assert ax.get_title(loc="left").startswith(f"map of {columns} x {rows} cells")


@pytest.mark.parametrize(("level", "cells"), [(0, "12 x 8"), (-1, "3 x 2"), (None, "3 x 2")])
def test_one_map_into_given_axes(level: int | None, cells: str) -> None:
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    assert draw_activations(small_model(), IMAGE, level=level, ax=ax) is figure
    assert f"map of {cells} cells" in ax.get_title(loc="left")
    assert not other.images
    assert figure.axes == [ax, other]


class Edges(nn.Module):
    """Somebody's backbone, with signs and a map per stride."""

    num_channels = (2, 2, 2)

    def forward(self, images: Any) -> Any:
        means = [nn.functional.avg_pool2d(images.mean(1, keepdim=True), stride) for stride in (8, 16, 32)]
        return [torch.cat([mean, -mean], 1) for mean in means]


def test_sizes_count_where_a_backbone_has_signs() -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny(backbone="custom"), backbone=Edges())
    left = np.full((64, 96, 3), 124, np.uint8)  # near ImageNet's mean
    left[:, :32] = 0
    activation = draw_activations(model, left, level=2, short_side=64).axes[1].images[-1].get_array()
    assert activation is not None
    assert activation.shape == (2, 3)
    assert (activation[:, 0] > 10 * activation[:, 1]).all()


def test_runs_in_evaluation_mode_and_leaves_the_model_in_its_own() -> None:
    model = small_model().train()
    draw_activations(model, IMAGE)
    assert all(module.training for module in model.modules())


def test_rejects() -> None:
    with pytest.raises(ValueError, match=r"level must be in -3\.\.2, got 3"):
        draw_activations(small_model(), IMAGE, level=3)
    with pytest.raises(TypeError, match="image must be a path"):
        draw_activations(small_model(), 5)  # type: ignore[arg-type]
