"""Losses and scores on validation data, shared among the processes so that every image is evaluated once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dsct.data.collate import Batch
from dsct.data.records import Dataset
from dsct.metrics import Evaluation, Evaluator, collect
from dsct.metrics.inference import Outputs, PostProcess
from dsct.train.config import TrainConfig
from dsct.train.distributed import Processes
from dsct.train.parallel_model import gathered
from dsct.train.sampling import shard_indices
from dsct.train.step import Criterion


def validate(
    model: torch.nn.Module,
    data: Dataset,
    criterion: Criterion,
    post_process: PostProcess,
    evaluator: Evaluator,
    config: TrainConfig,
    processes: Processes,
    on_batch: Callable[[], None],
) -> tuple[dict[str, float], Evaluation]:
    """Evaluates a model on validation data.

    Args:
        model: on the processes' device.
        data: the whole validation data, in every process.
        criterion: its losses are divided by the number of people in all the data, so they do not depend on the batches.
        post_process: outputs and sizes (B, 2) -> people in pixels.
        evaluator: fresh.
        config: batch size, precision and loading processes.
        processes: each takes its share of the images.
        on_batch: called after every batch.

    Returns:
        The losses by name, and the evaluation, equal in every process.
    """
    sums: dict[str, float] = {"people": 0.0}

    def add(outputs: Outputs, batch: Batch) -> None:
        terms = criterion(outputs, batch.targets, num_boxes=1.0)
        for name, term in {"loss": criterion.total(terms), **terms}.items():
            sums[name] = sums.get(name, 0.0) + term.item()
        sums["people"] += sum(len(target["boxes"]) for target in batch.targets)
        on_batch()

    options: dict[str, Any] = {
        "batch_size": -(-config.batch_size // (config.accumulation * processes.world_size)),
        "workers": config.workers,
        "device": processes.device,
        "precision": config.precision,
        "indices": shard_indices(len(data), processes),
    }
    with gathered(model):
        collect(model, data, post_process, evaluator, on_batch=add, **options)
    totals = processes.sum(sums)
    people = max(totals.pop("people"), 1.0)
    return {name: value / people for name, value in totals.items()}, _joined(evaluator, processes)


def _joined(evaluator: Evaluator, processes: Processes) -> Evaluation:
    """The evaluation of what all processes predicted."""
    everyone = processes.gather(evaluator)
    if everyone is not None:
        evaluator, *others = everyone
        for other in others:
            evaluator.merge(other)
    return processes.broadcast(evaluator.compute() if processes.is_main else None)  # type: ignore[return-value]
