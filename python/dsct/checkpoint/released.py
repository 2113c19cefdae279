"""Weights as the released code reads them, so that its scripts can continue from a model trained here."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from dsct.checkpoint.files import write_pickled_tensors
from dsct.checkpoint.native import distinct_tensors, metadata_of, shared_names
from dsct.config import DSCTConfig
from dsct.sound_values import require_finite

if TYPE_CHECKING:
    from dsct.modules import DSCT


def save_released(model: DSCT, path: str | os.PathLike[str], *, epoch: int = 0) -> None:
    """Writes a PyTorch file in the layout of the released checkpoints.

    It contains ``"model"``, all names including those of the heads that layers share, ``"epoch"``, and ``"args"``, an
    ``argparse.Namespace`` of the released code's options as far as the configuration determines them. It contains no
    optimizer: the released code then starts a new one. It also contains the configuration, as a native file does, so
    that :func:`dsct.load_model` reads it, too; the released code ignores it.

    The released code has one way of fusing context and no ``attentive`` weights: any other
    choice of the configuration is computed there in its own way.

    Args:
        model: the model to write.
        path: the file, ending in ``.pth`` by custom; missing folders are created.
        epoch: number of the last epoch, counted from 0.

    Raises:
        ValueError: the model has parameters that the released code does not know, or one with NaN or infinity.
        OSError: the disk is full or cannot be written; an older file stays as it was.

    Example:
        >>> import dsct, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "checkpoint.pth"
        >>> save_released(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> dsct.load_model(file).config == dsct.DSCTConfig.tiny()
        True
    """
    if model.config.reweighting == "attentive":
        raise ValueError("save_released: the released code has no attentive reweighting and cannot hold its parameters")
    shared = shared_names(model)
    # Cloned, because a file holds the whole memory behind a view.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in distinct_tensors(model).items()}
    require_finite(tensors, f"{path} is not written")
    content = {
        "model": {name: tensors[shared.get(name, name)] for name in model.state_dict()},
        "epoch": epoch,
        "args": _options(model.config),
        **metadata_of(model),
    }
    write_pickled_tensors(content, path)


def _options(config: DSCTConfig) -> argparse.Namespace:
    """The released code's options; it fuses only where both sets have members."""
    sets = {"spatial": config.k_spatial, "semantic": config.k_semantic}
    fuses = config.num_context_queries > 0 and config.fusion_layers != () and set(config.selection) == set(sets)
    same = (
        "backbone", "hidden_dim", "nheads", "enc_layers", "dec_layers", "dim_feedforward", "dropout",
        "num_feature_levels", "enc_n_points", "dec_n_points", "focal_alpha",
    )  # fmt: skip
    return argparse.Namespace(
        **{name: getattr(config, name) for name in same},
        num_classes=config.num_logits,
        num_queries=config.num_subject_queries,
        dec_n_sp=sets["spatial"] if fuses else 0,
        dec_n_sm=sets["semantic"] if fuses else 0,
        set_cost_class=config.cost_class,
        set_cost_bbox=config.cost_bbox,
        set_cost_giou=config.cost_giou,
        cls_loss_coef=config.loss_class,
        bbox_loss_coef=config.loss_bbox,
        giou_loss_coef=config.loss_giou,
        with_box_refine=False,
        two_stage=False,
    )
