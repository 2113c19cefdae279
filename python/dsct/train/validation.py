"""Losses and scores on validation data, shared among the processes so that every image is evaluated once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch

from dsct.data.collate import Batch
from dsct.data.records import Dataset
from dsct.metrics import Evaluation, Evaluator, collect
from dsct.metrics.inference import Outputs, PostProcess
from dsct.train.config import TrainConfig
from dsct.train.context_share import context_share, divides_weight
from dsct.train.interrupt import StopTogether
from dsct.train.loading.sampling import shard_indices
from dsct.train.processes.distributed import Processes
from dsct.train.processes.parallel_model import gathered
from dsct.train.step import Criterion


class Validation(NamedTuple):
    """What validation found.

    Attributes:
        losses: by name, divided by the number of people.
        evaluation: of all images.
        shares: ``weight_spatial`` and ``weight_semantic``, the share of each set of context queries in the weight with
            which context flows into people; empty if no softmax divides it.
    """

    losses: dict[str, float]
    evaluation: Evaluation
    shares: dict[str, float]


def validate(
    model: torch.nn.Module,
    data: Dataset,
    criterion: Criterion,
    post_process: PostProcess,
    evaluator: Evaluator,
    config: TrainConfig,
    processes: Processes,
    stopping: StopTogether,
    left_out: Collection[int] = (),
) -> Validation:
    """Evaluates a model on validation data.

    Args:
        model: on the processes' device.
        data: the whole validation data, in every process.
        criterion: its losses are divided by the number of people in all the data, so they do not depend on the batches.
        post_process: outputs and sizes (B, 2) -> people in pixels.
        evaluator: fresh.
        config: batch size, precision and loading processes.
        processes: each takes its share of the images.
        stopping: asked after every batch.
        left_out: indices of images that cannot be read.

    Returns:
        Losses, evaluation and shares, equal in every process.

    Raises:
        Stopped: a process was asked to stop; raised in all of them.
    """
    readable = [index for index in range(len(data)) if index not in left_out]
    own = [readable[place] for place in shard_indices(len(readable), processes)]
    sums: dict[str, float] = {"people": 0.0}

    def add(outputs: Outputs, batch: Batch) -> None:
        terms = criterion(outputs, batch.targets, num_boxes=1.0)
        for name, term in {"loss": criterion.total(terms), **terms}.items():
            sums[name] = sums.get(name, 0.0) + term.item()
        sums["people"] += sum(len(target["boxes"]) for target in batch.targets)
        stopping.after_item()

    options: dict[str, Any] = {
        "batch_size": -(-config.batch_size // (config.accumulation * processes.world_size)),
        "workers": config.workers,
        "device": processes.device,
        "precision": config.precision,
        "indices": own,
    }
    shares: dict[str, float] = {}
    with gathered(model):
        collect(model, data, post_process, evaluator, on_batch=add, **options)
        stopping.after_all()
        if divides_weight(model):
            shares = context_share(model, data, own, processes.device, options["precision"])
    totals, shares = processes.sum(sums), processes.sum(shares)
    people, images = max(totals.pop("people"), 1.0), shares.pop("images", 1.0)
    return Validation(
        {name: value / people for name, value in totals.items()},
        _joined(evaluator, processes),
        {name: value / images for name, value in shares.items()},
    )


def _joined(evaluator: Evaluator, processes: Processes) -> Evaluation:
    """The evaluation of what all processes predicted."""
    everyone = processes.gather(evaluator)
    if everyone is not None:
        evaluator, *others = everyone
        for other in others:
            evaluator.merge(other)
    return processes.broadcast(evaluator.compute() if processes.is_main else None)  # type: ignore[return-value]
