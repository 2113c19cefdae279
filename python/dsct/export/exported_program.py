"""The model as a graph of operators (``torch.export``), of any batch and image size."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dsct.checkpoint.files import DIGEST_KEY
from dsct.checkpoint.native import metadata_of
from dsct.complete_files import replaced_when_complete
from dsct.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from dsct.export.standard_operators import standard_operators as table_of_standard_operators
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view

INPUT_NAMES = ("images", "mask")
OUTPUT_NAMES = ("pred_logits", "pred_boxes")
_LARGEST = 2**16  # images of a batch, and pixels of a side

Size = tuple[int, int, int]
"""Number of images, height and width."""


def to_exported_program(
    model: DSCT, *, mask: bool = True, standard_operators: bool = False, size: Size | None = None
) -> ExportedProgram:
    """Records the model in evaluation mode.

    Args:
        model: on any device, in any floating-point dtype; it is not changed.
        mask: whether the program takes a padding mask with the images, as batches of different sizes need.
        standard_operators: express deformable attention with ``grid_sample``, so that the program needs only torch.
            Otherwise it calls ``torch.ops.dsct``, which is faster and exists after ``import dsct``.
        size: (B, H, W) of the only images that the program takes; None leaves all three free. Some runtimes need
            fixed sizes, others are faster with them.

    Returns:
        A program from images (B, 3, H, W) and, with `mask`, a mask (B, H, W) bool, True = padding, to logits (B, N, C)
        and boxes (B, N, 4). Without `size` B is free; H and W are free from one pixel more than the stride of the
        coarsest level (65 with four levels) to 65,536.

    Raises:
        TypeError: `model` is not a :class:`dsct.DSCT`.
        ValueError: `size` is not three positive integers.

    Example:
        >>> import torch, dsct
        >>> program = to_exported_program(dsct.DSCT(dsct.DSCTConfig.tiny()))
        >>> logits, boxes = program.module()(torch.rand(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool))
        >>> logits.shape, boxes.shape
        (torch.Size([1, 8, 7]), torch.Size([1, 8, 4]))
    """
    require_model(model, "to_exported_program")
    parameter = next(model.parameters())
    stride = _coarsest_stride(model)
    # No side of any level may be 1 where it is free: the recorder would treat it as a constant.
    batch, height, width = (2, 3 * stride, 4 * stride) if size is None else _checked(size)
    images = torch.zeros(batch, 3, height, width, dtype=parameter.dtype, device=parameter.device)
    arguments: tuple[Tensor, ...] = (images,)
    if mask:
        arguments += (torch.zeros(batch, height, width, dtype=torch.bool, device=parameter.device),)
    sizes = _free_sizes(stride)[: len(arguments)] if size is None else None
    with torch.no_grad(), deprecations_of_torch_ignored():
        program = torch.export.export(_LastLayer(evaluation_view(model)), arguments, dynamic_shapes=sizes)
        return program.run_decompositions(table_of_standard_operators()) if standard_operators else program


def save_exported_program(
    model: DSCT,
    path: str | os.PathLike[str],
    *,
    mask: bool = True,
    standard_operators: bool = False,
    size: Size | None = None,
) -> None:
    """Writes the model for ``torch.export.load``, whose ``extra_files`` reads the metadata.

    Args:
        model: as in :func:`to_exported_program`.
        path: the file, ending in ``.pt2``; missing folders are created.
        mask: as in :func:`to_exported_program`.
        standard_operators: as in :func:`to_exported_program`.
        size: as in :func:`to_exported_program`.

    Raises:
        TypeError: `model` is not a :class:`dsct.DSCT`.
        ValueError: `size` is not three positive integers.
        OSError: the file cannot be written.

    Example:
        >>> import dsct, pathlib, tempfile, torch
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.pt2"
        >>> save_exported_program(dsct.DSCT(dsct.DSCTConfig.tiny()), file, mask=False)
        >>> names = {"dsct_class_names": ""}
        >>> program = torch.export.load(file, extra_files=names)
        >>> names["dsct_class_names"][:8]
        '["Anger"'
    """
    program = to_exported_program(model, mask=mask, standard_operators=standard_operators, size=size)
    # Through memory: torch reports a full disk as an internal error without the reason.
    memory = io.BytesIO()
    torch.export.save(program, memory, extra_files=metadata(model))
    with replaced_when_complete(path) as partial:
        partial.write_bytes(memory.getbuffer())


@contextmanager
def deprecations_of_torch_ignored() -> Iterator[None]:
    """Torch's exporters call functions that torch itself has deprecated."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category, module=r"torch\.|copyreg")
        yield


def metadata(model: DSCT) -> dict[str, str]:
    """What a program without dsct needs, as JSON: the metadata of the weights file, class names and normalisation."""
    return {
        **{key: text for key, text in metadata_of(model).items() if key != DIGEST_KEY},
        "dsct_class_names": json.dumps(model.config.names),
        "dsct_normalization": json.dumps({"mean": IMAGENET_MEAN, "std": IMAGENET_STD}),
    }


def require_model(model: object, function: str) -> None:
    """Raises a TypeError for anything but a :class:`dsct.DSCT`."""
    if not isinstance(model, DSCT):
        raise TypeError(f"{function}: model must be a dsct.DSCT, got {type(model).__name__}")


class _LastLayer(nn.Module):
    """A program returns only tensors, by position."""

    def __init__(self, model: DSCT) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output = self.model(images, mask)
        return output["pred_logits"], output["pred_boxes"]


def _checked(size: object) -> Size:
    # Not isinstance(…, int) alone, which takes True.
    if (
        not isinstance(size, (tuple, list))
        or len(size) != 3
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError(f"export: size must be three positive integers, (batch, height, width), got {size!r}")
    return size[0], size[1], size[2]


def _free_sizes(stride: int) -> tuple[dict[int, Dim], dict[int, Dim]]:
    """Of images and mask."""
    batch, height, width = (
        Dim(name, min=least, max=_LARGEST)
        for name, least in (("batch", 1), ("height", stride + 1), ("width", stride + 1))
    )
    return {0: batch, 2: height, 3: width}, {0: batch, 1: height, 2: width}


def _coarsest_stride(model: DSCT) -> int:
    """Pixels per cell of the last level: the backbone ends at 32, and each further level halves the map."""
    return int(2 ** (2 + max(model.config.num_feature_levels, 3)))
