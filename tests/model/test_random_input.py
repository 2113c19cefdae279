"""Model, matching, loss and post-processing under random input: an answer or one clear Python error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dsct
from dsct.config import DSCTConfig
from tests.comparison import small
from tests.ops.random_tensors import answered, cases, sizes, specials, tensors

CONFIG = DSCTConfig.tiny(num_subject_queries=3)
MULTI_LABEL = DSCTConfig.tiny(num_subject_queries=3, multi_label=True)
configs = st.sampled_from([CONFIG, MULTI_LABEL])
sides = st.sampled_from([0, 1, 1, 2, 7, 31, 32, 33, 64, 65])


@st.composite
def predictions(draw: Any, config: DSCTConfig) -> dict[str, Any]:
    batch, queries = draw(sizes), draw(sizes)
    layer = lambda: {  # noqa: E731
        "pred_logits": draw(tensors([batch, queries, config.num_logits])),
        "pred_boxes": draw(tensors([batch, queries, 4])),
    }
    return {**layer(), "aux_outputs": [layer()]} if draw(st.booleans()) else layer()


@st.composite
def ground_truth(draw: Any, config: DSCTConfig, images: int) -> list[dict[str, torch.Tensor]]:
    targets = []
    for _ in range(max(0, images + draw(st.sampled_from([0, 0, 0, 0, 0, -1, 1])))):
        people = draw(sizes)
        lowest, highest = draw(st.sampled_from([(0, config.num_classes), (-1, config.num_classes + 2)]))
        labels = torch.randint(lowest, highest, (people,))
        if config.multi_label and draw(st.integers(0, 5)):
            labels = torch.randint(0, 2, (people, config.num_classes)).to(
                draw(st.sampled_from([torch.float32, torch.int64]))
            )
        targets.append({"labels": labels, "boxes": draw(tensors([people, 4]))})
    return targets


def boxes_of(outputs: dict[str, Any]) -> list[torch.Tensor]:
    return [layer["pred_boxes"] for layer in (outputs, *outputs.get("aux_outputs", []))]


@cases(150)
@given(st.data())
def test_matching_and_loss_answer_or_refuse(data: Any) -> None:
    config = data.draw(configs)
    outputs = data.draw(predictions(config))
    targets = data.draw(ground_truth(config, len(outputs["pred_logits"])))
    names = "criterion|set_criterion|hungarian_matcher"
    losses = answered(lambda: dsct.SetCriterion(config)(outputs, targets), names)
    if losses is not None:
        tame = all((boxes.abs() < 1e6).all() for boxes in [*boxes_of(outputs), *(each["boxes"] for each in targets)])
        assert all(loss.dim() == 0 and (loss.isfinite() or not tame) for loss in losses.values())
    pairs = answered(lambda: dsct.HungarianMatcher(config)(outputs, targets), names)
    if pairs is not None:
        for (queries, people), target in zip(pairs, targets, strict=True):
            count = min(outputs["pred_logits"].shape[1], len(target["boxes"]))
            assert len(set(queries.tolist())) == len(set(people.tolist())) == count


@cases(150)
@given(st.data())
def test_post_processing_answers_or_refuses(data: Any) -> None:
    config = data.draw(configs)
    outputs = data.draw(predictions(config))
    numbers = st.one_of(st.none(), st.floats(0, 1), specials)

    def run() -> Any:
        options = {name: data.draw(numbers) for name in ("threshold", "nms_iou", "score_threshold")}
        wanted = data.draw(tensors([len(outputs["pred_logits"]), 2]))
        return dsct.PostProcess(config, **options)(outputs, wanted * data.draw(st.sampled_from([1, 100])))

    images = answered(run, "PostProcess")
    if images is not None:
        assert len(images) == len(outputs["pred_logits"])
        for image in images:
            assert image["boxes"].isfinite().all()
            assert len(image["boxes"]) == len(image["scores"]) == len(image["probabilities"]) == len(image["labels"])


@pytest.fixture(scope="module")
def model() -> dsct.DSCT:
    return dsct.DSCT(small()).eval()


@cases(60)
@given(st.data())
def test_images_have_an_answer_or_a_clear_error(model: dsct.DSCT, data: Any) -> None:
    batch, height, width = data.draw(st.sampled_from([0, 1, 1, 2])), data.draw(sides), data.draw(sides)
    images = data.draw(tensors([batch, 3, height, width]))
    masks = [
        None,
        torch.ones(batch, height, width, dtype=torch.bool),
        torch.rand(batch, height, width) < 0.5,
        torch.zeros(batch, 1, width, dtype=torch.bool),
        torch.zeros(batch, height, width),
        torch.zeros(batch, height, width, dtype=torch.bool, device="meta"),
    ]
    mask = data.draw(st.sampled_from(masks))
    with torch.no_grad():
        out = answered(lambda: model(images, mask), ".*(images|mask)")
    if out is not None:
        assert out["pred_boxes"].shape == (len(images), 3, 4)
        assert out["pred_logits"].shape == (len(images), 3, 5)
        if (images.abs() < 1e6).all():
            assert out["pred_boxes"].isfinite().all()


@pytest.mark.parametrize("shape", [(1, 3, 0, 5), (1, 3, 1, 1), (0, 3, 32, 32), (2, 3, 1, 33)])
def test_awkward_images_have_an_answer_or_a_clear_error(model: dsct.DSCT, shape: tuple[int, ...]) -> None:
    out = answered(lambda: model(torch.rand(shape)), ".*images")
    assert (out is None) == (0 in shape[2:])
    assert out is None or out["pred_boxes"].shape == (shape[0], 3, 4)


def test_an_image_of_nothing_but_padding_has_an_answer(model: dsct.DSCT) -> None:
    out = model(torch.rand(2, 3, 40, 50), torch.ones(2, 40, 50, dtype=torch.bool))
    assert all(tensor.isfinite().all() for tensor in (out["pred_logits"], out["pred_boxes"]))


def test_a_mask_on_another_device_is_refused(model: dsct.DSCT) -> None:
    with pytest.raises(ValueError, match="DSCT: mask must be on cpu like images, got meta"):
        model(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool, device="meta"))


def test_an_image_without_end_is_refused() -> None:
    outputs = {"pred_logits": torch.zeros(1, 3, CONFIG.num_logits), "pred_boxes": torch.rand(1, 3, 4)}
    with pytest.raises(ValueError, match="PostProcess: target_sizes must be finite pixels"):
        dsct.PostProcess(CONFIG)(outputs, torch.tensor([[10.0, float("inf")]]))
