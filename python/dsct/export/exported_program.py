"""The model as a graph of operators (``torch.export``), of any batch and image size."""

from __future__ import annotations

import contextlib
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
from dsct.export.arguments import LARGEST, Size, checked_size, example_images, require_destination, require_model
from dsct.export.standard_operators import standard_operators as table_of_standard_operators
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view

INPUT_NAMES = ("images", "mask")
OUTPUT_NAMES = ("pred_logits", "pred_boxes")


def to_exported_program(
    model: DSCT, *, mask: bool = True, standard_operators: bool = False, size: Size | None = None
) -> ExportedProgram:
    """Records the model in evaluation mode.

    Args:
        model: on any device, in any floating-point dtype; it is not changed.
        mask: whether the program takes a padding mask with the images, as batches of different sizes need.
        standard_operators: express deformable attention with ``grid_sample``, so that the program needs only torch.
            Otherwise it calls ``torch.ops.dsct``, which is faster and exists after ``import dsct``.
        size: (B, H, W) of the only images that the program takes, each at most 65,536; None leaves all three free.
            Some runtimes need fixed sizes, others are faster with them.

    Returns:
        A program from images (B, 3, H, W) and, with `mask`, a mask (B, H, W) bool, True = padding, to logits (B, N, C)
        and boxes (B, N, 4). Without `size` B is free; H and W are free from one pixel more than the stride of the
        coarsest level (65 with four levels) to 65,536.

    Raises:
        TypeError: `model` is not a :class:`dsct.DSCT`, or `mask` or `standard_operators` no bool.
        ValueError: `size` is not three positive integers, or too large, or `model` is on the device ``meta``.

    Example:
        >>> import torch, dsct
        >>> program = to_exported_program(dsct.DSCT(dsct.DSCTConfig.tiny()))
        >>> logits, boxes = program.module()(torch.rand(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool))
        >>> logits.shape, boxes.shape
        (torch.Size([1, 8, 7]), torch.Size([1, 8, 4]))
    """
    require_model(model, "to_exported_program", mask=mask, standard_operators=standard_operators)
    parameter = next(model.parameters())
    stride = _coarsest_stride(model)
    # No side of any level may be 1 where it is free: the recorder would treat it as a constant.
    batch, height, width = (2, 3 * stride, 4 * stride) if size is None else checked_size(size)
    images = example_images((batch, height, width), parameter)
    arguments: tuple[Tensor, ...] = (images,)
    if mask:
        arguments += (torch.zeros(batch, height, width, dtype=torch.bool, device=parameter.device),)
    sizes = _free_sizes(stride)[: len(arguments)] if size is None else None
    with recording():
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
        TypeError: as :func:`to_exported_program`, or `path` is no path.
        ValueError: as :func:`to_exported_program`, or `path` does not end in ``.pt2``.
        OSError: the file cannot be written, which is found out before the export as far as possible.

    Example:
        >>> import dsct, pathlib, tempfile, torch
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.pt2"
        >>> save_exported_program(dsct.DSCT(dsct.DSCTConfig.tiny()), file, mask=False)
        >>> names = {"dsct_class_names": ""}
        >>> program = torch.export.load(file, extra_files=names)
        >>> names["dsct_class_names"][:8]
        '["Anger"'
    """
    require_model(model, "save_exported_program", mask=mask, standard_operators=standard_operators)
    require_destination(path, ".pt2", "save_exported_program")
    program = to_exported_program(model, mask=mask, standard_operators=standard_operators, size=size)
    # Through memory: torch reports a full disk as an internal error without the reason.
    memory = io.BytesIO()
    torch.export.save(program, memory, extra_files=metadata(model))
    with replaced_when_complete(path) as partial:
        partial.write_bytes(memory.getbuffer())


@contextmanager
def recording() -> Iterator[None]:
    """For torch's exporters: without gradients, and without a caller's autocast, which would become part of the file.

    They call functions that torch itself has deprecated.
    """
    with contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(warnings.catch_warnings())
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


class _LastLayer(nn.Module):
    """A program returns only tensors, by position."""

    def __init__(self, model: DSCT) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output = self.model(images, mask)
        return output["pred_logits"], output["pred_boxes"]


def _free_sizes(stride: int) -> tuple[dict[int, Dim], dict[int, Dim]]:
    """Of images and mask."""
    batch, height, width = (
        Dim(name, min=least, max=LARGEST)
        for name, least in (("batch", 1), ("height", stride + 1), ("width", stride + 1))
    )
    return {0: batch, 2: height, 3: width}, {0: batch, 1: height, 2: width}


def _coarsest_stride(model: DSCT) -> int:
    """Pixels per cell of the last level: the backbone ends at 32, and each further level halves the map."""
    return int(2 ** (2 + max(model.config.num_feature_levels, 3)))
