"""The training losses against the plain PyTorch reference, in values and gradients, and what is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsct.config import DSCTConfig
from dsct.criterion import SetCriterion
from tests.reference.criterion import SetCriterion as ReferenceCriterion

PRESETS = ("paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s")
Targets = list[dict[str, Tensor]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def layer(cfg: DSCTConfig, images: int, queries: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    return {
        "pred_logits": (2 * torch.randn(images, queries, cfg.num_logits)).to(dtype).requires_grad_(),
        "pred_boxes": (0.1 + 0.8 * torch.rand(images, queries, 4)).to(dtype).requires_grad_(),
    }


def outputs(cfg: DSCTConfig, images: int, queries: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    aux = [layer(cfg, images, queries, dtype) for _ in range(cfg.dec_layers - 1)]
    return {**layer(cfg, images, queries, dtype), "aux_outputs": aux}


def leaves(out: dict[str, Any]) -> list[Tensor]:
    return [one[key] for one in (*out["aux_outputs"], out) for key in ("pred_logits", "pred_boxes")]


def subjects(cfg: DSCTConfig, *counts: int) -> Targets:
    shape, classes = ((cfg.num_classes,), 2) if cfg.multi_label else ((), cfg.num_classes)
    return [
        {"labels": torch.randint(0, classes, (n, *shape)), "boxes": 0.1 + 0.8 * torch.rand(n, 4, dtype=torch.float64)}
        for n in counts
    ]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("counts", [(1, 2, 3), (0, 9, 1, 0), (0, 0), ()])
def test_losses_and_gradients_are_those_of_the_reference(preset: str, counts: tuple[int, ...]) -> None:
    cfg = getattr(DSCTConfig, preset)(focal_alpha=0.375, focal_gamma=1.5, dec_layers=3, fusion_layers=())
    ours, theirs = SetCriterion(cfg), ReferenceCriterion(cfg)
    out, targets = outputs(cfg, len(counts), 4), subjects(cfg, *counts)
    losses, expected = ours(out, targets), theirs(out, targets)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.shape == ()
        torch.testing.assert_close(loss, expected[name], rtol=1e-12, atol=1e-13)
    assert ours.weight_dict == theirs.weight_dict
    torch.testing.assert_close(ours.total(losses), theirs.total(expected), rtol=1e-12, atol=1e-13)
    gradients = [torch.autograd.grad(c.total(found), leaves(out)) for c, found in ((ours, losses), (theirs, expected))]
    for gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("preset", ["official_emotic", "official_caer_s"])
def test_gradients_are_those_of_finite_differences(preset: str) -> None:
    cfg = getattr(DSCTConfig, preset)(dec_layers=2)
    criterion, out, targets = SetCriterion(cfg), outputs(cfg, 2, 3), subjects(cfg, 2, 1)

    def losses(aux_logits: Tensor, aux_boxes: Tensor, logits: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        aux = [{"pred_logits": aux_logits, "pred_boxes": aux_boxes}]
        found = criterion({"pred_logits": logits, "pred_boxes": boxes, "aux_outputs": aux}, targets)
        return tuple(found.values())

    assert torch.autograd.gradcheck(losses, tuple(leaves(out)))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("counts", [(1, 2, 3), (0, 9, 1, 0), (0, 0)])
def test_weighted_classes_are_those_of_the_reference(preset: str, counts: tuple[int, ...]) -> None:
    cfg = getattr(DSCTConfig, preset)(focal_gamma=1.5, dec_layers=2, fusion_layers=())
    weights = tuple(0.25 * (1 + number) for number in range(cfg.num_classes))
    ours, theirs = SetCriterion(cfg, weights), ReferenceCriterion(cfg, weights)
    out, targets = outputs(cfg, len(counts), 4), subjects(cfg, *counts)
    losses, expected = ours(out, targets), theirs(out, targets)
    plain = SetCriterion(cfg)(out, targets)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-6, atol=1e-7)
        assert torch.equal(loss, plain[name]) == (not any(counts) or "loss_ce" not in name)
    gradients = [torch.autograd.grad(c.total(found), leaves(out)) for c, found in ((ours, losses), (theirs, expected))]
    for gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-8)
    of_one = SetCriterion(cfg, [1.0] * cfg.num_classes)(out, targets)
    assert all(torch.equal(loss, plain[name]) for name, loss in of_one.items())


@pytest.mark.parametrize("preset", ["official_emotic", "official_caer_s"])
def test_gradients_with_class_weights_are_those_of_finite_differences(preset: str) -> None:
    cfg = getattr(DSCTConfig, preset)()
    criterion = SetCriterion(cfg, [0.5 + number for number in range(cfg.num_classes)])
    out, targets = layer(cfg, 2, 3), subjects(cfg, 2, 1)

    def loss(logits: Tensor) -> Tensor:
        return criterion({"pred_logits": logits, "pred_boxes": out["pred_boxes"]}, targets)["loss_ce"]

    assert torch.autograd.gradcheck(loss, (out["pred_logits"],))


@pytest.mark.parametrize(
    "weights", [[1.0], [1.0] * 6 + [0.0], [1.0] * 6 + [float("nan")], [[1.0] * 7], "a", [None] * 7]
)
def test_class_weights_must_be_one_positive_number_per_class(weights: Any) -> None:
    with pytest.raises(ValueError, match="class_weights must be 7 positive numbers, one per class"):
        SetCriterion(DSCTConfig.paper_caer_s(), weights)


def test_perfect_boxes_cost_nothing_and_layers_are_told_apart() -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=3)
    out, targets = outputs(cfg, 1, 2), subjects(cfg, 1)
    with torch.no_grad():
        out["aux_outputs"][1]["pred_boxes"][0, 1] = targets[0]["boxes"][0]
    losses = SetCriterion(cfg)(out, targets)
    assert losses["loss_bbox_1"] == 0
    assert losses["loss_giou_1"].abs() < 1e-12
    assert min(losses[name] for name in ("loss_bbox", "loss_bbox_0", "loss_giou", "loss_giou_0")) > 0.01


def test_without_earlier_layers_only_the_last_one_counts() -> None:
    cfg = DSCTConfig.paper_caer_s()
    out, targets = layer(cfg, 2, 3), subjects(cfg, 1, 2)
    assert set(SetCriterion(cfg)(out, targets)) == {"loss_ce", "loss_bbox", "loss_giou"}


def test_matching_is_that_of_the_matcher() -> None:
    cfg = DSCTConfig.paper_caer_s()
    criterion, out, targets = SetCriterion(cfg), layer(cfg, 2, 5), subjects(cfg, 2, 3)
    indices = criterion.matcher(out, targets)
    distance = sum(
        (out["pred_boxes"][i, query] - targets[i]["boxes"][subject]).abs().sum()
        for i, (query, subject) in enumerate(indices)
    )
    torch.testing.assert_close(criterion(out, targets)["loss_bbox"], distance / 5)


def test_every_subject_counts_in_the_denominator_matched_or_not() -> None:
    cfg = DSCTConfig.paper_caer_s()
    criterion, out = SetCriterion(cfg), layer(cfg, 1, 1)
    one = subjects(cfg, 1)
    many = [{key: value.repeat(4, *[1] * (value.ndim - 1)) for key, value in one[0].items()}]
    few_losses, many_losses = criterion(out, one), criterion(out, many)
    for name in few_losses:
        torch.testing.assert_close(few_losses[name], 4 * many_losses[name])


def test_person_logit_is_trained_towards_matched_queries() -> None:
    cfg = DSCTConfig.official_emotic()
    out, targets = layer(cfg, 1, 3), subjects(cfg, 1)
    criterion = SetCriterion(cfg)
    matched = criterion.matcher(out, targets)[0][0].item()
    (gradient,) = torch.autograd.grad(criterion(out, targets)["loss_ce"], out["pred_logits"])
    person = gradient[0, :, -1]
    assert [query for query in range(3) if person[query] < 0] == [matched]
    assert (person != 0).all()


def test_extra_logit_of_a_multi_class_model_is_never_trained() -> None:
    cfg = DSCTConfig.official_caer_s()
    out, targets = layer(cfg, 2, 3), subjects(cfg, 1, 2)
    criterion = SetCriterion(cfg)
    (gradient,) = torch.autograd.grad(criterion.total(criterion(out, targets)), out["pred_logits"])
    assert (gradient[..., -1] == 0).all()
    assert (gradient[..., :-1] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    cfg = DSCTConfig.paper_emotic(dec_layers=2)
    out, targets = outputs(cfg, 2, 4, dtype), subjects(cfg, 2, 1)
    widen = lambda one: {key: value.detach().float() for key, value in one.items() if key != "aux_outputs"}  # noqa: E731
    wide = {**widen(out), "aux_outputs": [widen(aux) for aux in out["aux_outputs"]]}
    criterion = SetCriterion(cfg)
    losses, expected = criterion(out, targets), criterion(wide, targets)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name])
    gradients = torch.autograd.grad(criterion.total(losses), leaves(out))
    assert all(gradient.dtype == dtype and gradient.isfinite().all() for gradient in gradients)


def test_zero_area_boxes_train_with_finite_gradients() -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    out, targets = layer(cfg, 1, 2, torch.float32), subjects(cfg, 2)
    targets[0]["boxes"][:, 2:] = 0
    with torch.no_grad():
        out["pred_boxes"].copy_(targets[0]["boxes"][None])
    criterion = SetCriterion(cfg)
    total = criterion.total(criterion(out, targets))
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, list(out.values())))


def test_images_without_people_may_hold_any_empty_tensor() -> None:
    cfg = DSCTConfig.paper_emotic(dec_layers=1)
    out = layer(cfg, 2, 3)
    empty = {"labels": torch.tensor([]), "boxes": torch.tensor([])}
    there = subjects(cfg, 2)
    losses = SetCriterion(cfg)(out, [empty, *there])
    expected = SetCriterion(cfg)(out, [*subjects(cfg, 0), *there])
    assert all(losses[name] == expected[name] for name in expected)


def test_runs_are_equal_to_the_bit() -> None:
    cfg = DSCTConfig.paper_emotic()
    criterion, out, targets = SetCriterion(cfg), outputs(cfg, 8, 20), subjects(cfg, *[3] * 8)
    first, second = criterion(out, targets), criterion(out, targets)
    assert all(first[name].equal(second[name]) for name in first)


def test_copies_and_pickles_compute_the_same_and_hold_no_state() -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1, focal_gamma=3.0)
    criterion, out, targets = SetCriterion(cfg), layer(cfg, 2, 3), subjects(cfg, 1, 2)
    expected = criterion(out, targets)
    for other in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert other(out, targets) == expected
    assert not criterion.state_dict()
    assert not list(criterion.parameters())


def test_total_needs_known_losses() -> None:
    criterion = SetCriterion(DSCTConfig.paper_caer_s(dec_layers=1))
    assert criterion.total({"loss_giou": torch.tensor(3.0)}) == 6
    with pytest.raises(ValueError, match=r"losses must be among .*, got .*loss_ce_4"):
        criterion.total({"loss_ce_4": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="losses must be among"):
        criterion.total({})


# --- several processes ------------------------------------------------------------------------------------------------


def _losses_of_one_process(rank: int, world: int, folder: str) -> None:
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    try:
        criterion = SetCriterion(DSCTConfig.paper_caer_s(dec_layers=1))
        losses = []
        for out, targets in torch.load(f"{folder}/inputs.pt"):
            part = {key: value[rank : rank + 1] for key, value in out.items()}
            losses.append(criterion(part, targets[rank : rank + 1]))
        torch.save(losses, f"{folder}/losses{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def test_mean_over_processes_is_the_loss_of_the_whole_batch(tmp_path: Path) -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    # Also where the processes' share is less than one box.
    inputs = [
        ({key: value.detach() for key, value in layer(cfg, 2, 4).items()}, subjects(cfg, *counts))
        for counts in ((1, 4), (1, 0), (0, 0))
    ]
    torch.save(inputs, tmp_path / "inputs.pt")
    torch.multiprocessing.spawn(_losses_of_one_process, (2, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"losses{rank}.pt") for rank in range(2)]
    for case, (out, targets) in enumerate(inputs):
        for name, expected in SetCriterion(cfg)(out, targets).items():
            torch.testing.assert_close((parts[0][case][name] + parts[1][case][name]) / 2, expected)


def test_parts_of_a_batch_add_up_to_the_loss_of_the_whole() -> None:
    cfg = DSCTConfig.paper_emotic(dec_layers=2)
    criterion, targets = SetCriterion(cfg), subjects(cfg, 3, 0, 1)
    aux, last = layer(cfg, 3, 4), layer(cfg, 3, 4)
    parts = [
        criterion(
            {**{key: value[i : i + 1] for key, value in last.items()},
             "aux_outputs": [{key: value[i : i + 1] for key, value in aux.items()}]},
            targets[i : i + 1],
            num_boxes=4.0,
        )
        for i in range(3)
    ]  # fmt: skip
    for name, expected in criterion({**last, "aux_outputs": [aux]}, targets).items():
        torch.testing.assert_close(sum(part[name] for part in parts), expected, rtol=1e-12, atol=0)


def test_a_share_of_less_than_one_box_is_no_whole_one() -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    out, targets = layer(cfg, 1, 2), subjects(cfg, 1)
    whole, quarter = (SetCriterion(cfg)(out, targets, num_boxes=number) for number in (1.0, 0.25))
    assert all(quarter[name] == 4 * value for name, value in whole.items())


@pytest.mark.parametrize("number", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_number_of_boxes_is_named(number: float) -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    with pytest.raises(ValueError, match="num_boxes must be positive and finite, got"):
        SetCriterion(cfg)(layer(cfg, 1, 2), subjects(cfg, 1), num_boxes=number)


# --- bad input --------------------------------------------------------------------------------------------------------


def change(target: dict[str, Tensor], **values: Any) -> Targets:
    return [{"labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}, {**target, **values}]


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        ("boxes", torch.zeros(2, 5), ValueError, r'targets\[1\]\["boxes"\] must be \(n, 4\), got \(2, 5\)'),
        ("boxes", torch.zeros(3, 4), ValueError, r'targets\[1\]\["labels"\] must be \(3\), one row per box, got \(2\)'),
        ("boxes", torch.zeros(2, 4).long(), TypeError, r'targets\[1\]\["boxes"\] must be floating point, got Int64'),
        ("boxes", torch.full((2, 4), float("nan")), ValueError, r'targets\[1\]\["boxes"\] must be finite'),
        (
            "boxes",
            torch.full((2, 4), -0.5),
            ValueError,
            r'targets\[1\]\["boxes"\] must be finite cx, cy, w, h with w, h',
        ),
        ("boxes", [[0.5] * 4] * 2, TypeError, r'targets\[1\]\["boxes"\] must be a torch.Tensor, got list'),
        ("labels", torch.zeros(2, 7).long(), ValueError, r'targets\[1\]\["labels"\] must be \(2\), one row per box'),
        ("labels", torch.zeros(2), TypeError, r'targets\[1\]\["labels"\] must be int64 class numbers, got Float'),
        (
            "labels",
            torch.tensor([0, 7]),
            ValueError,
            r'targets\[1\]\["labels"\] must be class numbers from 0 to 6, got \(7.0\)',
        ),
        (
            "labels",
            torch.tensor([-1, 6]),
            ValueError,
            r'targets\[1\]\["labels"\] must be class numbers from 0 to 6, got \(-1.0\)',
        ),
    ],
)
def test_bad_targets_are_named(key: str, value: Any, error: type[Exception], message: str) -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    good = {"labels": torch.tensor([0, 6]), "boxes": torch.full((2, 4), 0.5)}
    out = layer(cfg, 2, 3)
    SetCriterion(cfg)(out, change(good))
    for function in (SetCriterion(cfg), SetCriterion(cfg).matcher):
        with pytest.raises(error, match=message):
            function(out, change(good, **{key: value}))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 25), r'targets\[1\]\["labels"\] must be \(2, 26\), one row per box, got \(2, 25\)'),
        (torch.zeros(2).long(), r'targets\[1\]\["labels"\] must be \(2, 26\), one row per box, got \(2\)'),
        (torch.full((2, 26), 0.5), r'targets\[1\]\["labels"\] must be 0 or 1 everywhere'),
        (torch.full((2, 26), 2), r'targets\[1\]\["labels"\] must be 0 or 1 everywhere'),
    ],
)
def test_bad_multi_label_targets_are_named(labels: Tensor, message: str) -> None:
    cfg = DSCTConfig.paper_emotic(dec_layers=1)
    with pytest.raises(ValueError, match=message):
        SetCriterion(cfg)(layer(cfg, 2, 3), change({"labels": labels, "boxes": torch.full((2, 4), 0.5)}))


@pytest.mark.parametrize(
    ("change_outputs", "error", "message"),
    [
        (
            lambda out: out.pop("pred_boxes"),
            ValueError,
            "outputs must have pred_logits and pred_boxes, lacks pred_boxes",
        ),
        (lambda out: out.update(pred_logits=torch.zeros(2, 3, 8)), ValueError, r"pred_logits must be \(B, N, 7\), got"),
        (
            lambda out: out.update(pred_boxes=torch.zeros(2, 4, 4)),
            ValueError,
            r'aux_outputs\[0\]\["pred_boxes"\] must be',
        ),
        (lambda out: out.update(pred_logits=None), TypeError, r"pred_logits.* must be a torch.Tensor, got NoneType"),
        (
            lambda out: out.update(pred_logits=torch.zeros(2, 3, 7).long()),
            TypeError,
            "pred_logits must be floating point",
        ),
        (
            lambda out: out["aux_outputs"][0]["pred_logits"].data.fill_(float("nan")),
            ValueError,
            r'aux_outputs\[0\]\["pred_logits"\] must be finite, got NaN in image 0',
        ),
        (
            lambda out: out["pred_boxes"].data[1].fill_(float("nan")),
            ValueError,
            r"criterion: pred_boxes must be finite, got NaN in image 1",
        ),
    ],
)
def test_bad_outputs_are_named(change_outputs: Any, error: type[Exception], message: str) -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=2)
    out, targets = outputs(cfg, 2, 3), subjects(cfg, 1, 0)
    change_outputs(out)
    with pytest.raises(error, match=message):
        SetCriterion(cfg)(out, targets)


@pytest.mark.parametrize("targets", [None, 5, {"labels": 1}, [None], ["labels"]])
def test_targets_are_a_list_of_dicts(targets: Any) -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    with pytest.raises(TypeError, match="criterion: targets must be a list of dicts, one per image, got"):
        SetCriterion(cfg)(layer(cfg, 1, 3), targets)


def test_one_target_per_image() -> None:
    cfg = DSCTConfig.paper_caer_s(dec_layers=1)
    with pytest.raises(ValueError, match="targets must be one per image, 2 in all, got 3"):
        SetCriterion(cfg)(layer(cfg, 2, 3), subjects(cfg, 1, 1, 1))
    with pytest.raises(ValueError, match=r'targets\[0\] must have "labels" and "boxes", got'):
        SetCriterion(cfg)(layer(cfg, 1, 3), [{"boxes": torch.zeros(0, 4)}])
