"""Scores, labels, boxes in pixels, thresholds and NMS."""

from __future__ import annotations

import pytest
import torch

import dsct
from comparison import small

SIZES = torch.tensor([[100, 200], [50, 40]])


def outputs(logits: int = 5) -> dict[str, torch.Tensor]:
    return {"pred_logits": torch.randn(2, 3, logits), "pred_boxes": torch.rand(2, 3, 4) * 0.4 + 0.3}


def test_boxes_scores_and_labels_by_hand() -> None:
    out = outputs(6)
    found = dsct.PostProcess(small(person_class=True))(out, SIZES)
    for image, (people, (height, width)) in enumerate(zip(found, SIZES.tolist(), strict=True)):
        probabilities = out["pred_logits"][image, :, :5].sigmoid()
        torch.testing.assert_close(people["probabilities"], probabilities)
        torch.testing.assert_close(people["scores"], probabilities.mean(-1))
        assert people["labels"].tolist() == probabilities.argmax(-1).tolist()
        cx, cy, w, h = out["pred_boxes"][image].unbind(-1)
        corners = torch.stack(
            [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height]
        )
        limit = torch.tensor([width, height, width, height])
        torch.testing.assert_close(people["boxes"], corners.T.clamp(min=0).minimum(limit))


def test_multi_label_thresholds() -> None:
    config = small(multi_label=True)
    out = outputs()
    probabilities = out["pred_logits"].sigmoid()
    for threshold, wanted in (
        (None, 0.5),
        (0.2, 0.2),
        ([0.1, 0.3, 0.5, 0.7, 0.9], torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])),
    ):
        found = dsct.PostProcess(config, threshold=threshold)(out, SIZES)
        assert torch.equal(torch.stack([people["labels"] for people in found]), probabilities > wanted)


def test_logit_score() -> None:
    out = outputs()
    found = dsct.PostProcess(small(score="logit"))(out, SIZES)
    torch.testing.assert_close(found[0]["scores"], out["pred_logits"][0].mean(-1))


def test_nms_keeps_the_better_and_sorts() -> None:
    logits = torch.tensor([[[0.0] * 5, [2.0] * 5, [1.0] * 5]])
    boxes = torch.tensor([[[0.3, 0.3, 0.2, 0.2], [0.31, 0.3, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2]]])
    found = dsct.PostProcess(small(), nms_iou=0.5)({"pred_logits": logits, "pred_boxes": boxes}, SIZES[:1])[0]
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
    assert len(found["boxes"]) == 2
    torch.testing.assert_close(found["scores"], torch.tensor([2.0, 1.0]).sigmoid())
    none = dsct.PostProcess(small(), score_threshold=0.99)({"pred_logits": logits, "pred_boxes": boxes}, SIZES[:1])[0]
    assert len(none["scores"]) == len(none["labels"]) == 0


def test_bad_input_is_named() -> None:
    post_process = dsct.PostProcess(small())
    with pytest.raises(ValueError, match="target_sizes"):
        post_process(outputs(), SIZES[:1])
    with pytest.raises(ValueError, match="pred_logits"):
        post_process(outputs(3), SIZES)
    with pytest.raises(ValueError, match="threshold"):
        dsct.PostProcess(small(multi_label=True), threshold=[0.1, 0.2])
