"""Starting from other weights: what of a file fits a model is copied, and all that happened is reported.

Understood are the package's own files, the released DSCT checkpoints, Deformable DETR checkpoints (whose queries
become the context queries, while their class and box heads are left out, as in the released code) and torchvision's
ResNets (for the backbone).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dsct.checkpoint.files import StateDict, read_checkpoint
from dsct.checkpoint.native import distinct_tensors, shared_names

if TYPE_CHECKING:
    from dsct import DSCT

#: Tables with one row per query: as many rows as both sides have are copied.
QUERY_TABLES = ("query_embed.weight", "query_embed_dsct.weight")


@dataclass(frozen=True)
class LoadReport:
    """What a load did with every tensor of the file and of the model.

    Attributes:
        layout: the kind of file that was recognised.
        reused: names copied as they are.
        renamed: name in the file -> name in the model.
        reshaped: name in the model -> (shape in the file, shape in the model); the rows both have were copied.
        skipped: name in the file -> why it was left out.
        missing: names of the model that the file did not fill; they keep their values.
    """

    layout: str
    reused: tuple[str, ...]
    renamed: dict[str, str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    skipped: dict[str, str]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        reshaped = [f"{name} {old} -> {new}" for name, (old, new) in self.reshaped.items()]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        lines = [
            f"{self.layout}: {len(self.reused)} reused, {len(self.renamed)} renamed, {len(self.reshaped)} reshaped, "
            f"{len(self.skipped)} skipped, {len(self.missing)} missing",
            *(f"  reshaped  {entry}" for entry in reshaped),
            *(f"  skipped   {_summary(names)}: {reason}" for reason, names in reasons.items()),
        ]
        if self.missing:
            lines.append(f"  missing   {_summary(self.missing)}: not in the file, left as they were")
        return "\n".join(lines)


def load_pretrained(
    model: DSCT, path: str | os.PathLike[str], *, reuse_box_head: bool = False, verbose: bool = True
) -> LoadReport:
    """Copies into a model what fits from a file, in place.

    Args:
        model: keeps its own values wherever the file has none that fit.
        path: a file that :func:`dsct.checkpoint.read_checkpoint` reads.
        reuse_box_head: also take the box head of a Deformable DETR checkpoint, which the released code does not.
        verbose: print the report.

    Returns:
        The report.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is unreadable, of no known layout, or nothing in it fits; the model is then unchanged.
    """
    source = read_checkpoint(path).tensors
    layout = _recognise(source, path)
    with torch.no_grad():
        report = _copy(model, source, layout, reuse_box_head)
    if not (report.reused or report.renamed or report.reshaped):
        raise ValueError(f"nothing in {path} fits the model\n{report}")
    if verbose:
        print(report)
    return report


def _recognise(source: StateDict, path: str | os.PathLike[str]) -> str:
    if any(name.startswith(("query_embed_dsct.", "class_embed_dsct.")) for name in source):
        return "DSCT"
    if "transformer.level_embed" in source:
        return "Deformable DETR"
    if "conv1.weight" in source and "layer1.0.conv1.weight" in source:
        return "torchvision ResNet"
    raise ValueError(
        f"{path} must hold a DSCT, Deformable DETR or torchvision ResNet state dict, got {_summary(list(source))}"
    )


def _copy(model: DSCT, source: StateDict, layout: str, reuse_box_head: bool) -> LoadReport:
    wanted, shared = distinct_tensors(model), shared_names(model)
    incoming = {_translate(name, layout, reuse_box_head): (name, tensor) for name, tensor in source.items()}
    reused, renamed, reshaped, skipped = [], {}, {}, {}
    for target, (name, tensor) in incoming.items():
        if target in shared:
            # The value comes in under the first name; a further name may only repeat it.
            first = incoming.get(shared[target])
            if first is None or not torch.equal(first[1], tensor):
                skipped[name] = f"the model shares {shared[target]} here, the file has another value"
        elif (reason := _misfit(target, tensor, wanted)) is not None:
            skipped[name] = reason
        elif tensor.shape != wanted[target].shape:
            rows = min(len(tensor), len(wanted[target]))
            wanted[target][:rows] = tensor[:rows]
            reshaped[target] = (tuple(tensor.shape), tuple(wanted[target].shape))
        else:
            wanted[target].copy_(tensor)
            if target == name:
                reused.append(name)
            else:
                renamed[name] = target
    filled = {*reused, *renamed.values(), *reshaped}
    return LoadReport(layout, tuple(reused), renamed, reshaped, skipped, tuple(n for n in wanted if n not in filled))


def _translate(name: str, layout: str, reuse_box_head: bool) -> str:
    """Name in the model of a tensor of the file; may be one that no model has."""
    if layout == "torchvision ResNet":
        return f"backbone.0.body.{name}"
    if layout == "Deformable DETR" and reuse_box_head:
        return re.sub(r"^bbox_embed\.", "bbox_embed_dsct.", name)
    return name


def _misfit(target: str, tensor: torch.Tensor, wanted: StateDict) -> str | None:
    """Why the tensor cannot become `target`, or None."""
    if target.endswith("num_batches_tracked"):
        return "a counter that frozen batch norm does not need"
    if target.startswith(("class_embed.", "bbox_embed.")):
        return "a head for other classes, not reused"
    if target not in wanted:
        return "no such tensor in the model"
    shape = wanted[target].shape
    if tensor.shape == shape or (target in QUERY_TABLES and tensor.ndim == 2 and tensor.shape[1:] == shape[1:]):
        return None
    return f"shape {tuple(tensor.shape)}, the model has {tuple(shape)}"


def _summary(names: list[str] | tuple[str, ...], limit: int = 4) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
