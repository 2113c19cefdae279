"""The parts of the benchmarks that are no measurement: arithmetic, tables, replay, and that both sides agree."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dsct
from tests.bench import (
    bench_cuda,
    bench_loader,
    bench_ops,
    bench_training,
    peak_memory,
    report,
    timing,
)
from tests.bench.agreement import Disagreement, require
from tests.bench.workloads import detr_criterion, replay, twins
from tests.bench.workloads.operator_inputs import TINY, Inputs, cell_centres, grid_sample_attention, make

BUDGET = timing.Budget(repeats=3, seconds=60.0, warmup=1)


@pytest.fixture
def inputs() -> Inputs:
    return make(TINY, 5, batch=2)


def test_ratio_is_the_median_over_pairs_and_not_of_medians() -> None:
    comparison = timing.Comparison(ours=[1.0, 2.0, 4.0], peer=[3.0, 2.0, 8.0])
    assert comparison.ratios == [3.0, 1.0, 2.0]
    assert comparison.ratio == 2.0
    assert comparison.spread == (1.5, 2.5)
    assert (comparison.ours_median, comparison.peer_median) == (2.0, 3.0)
    assert timing.quartiles([7.0]) == (7.0, 7.0)


def test_pairs_alternate_and_warm_up_is_not_counted() -> None:
    order: list[str] = []
    comparison = timing.paired(lambda: order.append("ours"), lambda: order.append("peer"), BUDGET)
    assert order == ["ours", "peer", *("ours", "peer"), *("peer", "ours"), *("ours", "peer")]
    assert len(comparison.ours) == len(comparison.peer) == 3


def test_there_is_one_pair_even_without_time() -> None:
    comparison = timing.paired(int, int, replace(BUDGET, seconds=0.0), clock=lambda step: 1.0)
    assert (comparison.ours, comparison.peer) == ([1.0], [1.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234.5, "1,230"), (12.34, "12.3"), (1.0, "1.00"), (0.01234, "0.0123"), (9.999, "10.0")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def result() -> dict[str, Any]:
    table = report.Table("title", ["case", *report.COMPARISON_COLUMNS], note="note")
    table.compare(["a|b"], timing.Comparison([0.001], [0.002]))
    return {"program": "ops", "command": "command", "machine": {"CPU": "x"}, "tables": [asdict(table)]}


def test_tables_fill_the_readme_again_and_again() -> None:
    text = report.README.read_text(encoding="utf-8")
    filled = report.fill(text, {"ops": result()})
    assert "| a\\|b | 1.00 | 2.00 | 2.00 | 2.00–2.00 | 1 |" in filled
    assert report.fill(filled, {"ops": result()}) == filled
    empty = report.fill(filled, {})
    assert "a\\|b" not in empty
    assert report.fill(empty, {}) == empty


def test_every_program_has_its_place_in_the_readme() -> None:
    text = report.README.read_text(encoding="utf-8")
    programs = {path.stem.removeprefix("bench_") for path in report.HERE.glob("bench_*.py")}
    assert {name for name in programs if f"<!-- results: {name} -->" in text} == programs


def test_results_are_written_with_every_time(tmp_path: Path) -> None:
    report.write(result(), tmp_path)
    assert '"ours": [' in (tmp_path / "ops.json").read_text(encoding="utf-8")
    assert "**title**" in (tmp_path / "ops.md").read_text(encoding="utf-8")


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)
        self.linear = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.convolution(images).relu().flatten(2).transpose(1, 2)
        hidden = self.linear(cells).softmax(-1)
        return hidden @ hidden.transpose(1, 2)


def test_replay_runs_the_recorded_products() -> None:
    model, images = Toy(), torch.randn(2, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    calls = replay.record(lambda: model(images))
    assert sorted(call.name for call in calls) == ["addmm", "bmm", "convolution"]
    convolution = next(call for call in calls if call.name == "convolution")
    assert convolution.args[0] == replay.Layout.of(images)
    assert convolution.args[3] == [2, 2]
    again = replay.record(replay.replay(calls))
    assert again == calls
    assert replay.counts(calls) == "1 addmm, 1 bmm, 1 convolution"


def test_the_native_model_is_recorded_too() -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny()).eval()
    calls = replay.record(lambda: model(torch.randn(1, 3, 64, 96)))
    names = [call.name for call in calls]
    assert names.count("convolution") > 10
    assert names.count("addmm") + names.count("mm") + names.count("bmm") > 10
    replay.replay(calls)()


def test_encoder_points_are_the_centres_of_cells() -> None:
    centres = cell_centres([(2, 3)])
    expected = [[1 / 6, 1 / 4], [3 / 6, 1 / 4], [5 / 6, 1 / 4], [1 / 6, 3 / 4], [3 / 6, 3 / 4], [5 / 6, 3 / 4]]
    torch.testing.assert_close(centres, torch.tensor(expected))


def test_uniform_points_cover_the_image() -> None:
    locations = make(TINY, 50, near=False).locations()
    assert locations.min() >= -1e-5
    assert locations.max() <= 1 + 1e-5
    assert abs(locations.mean() - 0.5) < 0.02


@pytest.mark.parametrize("which", bench_ops.PASSES)
def test_operator_agrees_with_grid_sample(inputs: Inputs, which: str) -> None:
    tensors = bench_ops.plain_tensors(inputs)
    mine, peer = (bench_ops.step(bench_ops.bound(op, inputs), tensors, which) for op in bench_cuda.OPERATORS)
    require("operator", mine(), peer(), bench_ops.TOLERANCES[which])


def test_disagreement_is_refused() -> None:
    with pytest.raises(Disagreement, match=r"what, tensor 1: differs by 0\.5"):
        require("what", [torch.ones(2), torch.ones(2)], [torch.ones(2), 2 * torch.ones(2)], (0.1, 0.1))
    with pytest.raises(Disagreement, match=r"\(2,\) is not \(3,\)"):
        require("what", [torch.ones(2)], [torch.ones(3)], (0.1,))
    with pytest.raises(Disagreement, match="nan"):
        require("what", [torch.full((2,), torch.nan)], [torch.ones(2)], (0.1,))


def test_kept_bytes_count_every_storage_once(inputs: Inputs) -> None:
    tensors = bench_ops.plain_tensors(inputs)
    assert bench_ops.bytes_kept(bench_ops.bound(bench_ops.ours, inputs), tensors) == sum(t.nbytes for t in tensors)


@pytest.mark.parametrize("multi_label", [False, True])
def test_scipy_criterion_agrees(multi_label: bool) -> None:
    config = dsct.DSCTConfig(num_classes=4, multi_label=multi_label, dec_layers=1)
    labels = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]]) if multi_label else torch.tensor([3, 1])
    targets = [{"labels": labels[:n], "boxes": torch.rand(n, 4) * 0.4 + 0.1} for n in (2, 1)]
    outputs = {"pred_logits": torch.randn(2, 6, 4), "pred_boxes": torch.rand(2, 6, 4), "aux_outputs": []}
    ours, peer = dsct.SetCriterion(config)(outputs, targets), detr_criterion.DetrCriterion(config)(outputs, targets)
    torch.testing.assert_close(ours, peer)


def test_twins_compute_the_same_loss_and_gradient() -> None:
    pytest.importorskip("transformers")
    ours, theirs = twins.twins(twins.QUICK)
    images, subjects = torch.randn(1, 3, 64, 96), twins.targets(1, 3)
    steps = bench_training.our_step(ours, images, subjects), bench_training.their_step(theirs, images, subjects)
    bench_training.check(ours, theirs, *steps)
    assert ours.training
    assert theirs.training


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_peak_memory_is_that_of_the_step() -> None:
    peak = peak_memory.of_step("bench_ops:memory_step", side="grid_sample", which="forward", quick=True)
    assert 1e6 < peak < 1e9
    with pytest.raises(RuntimeError, match="KeyError"):
        peak_memory.of_step("bench_ops:memory_step", side="nobody", which="forward", quick=True)


def test_compulsory_bytes() -> None:
    value, locations, weights = torch.empty(4, 10, 8, 32), torch.empty(4, 6, 8, 4, 4, 2), torch.empty(4, 6, 8, 4, 4)
    forward = value.nbytes + locations.nbytes + weights.nbytes + 4 * 4 * 6 * 8 * 32
    assert bench_cuda.compulsory_bytes((value, locations, weights), "forward") == forward
    both = 2 * forward + 2 * value.nbytes + locations.nbytes + weights.nbytes
    assert bench_cuda.compulsory_bytes((value, locations, weights), "forward + backward") == both
    half = bench_cuda.compulsory_bytes((value.half(), locations, weights), "forward + backward")
    assert half == both - value.nbytes - 2 * 2 * 4 * 6 * 8 * 32, "gradients of value are sums in float32"


ROUTES = {**bench_loader.PEERS, **bench_loader.DRAFT_PEERS}


@pytest.mark.parametrize("name", ROUTES)
def test_routes_of_the_loader_give_the_same_sample(name: str) -> None:
    files = bench_loader.photographs(2, 800, 600)
    bench_loader.check(ROUTES[name], files, bench_loader.TOLERANCE)


def test_a_route_that_loads_another_image_is_refused() -> None:
    files = bench_loader.photographs(1, 400, 300)
    mirrored = bench_loader.route(lambda photograph: bench_loader.with_pillow(photograph).rotate(180))
    with pytest.raises(Disagreement, match="loader, tensor 0"):
        bench_loader.check(mirrored, files, bench_loader.TOLERANCE)


def test_draft_makes_large_photographs_smaller_and_keeps_the_boxes_on_the_people() -> None:
    (photograph,) = bench_loader.photographs(1, 2400, 1800)
    assert bench_loader.with_draft(photograph).size == (1200, 900)
    bench_loader.check(ROUTES["Pillow's draft"], [photograph], bench_loader.DRAFT_TOLERANCE)


def test_photographs_have_the_bytes_of_photographs() -> None:
    (photograph,) = bench_loader.photographs(1, 800, 600)
    assert 0.1 < len(photograph.content) / (800 * 600) < 0.5


def original_extension() -> Any:
    """A stand-in with the two functions of the original extension."""

    def plain(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return dsct.ops.ms_deform_attn(value, shapes, starts, locations, weights)

    def backward(value: Tensor, shapes: Tensor, starts: Tensor, *rest: Any) -> Any:
        locations, weights, gradient, _ = rest
        flat = shapes.flatten().tolist()
        operator = torch.ops.dsct.ms_deform_attn_backward
        return operator(gradient, value, flat, locations, weights, [True, True, True])

    return SimpleNamespace(ms_deform_attn_forward=lambda *a: plain(*a[:5]), ms_deform_attn_backward=backward)


def test_other_extensions_are_called_as_they_want(inputs: Inputs) -> None:
    operator = bench_cuda.extension_operator(original_extension())
    tensors, which = bench_ops.plain_tensors(inputs), bench_ops.PASSES[1]
    mine = bench_ops.step(bench_ops.bound(operator, inputs), tensors, which)
    peer = bench_ops.step(bench_ops.bound(grid_sample_attention, inputs), tensors, which)
    require("extension", mine(), peer(), bench_ops.TOLERANCES[which])


def test_without_a_gpu_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bench_cuda.main()
    assert capsys.readouterr().out == "bench_cuda: no NVIDIA GPU here, nothing measured.\n"
