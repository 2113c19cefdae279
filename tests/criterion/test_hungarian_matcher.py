"""Matching: the assignment against scipy, the costs against the reference, batched against single."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dsct import _dsct
from dsct.config import DSCTConfig
from dsct.criterion import HungarianMatcher
from tests.metrics.arrays import LAYOUTS, UNREADABLE
from tests.reference.criterion import HungarianMatcher as ReferenceMatcher

PRESETS = ("paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s")
Targets = list[dict[str, Tensor]]


def predictions(cfg: DSCTConfig, images: int, queries: int, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, queries, cfg.num_logits, dtype=torch.float64, generator=generator)
    return {
        "pred_logits": logits,
        "pred_boxes": torch.rand(images, queries, 4, dtype=torch.float64, generator=generator),
    }


def subjects(cfg: DSCTConfig, counts: list[int], seed: int = 0) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    shape, classes = ((cfg.num_classes,), 2) if cfg.multi_label else ((), cfg.num_classes)
    return [
        {
            "labels": torch.randint(0, classes, (n, *shape), generator=generator),
            "boxes": torch.rand(n, 4, dtype=torch.float64, generator=generator),
        }
        for n in counts
    ]


# --- linear assignment ------------------------------------------------------------------------------------------------


def check_against_scipy(cost: np.ndarray[Any, Any]) -> None:
    rows, columns = _dsct.linear_assignment(cost)
    ours = cost[rows, columns].sum()
    assert ours == pytest.approx(cost[linear_sum_assignment(cost)].sum(), rel=1e-12, abs=1e-12)
    assert rows.dtype == columns.dtype == np.int64
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == len(set(columns.tolist())) == min(cost.shape)


@pytest.mark.parametrize("kind", ["continuous", "ties", "one value", "ranges"])
def test_assignment_costs_what_scipy_finds(kind: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        shape = tuple(random.integers(0, 13, size=2))
        cost = {
            "continuous": lambda shape=shape: random.normal(size=shape),
            "ties": lambda shape=shape: random.integers(-2, 3, size=shape).astype(float),
            "one value": lambda shape=shape: np.full(shape, random.normal()),
            "ranges": lambda shape=shape: random.normal(size=shape) * 10.0 ** random.integers(-6, 7, size=shape),
        }[kind]()
        check_against_scipy(cost)


@pytest.mark.parametrize("shape", [(5, 300), (300, 5), (40, 40)])
def test_large_assignment_costs_what_scipy_finds(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        check_against_scipy(random.normal(size=shape))
        check_against_scipy(random.integers(0, 4, size=shape).astype(float))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_assignment_refuses_unusable_costs(bad: float) -> None:
    with pytest.raises(ValueError, match=r"cost must be finite, got .* in row 1, column 0"):
        _dsct.linear_assignment(np.array([[0.0, 1.0], [bad, 2.0]]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 3), (0, 3), (3, 0)])
def test_assignment_reads_any_layout(layout: str, shape: tuple[int, int]) -> None:
    cost = np.random.default_rng(2).normal(size=shape)
    laid_out = LAYOUTS[layout](cost)
    for found, expected in zip(_dsct.linear_assignment(laid_out), _dsct.linear_assignment(cost), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(laid_out, cost)


@pytest.mark.parametrize(
    ("cost", "error", "message"),
    [
        (np.zeros(4), ValueError, r"linear_assignment: cost must be \(R, C\), got \(4\)"),
        (np.zeros((1, 2, 3)), ValueError, r"cost must be \(R, C\), got \(1, 2, 3\)"),
        (
            np.broadcast_to(np.ones(1), (2**45, 1)),
            RuntimeError,
            r"out of memory, arguments ask for \[35184372088832, 1\]",
        ),
        *((cost, TypeError, message) for cost, message in UNREADABLE),
    ],
)
def test_assignment_refuses_what_is_no_matrix_of_float64(cost: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _dsct.linear_assignment(cost)


# --- matching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_matches_as_the_reference_does(preset: str, gamma: float) -> None:
    cfg = getattr(DSCTConfig, preset)(focal_alpha=0.375, focal_gamma=gamma, cost_class=3.0)
    outputs, targets = predictions(cfg, 8, 7), subjects(cfg, [0, 1, 2, 3, 7, 9, 20, 0])
    ours, theirs = HungarianMatcher(cfg)(outputs, targets), ReferenceMatcher(cfg)(outputs, targets)
    for (query, subject), (expected_query, expected_subject) in zip(ours, theirs, strict=True):
        assert query.dtype == subject.dtype == torch.int64
        assert query.tolist() == expected_query.tolist()
        assert subject.tolist() == expected_subject.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=6), st.integers(0, 5), st.integers(0, 2**31), st.sampled_from(PRESETS))
def test_a_batch_matches_as_its_images_do(counts: list[int], queries: int, seed: int, preset: str) -> None:
    cfg = getattr(DSCTConfig, preset)()
    matcher = HungarianMatcher(cfg)
    outputs, targets = predictions(cfg, len(counts), queries, seed), subjects(cfg, counts, seed)
    together = matcher(outputs, targets)
    assert len(together) == len(counts)
    for i, (query, subject) in enumerate(together):
        alone = matcher({key: value[i : i + 1] for key, value in outputs.items()}, targets[i : i + 1])[0]
        assert query.equal(alone[0])
        assert subject.equal(alone[1])
        assert len(query) == min(counts[i], queries)
        assert query.tolist() == sorted(set(query.tolist()))
        assert len(set(subject.tolist())) == len(subject)


def test_threads_share_the_images_and_change_no_pair(several_threads: None) -> None:
    cfg = DSCTConfig.paper_emotic()
    outputs, targets = predictions(cfg, 8, 9), subjects(cfg, [3, 0, 5, 1, 9, 2, 4, 12])
    shared = HungarianMatcher(cfg)(outputs, targets)
    torch.set_num_threads(1)
    for pairs, expected in zip(shared, HungarianMatcher(cfg)(outputs, targets), strict=True):
        assert torch.stack(pairs).equal(torch.stack(expected))


def test_alpha_reaches_the_costs() -> None:
    # Both queries are sure of the class, so that pos differs little and neg (weight 1 - alpha) much: query 0 is surer.
    # Query 1 has the better box.
    outputs = {
        "pred_logits": torch.tensor([[[6.0] * 7, [2.0] * 7]]),
        "pred_boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.22, 0.22]]]),
    }
    targets = [{"labels": torch.tensor([2]), "boxes": torch.tensor([[0.5, 0.5, 0.23, 0.23]])}]
    chosen = [
        HungarianMatcher(DSCTConfig.paper_caer_s(focal_alpha=alpha))(outputs, targets)[0][0].item()
        for alpha in (0.0, 1.0)
    ]
    assert chosen == [0, 1]


@pytest.mark.parametrize("preset", ["official_emotic", "official_caer_s"])
def test_the_extra_logit_takes_no_part(preset: str) -> None:
    cfg = getattr(DSCTConfig, preset)()
    outputs, targets = predictions(cfg, 3, 6), subjects(cfg, [2, 3, 1])
    before = HungarianMatcher(cfg)(outputs, targets)
    outputs["pred_logits"][..., -1] = 50 * torch.randn(3, 6, dtype=torch.float64)
    after = HungarianMatcher(cfg)(outputs, targets)
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_floating_dtype_is_taken(dtype: torch.dtype) -> None:
    cfg = DSCTConfig.paper_emotic()
    outputs, targets = predictions(cfg, 3, 6), subjects(cfg, [2, 3, 1])
    narrow = {key: value.to(dtype) for key, value in outputs.items()}
    wide = {key: value.float() for key, value in narrow.items()}
    ours, expected = (HungarianMatcher(cfg)(out, targets) for out in (narrow, wide))
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32])
def test_multi_label_targets_of_every_dtype_match_alike(dtype: torch.dtype) -> None:
    cfg = DSCTConfig.paper_emotic()
    outputs, targets = predictions(cfg, 2, 5), subjects(cfg, [3, 2])
    converted = [{**target, "labels": target["labels"].to(dtype)} for target in targets]
    ours, expected = HungarianMatcher(cfg)(outputs, converted), HungarianMatcher(cfg)(outputs, targets)
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("key", ["pred_logits", "pred_boxes"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("people", [0, 2])
def test_predictions_that_are_not_finite_are_named(key: str, bad: float, people: int) -> None:
    cfg = DSCTConfig.paper_caer_s()
    outputs = predictions(cfg, 4, 3)
    outputs[key][2, 1, 0] = bad
    outputs[key][3, 1, 0] = bad
    with pytest.raises(ValueError, match=rf"{key} must be finite, got (NaN|inf) in image 2"):
        HungarianMatcher(cfg)(outputs, subjects(cfg, [people] * 4))


def test_copies_and_pickles_match_alike_and_hold_no_state() -> None:
    cfg = DSCTConfig.official_emotic(cost_class=7.0)
    matcher = HungarianMatcher(cfg)
    outputs, targets = predictions(cfg, 2, 5), subjects(cfg, [3, 2])
    expected = matcher(outputs, targets)
    for other in (copy.deepcopy(matcher), pickle.loads(pickle.dumps(matcher))):
        assert all(
            a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(other(outputs, targets), expected, strict=True)
        )
    assert not matcher.state_dict()
    assert not list(matcher.parameters())


def _match_in_child(queue: Any, outputs: dict[str, Tensor], targets: Targets) -> None:
    torch.set_num_threads(2)
    queue.put([query.tolist() for query, _ in HungarianMatcher(DSCTConfig.paper_caer_s())(outputs, targets)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_fork(several_threads: None) -> None:
    """Threads do not survive a fork: a child that waited for the parent's would hang."""
    cfg = DSCTConfig.paper_caer_s()
    outputs, targets = predictions(cfg, 8, 9), subjects(cfg, [3] * 8)
    expected = [query.tolist() for query, _ in HungarianMatcher(cfg)(outputs, targets)]  # the parent's pool exists now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_match_in_child, args=(queue, outputs, targets), daemon=True)
    child.start()
    try:
        assert queue.get(timeout=30) == expected
    finally:
        child.kill()
