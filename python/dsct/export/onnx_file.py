"""The model for ONNX Runtime and others that read ONNX."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from dsct.complete_files import replaced_when_complete
from dsct.export.arguments import Size, require_destination, require_model
from dsct.export.exported_program import INPUT_NAMES, OUTPUT_NAMES, metadata, recording, to_exported_program

if TYPE_CHECKING:
    from dsct.modules import DSCT

OPSET = 18  # what most programs read; 20 renames the interpolation of GridSample
OPSETS = range(18, 21)  # torch would convert to older ones; newer ones add nothing, and some runtimes stumble there


def to_onnx(
    model: DSCT,
    path: str | os.PathLike[str],
    *,
    mask: bool = True,
    opset: int = OPSET,
    size: Size | None = None,
) -> None:
    """Writes the model in ONNX's standard operators; needs ``pip install dsct[onnx]``.

    Inputs are ``images`` (batch, 3, height, width) float32 and, with `mask`, ``mask`` (batch, height, width) bool,
    True = padding; outputs ``pred_logits`` (batch, N, C) and ``pred_boxes`` (batch, N, 4), cxcywh in [0, 1]. Batch,
    height and width are free without `size`. The metadata contain, as JSON, the keys of a weights file,
    ``dsct_class_names`` and ``dsct_normalization``.

    Args:
        model: in float32; it is not changed.
        path: the file, ending in ``.onnx``; missing folders are created.
        mask: whether the file takes a padding mask, as batches of different sizes need.
        opset: version of the operators, from 18 to 20. All compute the same.
        size: as in :func:`dsct.export.to_exported_program`.

    Raises:
        TypeError: `model` is not a :class:`dsct.DSCT` in float32, `mask` no bool, `opset` no int, or `path` no path.
        ValueError: `opset` is another number, `path` does not end in ``.onnx``, or as
            :func:`dsct.export.to_exported_program`.
        ImportError: a package of ``dsct[onnx]`` is missing.
        OSError: the file cannot be written, which is found out before the export as far as possible.

    Example:
        >>> import dsct, numpy as np, onnxruntime, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.onnx"
        >>> to_onnx(dsct.DSCT(dsct.DSCTConfig.tiny()), file, mask=False)  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession(file)  # doctest: +SKIP
        >>> images = np.zeros((1, 3, 96, 128), dtype=np.float32)
        >>> logits, boxes = session.run(None, {"images": images})  # doctest: +SKIP
        >>> boxes.shape  # doctest: +SKIP
        (1, 8, 4)
    """
    _check(model, path, mask, opset)
    program = to_exported_program(model, mask=mask, standard_operators=True, size=size)
    names = INPUT_NAMES if mask else INPUT_NAMES[:1]
    with recording(), _quiet():
        converted: Any = torch.onnx.export(
            program, (), dynamo=True, opset_version=opset, input_names=names, output_names=OUTPUT_NAMES, verbose=False
        )
    written = converted.model.opset_imports[""]
    if written != opset:  # torch writes another without an error
        raise ValueError(f"to_onnx: opset must be one that this torch writes, got {opset}; it would write {written}")
    if size is None:
        _name_axes(converted.model.graph)
    if opset >= 20:
        _leave_out_interpolation(converted.model.graph)
    converted.model.metadata_props.update(metadata(model))
    with replaced_when_complete(path) as partial:
        converted.save(str(partial), external_data=False)


def _check(model: DSCT, path: str | os.PathLike[str], mask: bool, opset: int) -> None:
    require_model(model, "to_onnx", mask=mask)
    if (dtype := next(model.parameters()).dtype) != torch.float32:
        raise TypeError(f"to_onnx: model must be in float32, got {dtype}")
    if type(opset) is not int:  # not isinstance, which takes True
        raise TypeError(f"to_onnx: opset must be an integer, got {opset!r}")
    if opset not in OPSETS:
        raise ValueError(f"to_onnx: opset must be from {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    require_destination(path, ".onnx", "to_onnx")
    _require_packages()


def _leave_out_interpolation(graph: Any) -> None:
    """Opset 20 renamed GridSample's ``bilinear`` to ``linear``, which is its default.

    Some programs do not know the name, and take it for an error or for the nearest pixel.
    """
    for node in graph:
        if node.op_type == "GridSample":
            node.attributes.pop("mode")


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"to_onnx needs the packages of `pip install dsct[onnx]`: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the messages of torch and onnxscript about themselves, such as constants that were not folded."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _name_axes(graph: Any) -> None:
    """Calls the free axes batch, height and width, not s31, s14 and s54, wherever sizes are derived from them."""
    batch, _, height, width = (str(size) for size in graph.inputs[0].shape)
    names = {batch: "batch", height: "height", width: "width"}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for value in values:
        for axis, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and size.value is not None:
                value.shape[axis] = pattern.sub(lambda match: names[match[0]], size.value)
