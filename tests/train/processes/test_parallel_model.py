"""Training in two processes is training in one: losses, gradients, steps, files; and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dsct
from dsct.train.loading.sampling import EpochBatches, ShardedBatches, shard_indices
from dsct.train.processes.distributed import Processes
from dsct.train.processes.parallel_model import wrap
from dsct.train.processes.sharded_state import load_model_state, load_optimizer_state, model_state, optimizer_state
from tests.comparison import padded_images, randomise, small
from tests.train.processes import distributed_worker as worker
from tests.train.processes.two_processes import launch

KINDS = ("ddp", "fsdp")
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found, in one start of torchrun on a port of its own choice."""
    folder = tmp_path_factory.mktemp("processes")
    launch(worker.__file__, folder)
    return [torch.load(folder / f"found{rank}.pt") for rank in range(2)]


def assert_close(ours: Any, expected: Any, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


# --- two processes against one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["float64", "accumulated float64", "recomputed float64", "float32"])
def test_loss_and_gradients_are_those_of_the_whole_batch(found: list[dict[str, Any]], kind: str, how: str) -> None:
    dtype, tolerance = (torch.float32, 1e-4) if how == "float32" else (torch.float64, 1e-9)
    expected = worker.gradients(Processes(), False, dtype)
    assert len(expected["gradients"]) > 50
    for one in found:
        for what in ("loss", "gradients"):
            assert_close(one[kind]["gradients"][how][what], expected[what], tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_accumulated_gradients_are_averaged_in_the_last_pass_only(found: list[dict[str, Any]], kind: str) -> None:
    first, second = (one[kind]["gradients"]["accumulated float64"]["own"] for one in found)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_of_one_process_also_when_it_was_stopped(found: list[dict[str, Any]], kind: str) -> None:
    expected = worker.train(Processes())
    assert len(expected["losses"]) == 6
    first, second = (one[kind]["training"] for one in found)
    for name in ("model", "average"):
        assert list(first[name]) == list(expected[name])
        # Where a gradient is as small as AdamW's epsilon, its last digits move a weight by more than rounding.
        assert_close(first[name], expected[name], 1e-7)
        assert_close(second[name], first[name], 0.0)
    assert_close(first["losses"], expected["losses"])
    assert_close(first["optimizer"], expected["optimizer"])
    assert first["losses"] == second["losses"]
    # One head under several names is still one tensor.
    heads = [first["model"][f"class_embed_dsct.{layer}.weight"] for layer in range(2)]
    assert heads[0].data_ptr() == heads[1].data_ptr()
    for one in (first, second):
        assert_close(one["restored by torch"], one["model"], 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_evaluate_different_numbers_of_images(found: list[dict[str, Any]], kind: str) -> None:
    expected = worker.train(Processes())["predictions"]
    assert list(expected) == [0, 1, 2]
    assert_close(found[0][kind]["training"]["predictions"], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_buffers_begin_as_those_of_the_main_process(found: list[dict[str, Any]], kind: str) -> None:
    expected = worker.frozen_batch_norm(Processes(), False)
    assert expected["buffers"]
    for one in found:
        assert_close(one[kind]["frozen batch norm"], expected)


# --- what processes tell each other -----------------------------------------------------------------------------------


def test_processes_agree(found: list[dict[str, Any]]) -> None:
    for rank, one in enumerate(found):
        told = one["agreement"]
        assert told["processes"] == (rank, 2, rank, rank == 0)
        assert told["sum"] == {"both": 0.1 + 1.1, "second only": 1.0}
        assert told["any"] == [False, True, True, True]
        assert told["gather"] == ([{"rank": 0}, {"rank": 1}] if rank == 0 else None)
        assert told["broadcast"] == "of 0"


def test_a_failure_in_one_process_ends_all(found: list[dict[str, Any]]) -> None:
    first, second = (one["agreement"] for one in found)
    own = ["FloatingPointError: the loss is nan in 0", "FloatingPointError: the loss is nan in 1"]
    assert first["failures"] == [None, f"FailedElsewhere: process 1 failed with {own[1]}", own[0]]
    assert second["failures"] == [None, own[1], own[1]]
    assert first["afterwards"] == second["afterwards"] == {"ranks": 1.0}


# --- one process ------------------------------------------------------------------------------------------------------


def test_alone_everything_returns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    with Processes.from_environment("meta") as processes:
        assert processes == Processes(0, 1, 0, torch.device("meta"))
        told = worker.agreement(processes)
    assert told["processes"] == (0, 1, 0, True)
    assert told["sum"] == {"both": 0.1}
    assert (told["gather"], told["broadcast"]) == ([{"rank": 0}], "of 0")
    assert told["failures"] == [None, None, "FloatingPointError: the loss is nan in 0"]
    model = torch.nn.Linear(1, 1)
    assert wrap(model, processes, fsdp=True) is model


@pytest.mark.parametrize(
    ("changes", "device", "message"),
    [
        ({"MASTER_PORT": None, "LOCAL_RANK": None}, "cpu", "missing: LOCAL_RANK, MASTER_PORT"),
        ({"RANK": "2"}, "cpu", r"RANK < WORLD_SIZE, got \['2', '2', '1'\]"),
        ({"WORLD_SIZE": "two"}, "cpu", r"must be numbers with RANK < WORLD_SIZE, got \['1', 'two', '1'\]"),
        ({}, "mps", "device must be cpu or cuda for several processes, got mps"),
        ({"LOCAL_RANK": "99"}, "cuda", "every process must have its own GPU, got LOCAL_RANK 99 and"),
    ],
)
def test_a_bad_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], device: str, message: str
) -> None:
    values = dict(zip(TORCHRUN, ("1", "2", "1", "localhost", "1"), strict=True))
    for name, value in {**values, **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        Processes.from_environment(device)


def test_a_run_of_one_process_makes_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(TORCHRUN, ("0", "1", "0", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert Processes.from_environment("cpu") == Processes()
    assert not torch.distributed.is_initialized()


# --- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [0, 1, 4, 11])
def test_shares_are_the_whole_without_repetition(length: int, world_size: int) -> None:
    shares = [shard_indices(length, Processes(rank, world_size)) for rank in range(world_size)]
    assert sorted(index for share in shares for index in share) == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("length", "batch_size"), [(7, 3), (8, 4), (5, 1), (9, 8)])
def test_parts_of_a_batch_are_the_batch(length: int, batch_size: int) -> None:
    whole = EpochBatches(length, batch_size, seed=3)
    whole.epoch, whole.start = 2, 1
    parts = [ShardedBatches(whole, Processes(rank, 3)) for rank in range(3)]
    assert all(len(part) == len(whole) for part in parts)
    for number, (batch, *of_ranks) in enumerate(zip(whole, *parts, strict=True), start=whole.start):
        counts = [part.rows(number) for part in parts]
        assert all(rows for rows in of_ranks), "a process without a row would leave the others waiting"
        assert sorted(row for rows, count in zip(of_ranks, counts, strict=True) for row in rows[:count]) == sorted(
            batch
        )
        assert all(rows == batch[:1] for rows, count in zip(of_ranks, counts, strict=True) if count == 0)


@pytest.mark.parametrize("people", [2, 0])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fusion_layers": ()},
        {"reweighting": "attentive"},
        {"reweighting": "attentive", "fusion_layers": (0,)},
        {"reweighting": "spatial", "aggregation": "split"},
        {"num_context_queries": 0, "selection": ()},
        {"train_backbone": "none"},
        {"train_backbone": "layers2-4"},
        {"num_feature_levels": 1, "person_class": True},
    ],
)
def test_every_trained_parameter_gets_a_gradient(changes: dict[str, Any], people: int) -> None:
    """DDP waits for the gradient of every parameter, and need not search for those without one."""
    config = small(**changes)
    model = dsct.DSCT(config).double()
    randomise(model, 0.05)
    criterion = dsct.SetCriterion(config)
    targets = [{"labels": torch.zeros(people, dtype=torch.int64), "boxes": torch.full((people, 4), 0.4)}]
    criterion.total(criterion(model(padded_images(1)[0]), targets)).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


# --- states -----------------------------------------------------------------------------------------------------------


def test_states_of_one_process_are_torchs_own() -> None:
    model = dsct.DSCT(small())
    optimizer = torch.optim.AdamW(model.parameters())
    assert_close(model_state(model), dict(model.state_dict()), 0.0)
    assert optimizer_state(optimizer) == optimizer.state_dict()
    state = {name: tensor + 1 for name, tensor in model_state(model).items()}
    load_model_state(model, state)
    assert_close(dict(model.state_dict()), state, 0.0)


def test_states_of_other_models_are_refused() -> None:
    model = torch.nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        load_model_state(model, {"weight": torch.zeros(1, 3), "bias": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_model_state(model, {**model.state_dict(), "other": torch.zeros(1)})
    trained = torch.nn.Linear(2, 1)
    trained(torch.ones(1, 2)).sum().backward()
    donor = torch.optim.AdamW(trained.parameters())
    donor.step()
    with pytest.raises(ValueError, match="doesn't match the size"):
        load_optimizer_state(torch.optim.AdamW([model.weight]), optimizer_state(donor))
