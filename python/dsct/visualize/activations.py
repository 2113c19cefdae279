"""What the backbone responds to (paper, Fig. 7)."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput
from dsct.prediction.options import Options, lists_options
from dsct.prediction.predictor import Predictor
from dsct.prediction.shipped_weights import AnyModel
from dsct.visualize.drawing.figure import FONT, with_note
from dsct.visualize.drawing.image_axes import show_image
from dsct.visualize.drawing.panel_grid import panel_grid

COLORMAP = "viridis"
_CAPTION = (
    "Colour: mean absolute activation over the channels of a map, from its smallest value (dark blue) to its greatest "
    "(yellow); these are the two numbers above."
)


@lists_options
def draw_activations(
    model: AnyModel, image: ImageInput, *, level: int | None = None, ax: Axes | None = None, **options: Unpack[Options]
) -> Figure:
    """Draws where the feature maps of the backbone are active, over the image.

    Args:
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        image: anything `load_image` reads.
        level: number of the map, from 0, the finest; negative ones count from the coarsest. None draws the image and
            all maps.
        ax: draw one map into these axes, the coarsest unless `level` is given.
        **options: as in `dsct.predict`; only `short_side`, `long_side` and `device` matter here.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        ValueError: the backbone has no such level.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> figure = draw_activations(model, np.zeros((96, 128, 3), dtype=np.uint8), short_side=96)
        >>> len(figure.axes), figure.axes[3].get_title(loc="left").split(":")[0]
        (4, 'map of 4 x 3 cells')
    """
    predictor = Predictor(model, **options)
    loaded, features = predictor.feature_maps(image)
    maps = [_activation(one) for one in features]
    if level is not None and not -len(maps) <= level < len(maps):
        said = f" (map {level + 1} of {len(maps)})" if level >= 0 else ""
        raise ValueError(f"draw_activations: level must be in {-len(maps)}..{len(maps) - 1}, got {level}{said}")
    if ax is not None:
        _draw(ax, loaded, maps[-1 if level is None else level])
        return cast(Figure, ax.get_figure(root=True))
    shown = maps if level is None else [maps[level]]
    aspect = loaded.width / loaded.height
    columns = 2 if aspect >= 1 else 4
    figure, (first, *others) = panel_grid(1 + len(shown), columns, aspect, caption=with_note(_CAPTION, predictor.note))
    show_image(first, loaded)
    first.set_title("the image", fontsize=FONT, loc="left")
    for axes, activation in zip(others, shown, strict=True):
        _draw(axes, loaded, activation)
    return figure


def _activation(features: Tensor) -> NDArray[np.float32]:
    """(C, h, w) features -> (h, w). Absolute values: not every backbone ends in a ReLU."""
    return features.float().abs().mean(0).cpu().numpy()


def _draw(ax: Axes, image: Image.Image, activation: NDArray[np.float32]) -> None:
    show_image(ax, image.convert("L").convert("RGB"))
    width, height = image.size
    ax.imshow(activation, cmap=COLORMAP, alpha=0.65, extent=(0, width, height, 0), interpolation="bilinear")
    rows, columns = activation.shape
    span = f"{activation.min():.2g} to {activation.max():.2g}"
    ax.set_title(f"map of {columns} x {rows} cells: {span}", fontsize=FONT, loc="left")
