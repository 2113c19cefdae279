"""Evaluation protocols against scikit-learn, scikit-free loops and hand-made scenes."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, confusion_matrix
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import box_iou, nms

from dsct.cli.evaluation.numbers import as_json
from dsct.cli.evaluation.report import as_markdown
from dsct.metrics import PROTOCOLS, Bootstrap, Evaluation, Evaluator
from tests.metrics.facts import FACTS

NAMES = ("a", "b", "c")
FAR = [900.0, 900.0, 950.0, 950.0]
NAN = float("nan")


def prediction(boxes: Any, probabilities: Any) -> dict[str, torch.Tensor]:
    probabilities = torch.tensor(probabilities, dtype=torch.float32).reshape(-1, len(NAMES))
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "scores": probabilities.mean(-1), "probabilities": probabilities}


def truth(boxes: Any, labels: Any, dtype: torch.dtype = torch.int64) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=dtype),
    }


def evaluate(results: list[Any], truths: list[Any], multi_label: bool = False, **options: Any) -> Evaluation:
    evaluator = Evaluator(NAMES, multi_label, **options)
    evaluator.update(results, truths)
    return evaluator.compute()


def random_scenes(multi_label: bool, images: int = 60) -> tuple[list[Any], list[Any]]:
    generator = torch.Generator().manual_seed(3)
    results, truths = [], []
    for _ in range(images):
        people, queries = (int(torch.randint(low, 7, (), generator=generator)) for low in (0, 1))
        corner = torch.rand(people, 2, generator=generator) * 200
        boxes = torch.cat([corner, corner + 20 + torch.rand(people, 2, generator=generator) * 100], 1)
        noisy = (
            boxes[torch.randint(max(people, 1), (queries,), generator=generator)] if people else torch.zeros(queries, 4)
        )
        noisy = noisy + torch.randn(queries, 4, generator=generator) * 12 + torch.tensor([0.0, 0.0, 40.0, 40.0])
        # Few distinct values, so that ties occur.
        probabilities = torch.randint(1, 10, (queries, 3), generator=generator) / 10
        labels = torch.randint(2, (people, 3), generator=generator)
        truths.append({"boxes": boxes, "labels": labels if multi_label else labels.sum(1) % 3})
        scores = probabilities.mean(-1) + torch.arange(queries) * 1e-4
        results.append({"boxes": noisy, "scores": scores, "probabilities": probabilities})
    return results, truths


@pytest.mark.parametrize("protocol", ["official", "paper"])
def test_person_protocols_equal_a_plain_loop(protocol: str) -> None:
    results, truths = random_scenes(multi_label=True)
    rows, labels = [], []
    for result, true in zip(results, truths, strict=True):
        keep = (
            nms(result["boxes"], result["scores"], 0.5) if protocol == "paper" else torch.arange(len(result["boxes"]))
        )
        wide = torch.tensor([0.0, 0.0, 1.0, 1.0])
        iou = box_iou(true["boxes"] + wide, result["boxes"][keep].clone() + wide)
        for person in range(len(iou)):
            best = max(range(len(keep)), key=lambda q, row=iou[person]: (float(row[q]), -int(keep[q])))
            rows.append(result["probabilities"][keep[best]].double().numpy())
            labels.append(true["labels"][person].numpy())
    expected = [average_precision_score(np.array(labels)[:, c], np.array(rows)[:, c]) for c in range(3)]
    got = evaluate(results, truths, multi_label=True)[protocol]
    np.testing.assert_allclose(got.per_class, expected, rtol=1e-9)
    assert got.value == pytest.approx(np.mean(expected))
    assert got.metric == "mAP"


def test_detection_equals_a_plain_loop() -> None:
    results, truths = random_scenes(multi_label=True)
    expected = []
    for c in range(3):
        scores, hits, positives = [], [], 0
        for result, true in zip(results, truths, strict=True):
            iou = box_iou(result["boxes"].double(), true["boxes"].double())
            free = {n for n in range(len(true["labels"])) if true["labels"][n, c]}
            positives += len(free)
            for q in torch.argsort(-result["probabilities"][:, c], stable=True).tolist():
                near = [n for n in sorted(free) if iou[q, n] >= 0.5]
                if near:
                    free.remove(max(near, key=lambda n, row=iou[q]: float(row[n])))
                scores.append(float(result["probabilities"][q, c]))
                hits.append(bool(near))
        expected.append(average_precision_score(hits, scores) * sum(hits) / positives)
    np.testing.assert_allclose(evaluate(results, truths, multi_label=True)["detection"].per_class, expected, rtol=1e-9)


def test_confusion_matrix_equals_scikit_learn() -> None:
    results, truths = random_scenes(multi_label=False)
    wide = torch.tensor([0.0, 0.0, 1.0, 1.0])
    true, predicted = [], []
    for result, one in zip(results, truths, strict=True):
        if len(one["labels"]):
            best = box_iou(one["boxes"] + wide, result["boxes"] + wide).argmax(1)
            true += one["labels"].tolist()
            predicted += result["probabilities"].argmax(-1)[best].tolist()
    official = evaluate(results, truths)["official"]
    expected = confusion_matrix(true, predicted, labels=[0, 1, 2])
    np.testing.assert_array_equal(official.confusion, expected)
    assert official.value == pytest.approx(np.mean(np.array(true) == predicted))
    np.testing.assert_allclose(official.per_class, expected.diagonal() / expected.sum(1))


def test_protocols_differ_as_named() -> None:
    near, shifted = [0.0, 0.0, 100.0, 100.0], [4.0, 0.0, 104.0, 100.0]
    # Two boxes on one person: the better placed one is wrong and weak, the other right and strong.
    duplicated = prediction([near, shifted], [[0.1, 0.3, 0.1], [0.9, 0.2, 0.2]])
    duplicate = evaluate([duplicated], [truth([near], [0])])
    assert [duplicate[name].value for name in PROTOCOLS] == [0.0, 1.0, 1.0]
    # The only prediction is nowhere near: without a floor it still answers.
    lost = evaluate([prediction([FAR], [[0.9, 0.1, 0.1]])], [truth([near], [0])])
    assert [lost[name].value for name in PROTOCOLS] == [1.0, 1.0, 0.0]
    assert lost["detection"].missed is not None
    assert lost["detection"].missed.tolist() == [1, 0, 0]
    assert lost.box_recall == 0.0


def test_detection_gives_a_prediction_to_one_person_only() -> None:
    first, second = [0.0, 0.0, 100.0, 100.0], [0.0, 0.0, 100.0, 96.0]
    both = truth([first, second], [0, 0])
    result = evaluate([prediction([first], [[0.9, 0.1, 0.1]])], [both])
    assert result["official"].value == 1.0
    assert result["detection"].value == 0.5
    assert result["detection"].average_precision[0] == 0.5
    assert result.box_recall == 1.0


def test_nothing_to_judge_is_not_an_error() -> None:
    nothing = prediction([], [])
    someone = truth([[0, 0, 10, 10]], [1])
    empty = Evaluator(NAMES, multi_label=False).compute()
    assert empty.num_images == 0
    assert np.isnan(empty["official"].value)
    unseen = evaluate([nothing], [someone])
    assert [unseen[name].value for name in PROTOCOLS] == [0.0, 0.0, 0.0]
    assert [unseen[name].average_precision[1] for name in PROTOCOLS] == [0.0, 0.0, 0.0]
    deserted = evaluate([prediction([FAR], [[0.5, 0.5, 0.5]])], [truth([], [])])
    assert np.isnan(deserted["detection"].value)
    assert np.isnan(deserted.box_recall)
    assert "0 people in 1 images" in str(deserted)


def test_values_by_number_of_people_and_on_some_classes() -> None:
    box = [[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 70.0, 70.0]]
    single = prediction(box[:1], [[0.9, 0.1, 0.1]])
    pair = prediction(box, [[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    result = evaluate([single, pair], [truth(box[:1], [0]), truth(box, [1, 2])])["official"]
    assert result.by_subjects == {"1": 1.0, "2": 0.5}
    assert result.on(["b"]) == 0.0
    assert result.on(["a", "b"]) == 0.5
    assert result.value == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="classes must be among"):
        result.on(["z"])


def test_batches_accumulate() -> None:
    results, truths = random_scenes(multi_label=False)
    evaluator = Evaluator(NAMES, multi_label=False)
    for i in range(0, len(results), 7):
        evaluator.update(results[i : i + 7], truths[i : i + 7])
    assert evaluator.compute().to_dict() == evaluate(results, truths).to_dict()


@pytest.mark.parametrize("multi_label", [False, True])
def test_shared_evaluation_equals_one_process(multi_label: bool) -> None:
    results, truths = random_scenes(multi_label)
    options: dict[str, Any] = {"bootstrap": Bootstrap(20), "thresholds": [0.3, 0.5, 0.7] if multi_label else None}
    parts = []
    for rank in (2, 0, 1):
        part = Evaluator(NAMES, multi_label)
        share = list(range(rank, len(results), 3))[::-1]
        part.update([results[i] for i in share], [truths[i] for i in share], share)
        parts.append(pickle.loads(pickle.dumps(part)))
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    alone = Evaluator(NAMES, multi_label)
    alone.update(results, truths)
    assert len(parts[0]) == len(results)
    expected, got = as_json(alone.compute(**options), {}), as_json(parts[0].compute(**options), {})
    assert json.dumps(got, allow_nan=False) == json.dumps(expected, allow_nan=False)


def test_no_image_counts_twice() -> None:
    one = ([prediction([FAR], [[0.9, 0.1, 0.1]])], [truth([FAR], [0])])
    first, second = Evaluator(NAMES, multi_label=False), Evaluator(NAMES, multi_label=False)
    first.update(*one, ["a.jpg"])
    second.update(*one, ["a.jpg"])
    with pytest.raises(ValueError, match=r"'a.jpg' was added before"):
        first.update([*one[0], *one[0]], [*one[1], *one[1]], ["b.jpg", "a.jpg"])
    with pytest.raises(ValueError, match=r"1 are in both, such as 'a.jpg'"):
        first.merge(second)
    with pytest.raises(TypeError, match="must be an Evaluator, got int"):
        first.merge(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same nms_iou"):
        first.merge(Evaluator(NAMES, multi_label=False, nms_iou=0.1))
    with pytest.raises(ValueError, match="one entry per image"):
        first.update(*one, ["c.jpg", "d.jpg"])
    assert len(first) == 1


def test_intervals_are_seeded_and_enclose_an_accuracy() -> None:
    results, truths = random_scenes(multi_label=False, images=200)
    evaluator = Evaluator(NAMES, multi_label=False)
    evaluator.update(results, truths)
    first, again = evaluator.compute(Bootstrap(200)), evaluator.compute(Bootstrap(200))
    assert as_json(first, {}) == as_json(again, {})
    assert as_json(first, {}) != as_json(evaluator.compute(Bootstrap(200, seed=1)), {})
    for result in first.protocols.values():
        assert result.intervals is not None
        low, high = result.intervals.value
        assert low < result.value < high
        assert (result.intervals.per_class[:, 0] < result.per_class).all()
        assert list(result.intervals.by_subjects) == list(result.by_subjects)
    assert first.box_recall_interval is not None
    assert first.box_recall_interval[0] < first.box_recall < first.box_recall_interval[1]


def test_interval_of_average_precision_equals_resampling_by_hand() -> None:
    results, truths = random_scenes(multi_label=True)
    evaluator = Evaluator(NAMES, multi_label=True)
    evaluator.update(results, truths)
    bootstrap = Bootstrap(8)
    values = []
    for weights in bootstrap.weights(len(results)):
        for row in weights.astype(int):
            drawn = np.repeat(np.arange(len(results)), row)
            values.append(evaluate([results[i] for i in drawn], [truths[i] for i in drawn], multi_label=True))
    for name, result in evaluator.compute(bootstrap).protocols.items():
        expected = bootstrap.interval(np.array([one[name].value for one in values]))
        assert result.intervals is not None
        np.testing.assert_allclose(result.intervals.value, expected, rtol=1e-9)


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_evaluation_of_arrays_makes_no_tensor(multi_label: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    results, truths = random_scenes(multi_label)
    arrays = [[{name: value.numpy() for name, value in one.items()} for one in of] for of in (results, truths)]
    options: dict[str, Any] = {"bootstrap": Bootstrap(8), "thresholds": [0.5] * 3 if multi_label else None}
    of_tensors = Evaluator(NAMES, multi_label)
    of_tensors.update(results, truths)
    expected = of_tensors.compute(**options)

    def refuse(*arguments: Any, **_: Any) -> None:
        raise AssertionError(f"a tensor is made of {type(arguments[0])}")

    class NoTensors(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> None:
            refuse(func)

    for name in ("tensor", "as_tensor", "from_numpy", "frombuffer", "asarray"):
        monkeypatch.setattr(torch, name, refuse)
    with NoTensors():
        evaluator = Evaluator(NAMES, multi_label)
        evaluator.update(*arrays)
        found = evaluator.compute(**options)
    monkeypatch.undo()
    assert as_json(found, {}) == as_json(expected, {})


def test_report_names_protocols_and_labels() -> None:
    text = str(evaluate([prediction(FAR, [[0.9, 0.1, 0.1]])], [truth([FAR], [0])], labels="union of annotators"))
    assert all(name in text for name in PROTOCOLS)
    assert "union of annotators" in text


def test_report_of_nothing_is_valid_json_and_markdown() -> None:
    for multi_label in (False, True):
        empty = Evaluator(NAMES, multi_label).compute(Bootstrap(2), [0.5] * 3 if multi_label else None, details=True)
        numbers = json.loads(json.dumps(as_json(empty, {}), allow_nan=False))
        assert numbers["box_recall"] is None
        assert numbers["protocols"]["official"]["interval"] == [None, None]
        assert "| a | 0 | – | – | – | – |" in as_markdown(empty, FACTS, [])


@pytest.mark.parametrize(
    ("results", "truths", "multi_label", "message"),
    [
        ([], [truth([FAR], [0])], False, "one entry per image"),
        ([prediction([FAR], [[0.1, 0.1, 0.1]])], [truth([FAR], [3])], False, "whole numbers in 0…2"),
        ([prediction([FAR], [[0.1, 0.1, 0.1]])], [truth([FAR], [0])], True, r"labels must be \(1, 3\)"),
        ([prediction([FAR], [[0.1, 0.1, 0.1]])], [truth([FAR], [[0, 1, 0]])], False, r"labels must be \(1,\)"),
        ([{**prediction([FAR], [[0.1] * 3]), "probabilities": torch.ones(1, 2)}], [truth([FAR], [0])], False, "column"),
        ([prediction([FAR], [[0.1] * 3])], [truth([FAR], [0.5], torch.float32)], False, "whole numbers"),
        ([prediction([FAR], [[0.1] * 3])], [truth([FAR], [[0, 2, 0]])], True, "labels must be 0 or 1"),
        ([prediction([[NAN, 0, 9, 9]], [[0.1] * 3])], [truth([FAR], [0])], False, "predicted boxes must be finite"),
        ([prediction([FAR], [[0.1] * 3])], [truth([[NAN, 0, 9, 9]], [0])], False, "true boxes must be finite"),
        ([prediction([FAR], [[0.1] * 3])], [truth([[9, 9, 0, 0]], [0])], False, "x1 ≤ x2"),
        ([prediction([FAR], [[0.1, NAN, 0.1]])], [truth([FAR], [0])], False, "must be finite numbers"),
        (
            [{**prediction([FAR], [[0.1] * 3]), "scores": torch.ones(2)}],
            [truth([FAR], [0])],
            False,
            "one per predicted",
        ),
    ],
)
def test_bad_input_is_named(results: Any, truths: Any, multi_label: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(results, truths, multi_label)
    with pytest.raises(ValueError, match="nms_iou"):
        Evaluator(NAMES, multi_label, nms_iou=2.0)


def test_official_counts_both_border_pixels() -> None:
    """With them the thin prediction overlaps more, 22 of 121 pixels; without them the other, 12 of 100."""
    boxes = [[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 4.0, 3.0]]
    results = [prediction(boxes, [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])]
    truths = [truth([[0.0, 0.0, 10.0, 10.0]], [0])]
    assert evaluate(results, truths)["official"].value == 1.0


@pytest.mark.parametrize(("height", "found"), [(50.0, 1.0), (49.0, 0.0), (51.0, 1.0)])
def test_detection_counts_from_half_an_overlap_on(height: float, found: float) -> None:
    """IoU of exactly 0.5 is enough."""
    results = [prediction([[0.0, 0.0, 100.0, height]], [[0.9, 0.05, 0.05]])]
    evaluation = evaluate(results, [truth([[0.0, 0.0, 100.0, 100.0]], [0])])
    assert evaluation["detection"].value == found
    assert evaluation.box_recall == found
