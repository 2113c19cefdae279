"""Without context queries the native model is Hugging Face's Deformable DETR, with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dsct
from dsct.config import DSCTConfig
from tests.comparison import randomise
from tests.reference.hugging_face import Features, translated


@pytest.fixture
def twins() -> tuple[Any, dsct.DSCT]:
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"hidden_dim": 64, "enc_layers": 2, "dec_layers": 2, "dim_feedforward": 40}
    config = DSCTConfig(
        num_classes=7, multi_label=False, num_subject_queries=6, num_context_queries=0, nheads=4, dropout=0.0,
        backbone="custom", **sizes,
    )  # fmt: skip
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    hf = transformers.DeformableDetrForObjectDetection(
        transformers.DeformableDetrConfig(
            backbone_config=backbone,
            num_labels=7,
            num_queries=6,
            d_model=64,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_layers=2,
            decoder_layers=2,
            encoder_ffn_dim=40,
            decoder_ffn_dim=40,
            dropout=0.0,
            auxiliary_loss=True,
            class_cost=2,
            disable_custom_kernels=True,
        )
    ).eval()
    randomise(hf, 0.1)
    model = dsct.DSCT(config, backbone=Features(hf.model.backbone.model)).eval()
    report = model.load_state_dict(translated(hf.state_dict()), strict=False)
    assert not report.unexpected_keys
    assert all(name.startswith("backbone.") for name in report.missing_keys)
    return hf, model


@pytest.mark.parametrize("padded", [False, True])
def test_outputs_and_gradients(twins: tuple[Any, dsct.DSCT], padded: bool) -> None:
    hf, model = twins
    images, mask = torch.randn(2, 3, 100, 132), torch.zeros(2, 100, 132, dtype=torch.bool)
    if padded:
        mask[1, 71:], mask[1, :, 93:] = True, True
    theirs = hf(images, pixel_mask=(~mask).long())
    ours = model(images, mask if padded else None)
    for mine, reference in ((ours["pred_logits"], theirs.logits), (ours["pred_boxes"], theirs.pred_boxes)):
        assert ((mine - reference).norm() / reference.norm()).item() < 1e-5
    (theirs.logits.square().sum() + theirs.pred_boxes.square().sum()).backward()
    expected = translated({n: p.grad for n, p in hf.named_parameters() if p.grad is not None})
    model.zero_grad()
    (ours["pred_logits"].square().sum() + ours["pred_boxes"].square().sum()).backward()
    compared = 0
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone.") and parameter.grad is not None and name in expected:
            norm = expected[name].norm().item()
            assert parameter.grad.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-5), name
            compared += 1
    assert compared > 60
