"""From outputs to people: pixels, scores, labels, suppression of duplicates."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image, nms

from dsct.config import DSCTConfig
from dsct.post_process import PostProcess

SIZES = torch.tensor([[480, 640], [300, 200], [100, 100]])


def outputs(cfg: DSCTConfig, queries: int = 6, images: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "pred_logits": 2 * torch.randn(images, queries, cfg.num_logits, generator=generator),
        "pred_boxes": torch.rand(images, queries, 4, generator=generator),
    }


@pytest.mark.parametrize("preset", ["paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s"])
@pytest.mark.parametrize("score", ["probability", "logit"])
def test_all_queries_in_order_without_options(preset: str, score: str) -> None:
    cfg = getattr(DSCTConfig, preset)(score=score)
    out = outputs(cfg)
    people = PostProcess(cfg)(out, SIZES)
    assert len(people) == 3
    for i, one in enumerate(people):
        height, width = SIZES[i].tolist()
        logits = out["pred_logits"][i, :, : cfg.num_classes]
        boxes = box_convert(out["pred_boxes"][i], "cxcywh", "xyxy") * torch.tensor([width, height, width, height])
        torch.testing.assert_close(one["boxes"], clip_boxes_to_image(boxes, (height, width)))
        torch.testing.assert_close(one["probabilities"], logits.sigmoid())
        torch.testing.assert_close(one["scores"], (logits if score == "logit" else logits.sigmoid()).mean(dim=1))
        assert one["queries"].equal(torch.arange(6))
        expected = logits.sigmoid() > 0.5 if cfg.multi_label else logits.argmax(dim=1)
        assert one["labels"].dtype == (torch.bool if cfg.multi_label else torch.int64)
        assert one["labels"].equal(expected)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 12), st.floats(0, 1))
def test_suppression_is_that_of_torchvision(seed: int, queries: int, iou: float) -> None:
    cfg = DSCTConfig.paper_caer_s()
    out = outputs(cfg, queries, seed=seed)
    everyone = PostProcess(cfg)(out, SIZES)
    for one, all_of_them in zip(PostProcess(cfg, nms_iou=iou)(out, SIZES), everyone, strict=True):
        kept = nms(all_of_them["boxes"].double(), all_of_them["scores"].double(), iou)
        for key, value in one.items():
            assert value.equal(all_of_them[key][kept])


def test_people_of_low_score_are_left_out_and_the_rest_sorted() -> None:
    cfg = DSCTConfig.paper_emotic()
    out = outputs(cfg, queries=20)
    for one, everyone in zip(
        PostProcess(cfg, score_threshold=0.5)(out, SIZES), PostProcess(cfg)(out, SIZES), strict=True
    ):
        scores = everyone["scores"]
        assert 0 < len(one["scores"]) < 20
        assert one["queries"].equal(scores.argsort(descending=True)[: len(one["queries"])])
        assert one["scores"].equal(scores[scores >= 0.5].sort(descending=True).values)


def test_equal_scores_keep_the_order_of_the_queries() -> None:
    cfg = DSCTConfig.paper_caer_s()
    out = outputs(cfg, images=1)
    out["pred_logits"][:] = 0
    kept = PostProcess(cfg, score_threshold=0.0)(out, SIZES[:1])[0]
    assert kept["boxes"].equal(PostProcess(cfg)(out, SIZES[:1])[0]["boxes"])
    assert kept["queries"].equal(torch.arange(6))


@pytest.mark.parametrize("options", [{}, {"nms_iou": 0.3}, {"nms_iou": 0.7, "score_threshold": 0.5}])
def test_people_know_the_query_that_found_them(options: dict[str, Any]) -> None:
    cfg = DSCTConfig.paper_emotic()
    out = outputs(cfg, queries=20)
    out["pred_boxes"][:, 1::2] = out["pred_boxes"][:, ::2]  # equal boxes, that only the number tells apart
    for one, everyone in zip(PostProcess(cfg, **options)(out, SIZES), PostProcess(cfg)(out, SIZES), strict=True):
        assert one["queries"].dtype == torch.int64
        assert len(one["queries"].unique()) == len(one["queries"])
        for key, value in one.items():
            assert value.equal(everyone[key][one["queries"]])


def test_the_query_numbers_of_two_images_are_not_one_tensor() -> None:
    cfg = DSCTConfig.paper_emotic()
    first, second, _ = PostProcess(cfg)(outputs(cfg), SIZES)
    first["queries"] += 1
    assert second["queries"].equal(torch.arange(6))


def test_thresholds_hold_for_all_classes_or_for_each() -> None:
    cfg = DSCTConfig.paper_emotic()
    out = outputs(cfg)
    each = torch.linspace(0.1, 0.9, 26)
    for threshold in (each, each.tolist()):
        for one in PostProcess(cfg, threshold=threshold)(out, SIZES):
            assert one["labels"].equal(one["probabilities"] > each)
    for one in PostProcess(cfg, threshold=0.3)(out, SIZES):
        assert one["labels"].equal(one["probabilities"] > 0.3)


@pytest.mark.parametrize(("images", "queries"), [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("options", [{}, {"nms_iou": 0.5, "score_threshold": 0.1}])
def test_empty_batches_and_no_queries(images: int, queries: int, options: dict[str, Any]) -> None:
    cfg = DSCTConfig.paper_emotic()
    people = PostProcess(cfg, **options)(outputs(cfg, queries, images), SIZES[:images])
    assert len(people) == images
    for one in people:
        shapes = {key: tuple(value.shape) for key, value in one.items()}
        assert shapes == {"boxes": (0, 4), "scores": (0,), "probabilities": (0, 26), "labels": (0, 26),
                          "queries": (0,)}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_results_are_float32(dtype: torch.dtype) -> None:
    cfg = DSCTConfig.paper_caer_s()
    out = {key: value.to(dtype) for key, value in outputs(cfg).items()}
    wide = {key: value.float() for key, value in out.items()}
    for one, expected in zip(PostProcess(cfg)(out, SIZES.float()), PostProcess(cfg)(wide, SIZES), strict=True):
        for key, value in one.items():
            assert value.dtype == expected[key].dtype
            assert value.equal(expected[key])


def test_outputs_with_a_graph_give_people_without() -> None:
    cfg = DSCTConfig.paper_caer_s()
    out = {key: value.requires_grad_() for key, value in outputs(cfg).items()}
    assert not any(value.requires_grad for one in PostProcess(cfg, nms_iou=0.5)(out, SIZES) for value in one.values())


def test_copies_and_pickles_keep_the_options() -> None:
    cfg = DSCTConfig.paper_emotic()
    post_process = PostProcess(cfg, threshold=[0.2] * 26, nms_iou=0.3, score_threshold=0.4)
    out = outputs(cfg)
    for other in (copy.deepcopy(post_process), pickle.loads(pickle.dumps(post_process))):
        for one, expected in zip(other(out, SIZES), post_process(out, SIZES), strict=True):
            assert all(one[key].equal(expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": [0.5, 0.5]}, "threshold must be one number or one per class, 26, got 2"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got \[1.5\]"),
        ({"threshold": float("nan")}, r"threshold must be in \[0, 1\]"),
        ({"nms_iou": -0.1}, r"nms_iou must be in \[0, 1\], got -0.1"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PostProcess(DSCTConfig.paper_emotic(), **options)


@pytest.mark.parametrize(
    ("change", "sizes", "message"),
    [
        ({"pred_logits": torch.zeros(3, 6, 7)}, SIZES, r"pred_logits must be \(B, N, 26\), got \(3, 6, 7\)"),
        ({"pred_boxes": torch.zeros(3, 5, 4)}, SIZES, r"pred_boxes must be \(3, 6, 4\), got \(3, 5, 4\)"),
        ({}, SIZES - 10_000, "target_sizes must be finite pixels, none of them negative"),
        ({}, SIZES[:2], r"target_sizes must be \(3, 2\), height and width per image, got \(2, 2\)"),
        ({"pred_boxes": torch.full((3, 6, 4), float("nan"))}, SIZES, "pred_boxes must be finite, .* in image 0"),
        ({"pred_logits": torch.full((3, 6, 26), float("inf"))}, SIZES, "pred_logits must be finite, .* in image 0"),
    ],
)
def test_bad_input_is_named(change: dict[str, Tensor], sizes: Tensor, message: str) -> None:
    cfg = DSCTConfig.paper_emotic()
    with pytest.raises(ValueError, match=message):
        PostProcess(cfg)({**outputs(cfg), **change}, sizes)
