"""Starting from other weights: whatever fits the model is copied from a file, and everything is reported.

Supported are the package's own files, the released DSCT checkpoints, Deformable DETR checkpoints, the original ones
and those of Hugging Face, detrex and mmdetection (whose queries become the context queries, while their class and box
heads are skipped, as in the released code), and torchvision's ResNets (for the backbone). Files of other detectors and
of other backbones are refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from dsct.checkpoint.class_rows import ClassRows
from dsct.checkpoint.files import HUGGING_FACE_KEY, Checkpoint, read_checkpoint
from dsct.checkpoint.fit import other_architecture, other_backbone
from dsct.checkpoint.hugging_face import Incoming, unkept_by_config
from dsct.checkpoint.layouts import Layout, incoming_tensors, recognise
from dsct.checkpoint.native import distinct_tensors, shared_names
from dsct.checkpoint.report import LoadReport, Shape
from dsct.checkpoint.sizes import sizes_beside
from dsct.checkpoint.tensor_files import require_plain, without_wrappers
from dsct.config import DSCTConfig
from dsct.modules.shared_module_list import same_bits
from dsct.sound_values import require_values_for

if TYPE_CHECKING:
    from dsct.modules import DSCT

Source = str | os.PathLike[str] | Mapping[str, torch.Tensor]

#: Tables with one row per query: as many rows as both sides have are copied.
QUERY_TABLES = ("query_embed.weight", "query_embed_dsct.weight")
CLASS_HEAD = "class_embed_dsct."
#: Heads of a Deformable DETR; with iterative refinement the decoder lists its own.
FOREIGN_HEADS = ("class_embed.", "bbox_embed.", "transformer.decoder.class_embed.", "transformer.decoder.bbox_embed.")


def load_pretrained(
    model: DSCT, source: Source, *, reuse_box_head: bool = False, allow_partial: bool = False, verbose: bool = True
) -> LoadReport:
    """Copies whatever fits from a file into a model, in place.

    If the numbers of queries differ, the rows that both sides have are copied. If the classes differ, the rows of those
    that both sides name; if the names are unknown (released checkpoints), the class head keeps its values.

    Args:
        model: keeps its own values where the file has none that fit.
        source: a file or folder that :func:`dsct.checkpoint.read_checkpoint` reads, or a state dict, name -> tensor.
        reuse_box_head: also copy the box head of a Deformable DETR checkpoint, which the released code does not.
        allow_partial: of a file of another detector of the DETR family, take the backbone and, if it is deformable, the
            encoder with its input projections and level embedding; of a file with another backbone, take the rest.
        verbose: print the report.

    Returns:
        The report.

    Raises:
        TypeError: `source` is neither a path nor a mapping of names to tensors.
        FileNotFoundError: there is no such file.
        ValueError: the file is unreadable, of no known layout, of another architecture or backbone than the model (and
            not `allow_partial`), nothing in it fits, or a tensor that fits is not finite, or holds integers or complex
            numbers for the model's floating-point ones; the model is then unchanged.

    Example:
        >>> import dsct
        >>> source = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=9))
        >>> report = load_pretrained(dsct.DSCT(dsct.DSCTConfig.tiny()), source.state_dict(), verbose=False)
        >>> report.reshaped
        {'query_embed_dsct.weight': ((9, 128), (8, 128))}
    """
    checkpoint, name = _opened(source)
    layout = recognise(checkpoint.tensors, name)
    incoming = incoming_tensors(checkpoint.tensors, layout, reuse_box_head)
    unfit = other_architecture(layout, incoming, name, allow_partial)
    unfit |= other_backbone(layout, incoming, model, name, allow_partial)
    copy = _Copy(model, incoming, checkpoint.config, unfit)
    require_values_for(copy.wanted, copy.fitting(), name)
    with torch.no_grad():
        copy.run()
    warnings = (*_hidden_differences(checkpoint, model.config), *_refinement(incoming))
    report = copy.report(layout, warnings)
    if not (report.reused or report.renamed or report.reshaped):
        raise ValueError(f"nothing in {name} fits the model\n{report}")
    if verbose:
        print(report)
    return report


def _opened(source: Source) -> tuple[Checkpoint, str]:
    """The content, and its name in a message."""
    if not isinstance(source, str | os.PathLike | Mapping):
        raise TypeError(f"load_pretrained: source must be a path or a state dict, got {type(source).__name__}")
    if not isinstance(source, Mapping):
        return read_checkpoint(source), str(source)
    name = "the state dict"
    for key, value in source.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise TypeError(f"load_pretrained: source must map names to tensors, got {key!r}: {type(value).__name__}")
    tensors = {key: tensor.detach() for key, tensor in without_wrappers(source, name).items()}
    require_plain(tensors, name)
    return Checkpoint(tensors, {}), name


@dataclass
class _Copy:
    """One load in progress; the fields below the inputs are those of the report."""

    model: DSCT
    incoming: dict[str, Incoming]
    file_config: DSCTConfig | None
    unfit: Mapping[str, str]
    reused: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    reshaped: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    rows_copied: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wanted, self.shared = distinct_tensors(self.model), shared_names(self.model)
        self.class_rows = ClassRows.between(self.file_config, self.model.config)
        # A file may contain a shared head under a further name only.
        for further, first in self.shared.items():
            if further in self.incoming and first not in self.incoming:
                self.incoming = {**self.incoming, first: self.incoming[further]}

    def fitting(self) -> dict[str, torch.Tensor]:
        """What is copied, wholly or in part, by the model's names."""
        tensors = {target: tensor for target, (_, tensor) in self.incoming.items()}
        skipped = self.unfit.keys() | self.shared.keys()
        return {
            target: tensor
            for target, tensor in tensors.items()
            if target not in skipped and self._misfit(target, tensor) is None
        }

    def run(self) -> None:
        for target, (names, tensor) in self.incoming.items():
            if target in self.unfit:
                self._skip(names, self.unfit[target])
            elif target in self.shared:
                # The first name gives the value; a further name may only repeat it.
                if not same_bits(self.incoming[self.shared[target]].tensor, tensor):
                    self._skip(names, f"the model shares {self.shared[target]} here, the file has another value")
            elif (reason := self._misfit(target, tensor)) is not None:
                self._skip(names, reason)
            elif target.startswith(CLASS_HEAD) and self.class_rows is not None:
                self._copy_classes(target, tensor, self.class_rows)
            elif tensor.shape != self.wanted[target].shape:
                self._copy_queries(target, tensor)
            else:
                self.wanted[target].copy_(tensor)
                if names == (target,):
                    self.reused.append(target)
                else:
                    self.renamed.update(dict.fromkeys(names, target))

    def _skip(self, names: tuple[str, ...], reason: str) -> None:
        self.skipped.update(dict.fromkeys(names, reason))

    def _misfit(self, target: str, tensor: torch.Tensor) -> str | None:
        """Why the tensor cannot become `target`, or None."""
        if target.endswith("num_batches_tracked"):
            return "a counter that frozen batch norm does not need"
        if target.startswith(FOREIGN_HEADS):
            return "a head for other classes, not reused"
        if target not in self.wanted:
            return "no such tensor in the model"
        mine = self.wanted[target]
        if target.startswith(CLASS_HEAD) and tensor.ndim == mine.ndim and tensor.shape[1:] == mine.shape[1:]:
            return self._other_classes(tensor)
        rows_only = (
            target in QUERY_TABLES and tensor.ndim == 2 and len(tensor) > 0 and tensor.shape[1:] == mine.shape[1:]
        )
        if tensor.shape == mine.shape or rows_only:
            return None
        return f"shape {tuple(tensor.shape)}, the model has {tuple(mine.shape)}"

    def _other_classes(self, tensor: torch.Tensor) -> str | None:
        config = self.model.config
        if self.class_rows is None:
            if len(tensor) == config.num_logits:
                return None
            person = "with" if config.person_class else "without"
            return f"{len(tensor)} logits in the file, {config.num_logits} in the model ({person} person)"
        if len(tensor) != self.class_rows.rows_in_file:
            return f"{len(tensor)} logits, the file's own configuration has {self.class_rows.rows_in_file}"
        if not self.class_rows.pairs:
            return f"no class in common: {self.class_rows.rows_in_file} in the file, {config.num_logits} in the model"
        return None

    def _copy_classes(self, target: str, tensor: torch.Tensor, rows: ClassRows) -> None:
        mine = self.wanted[target]
        for old, new in rows.pairs:
            mine[new] = tensor[old]
        self.reshaped[target] = (tuple(tensor.shape), tuple(mine.shape))
        self.rows_copied[target] = rows.description

    def _copy_queries(self, target: str, tensor: torch.Tensor) -> None:
        mine = self.wanted[target]
        rows = min(len(tensor), len(mine))
        mine[:rows] = tensor[:rows]
        self.reshaped[target] = (tuple(tensor.shape), tuple(mine.shape))
        self.rows_copied[target] = f"rows 0 to {rows - 1} copied"
        if rows < len(mine):
            self.rows_copied[target] += f", rows {rows} to {len(mine) - 1} left as they were"

    def report(self, layout: Layout, warnings: tuple[str, ...]) -> LoadReport:
        filled = {*self.reused, *self.renamed.values(), *self.reshaped}
        missing = tuple(name for name in self.wanted if name not in filled)
        copied = (tuple(self.reused), self.renamed, self.reshaped, self.rows_copied)
        return LoadReport(str(layout), *copied, self.skipped, missing, warnings, layout.key)


def _refinement(incoming: Mapping[str, Incoming]) -> tuple[str, ...]:
    """A warning if the boxes of the file's detector are refined from layer to layer, which no shape shows."""
    if any(name.startswith("transformer.decoder.bbox_embed.") for name in incoming):
        return ("the file's detector refines its boxes from layer to layer, the model does not",)
    return ()


def _hidden_differences(checkpoint: Checkpoint, config: DSCTConfig) -> tuple[str, ...]:
    """Differences that change the meaning of weights but not their shapes."""
    theirs = sizes_beside(checkpoint)
    warnings: list[str] = []
    if checkpoint.config is not None:
        fields = checkpoint.config.to_dict()
        theirs = {name: fields[name] for name in ("nheads", "enc_n_points", "dec_n_points")}
    elif HUGGING_FACE_KEY in checkpoint.metadata:
        warnings += unkept_by_config(checkpoint.metadata[HUGGING_FACE_KEY])
    for name, value in theirs.items():
        if value != getattr(config, name):
            warnings.append(f"{name} is {value} in the file and {getattr(config, name)} in the model")
    return tuple(warnings)
