"""What the processes of `test_distributed.py` run, in one process or, through torchrun, in several."""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.optim.swa_utils import AveragedModel

import dsct
from dsct.train.loading.sampling import EpochBatches, ShardedBatches, shard_indices
from dsct.train.processes.distributed import Processes
from dsct.train.processes.parallel_model import full_tensor, gathered, gradient_sync, unwrap, wrap
from dsct.train.processes.sharded_state import load_model_state, load_optimizer_state, model_state, optimizer_state
from dsct.train.step import average_of
from tests.comparison import padded_images, randomise, small

CONFIG = small(train_backbone="layers2-4", reweighting="attentive")
PEOPLE = (2, 1, 0, 3, 1, 0, 2)
"""People per image. Batches of 3 leave a last batch with fewer images than there are processes."""


def images_and_targets(dtype: torch.dtype) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    torch.manual_seed(0)
    images, mask = padded_images(len(PEOPLE), dtype=dtype)
    targets = [
        {"labels": torch.randint(0, CONFIG.num_classes, (n,)), "boxes": (0.2 + 0.4 * torch.rand(n, 4)).to(dtype)}
        for n in PEOPLE
    ]
    return images, mask, targets


def build(processes: Processes, dtype: torch.dtype) -> dsct.DSCT:
    """Every process has weights of its own before they are made those of the main process."""
    torch.manual_seed(processes.rank)
    model = dsct.DSCT(CONFIG).to(dtype)
    randomise(model, 0.05)
    return model


def loss_of(model: nn.Module, rows: list[int], num_boxes: float) -> Tensor:
    images, mask, targets = images_and_targets(next(model.parameters()).dtype)
    criterion = dsct.SetCriterion(CONFIG)
    outputs = model(images[rows], mask[rows])
    return criterion.total(criterion(outputs, [targets[row] for row in rows], num_boxes=num_boxes))


def num_boxes_of(rows: list[int], processes: Processes) -> float:
    return max(1.0, sum(PEOPLE[row] for row in rows)) / processes.world_size


def gradients(processes: Processes, fsdp: bool, dtype: torch.dtype, how: str = "") -> dict[str, Any]:
    """Loss and gradients of five images, one of them without people.

    Args:
        processes: which share the images, so that not all have equally many.
        fsdp: shard.
        dtype: of everything.
        how: ``"accumulated"`` takes one image at a time, ``"recomputed"`` keeps no activations.
    """
    model = build(processes, dtype)
    model.set_activation_checkpointing(how == "recomputed")
    wrapped = wrap(model, processes, fsdp)
    mine = list(shard_indices(5, processes))
    parts = [[row] for row in mine] if how == "accumulated" else [mine]
    losses: list[Tensor] = []
    own = None
    with processes.fail_together():
        for part in parts:
            last = part is parts[-1]
            with gradient_sync(wrapped, last):
                losses.append(loss_of(wrapped, part, num_boxes_of([*range(5)], processes)))
                if not last:
                    losses[-1].backward()
                    own = model.query_embed_dsct.weight.grad.clone()
    losses[-1].backward()
    total = processes.sum({"loss": sum(loss.item() for loss in losses) / processes.world_size})
    found = {name: full_tensor(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": total["loss"], "gradients": found, "own": own}


def train(processes: Processes, fsdp: bool = False, stop: bool = False) -> dict[str, Any]:
    """Two epochs of AdamW; with `stop`, the second one continues from the saved state in new objects."""
    batches = EpochBatches(len(PEOPLE), 3, seed=0)
    parts = ShardedBatches(batches, processes)
    objects = _objects(processes, fsdp)
    losses, predictions = [], {}
    for epoch in range(2):
        batches.epoch = epoch
        wrapped, average, optimizer = objects
        for number, (part, everyone) in enumerate(zip(parts, batches, strict=True)):
            loss = loss_of(wrapped, [row for row, _ in part], num_boxes_of([row for row, _ in everyone], processes))
            loss = loss * float(parts.rows(number) > 0)
            loss.backward()
            norm = full_tensor(nn.utils.clip_grad_norm_(unwrap(wrapped).parameters(), 1.0))
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(unwrap(wrapped))
            losses.append((processes.sum({"loss": loss.item() / processes.world_size})["loss"], norm.item()))
        if epoch == 0:
            predictions = evaluate(wrapped, processes)
            if stop:
                objects = _restored(objects, processes, fsdp)
    wrapped, average, optimizer = objects
    return {
        "losses": losses,
        "predictions": predictions,
        "model": model_state(wrapped),
        "average": model_state(average.module),
        "optimizer": optimizer_state(optimizer),
        "restored by torch": _restored_by_torch(unwrap(wrapped)),
    }


def _restored_by_torch(model: nn.Module) -> dict[str, Tensor]:
    """The state after it went both ways through torch's functions for models in several processes."""
    options = StateDictOptions(full_state_dict=True)
    state = {name: tensor.clone() for name, tensor in get_model_state_dict(model, options=options).items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    set_model_state_dict(model, state, options=options)
    return model_state(model)


Objects = tuple[nn.Module, AveragedModel, torch.optim.Optimizer]


def _objects(processes: Processes, fsdp: bool) -> Objects:
    model = build(processes, torch.float64)
    if not fsdp:  # DDP makes the copies of the model alike, not those of its average
        model.load_state_dict(processes.broadcast(model.state_dict()))
    average = average_of(model, decay=0.5)
    if fsdp:
        wrap(average.module, processes, fsdp)
    wrapped = wrap(model, processes, fsdp)
    return wrapped, average, torch.optim.AdamW(model.parameters(), lr=1e-3)


def _restored(objects: Objects, processes: Processes, fsdp: bool) -> Objects:
    wrapped, average, optimizer = objects
    saved = model_state(wrapped), model_state(average.module), optimizer_state(optimizer)
    model_saved, average_saved, optimizer_saved = processes.broadcast(saved)
    others = _objects(processes, fsdp)
    with torch.no_grad():
        for parameter in others[0].parameters():
            parameter.zero_()
    load_model_state(others[0], model_saved)
    load_model_state(others[1].module, average_saved)
    others[1].n_averaged.copy_(average.n_averaged)
    load_optimizer_state(others[2], optimizer_saved)
    return others


@torch.no_grad()
def evaluate(model: nn.Module, processes: Processes) -> dict[int, Tensor]:
    """Boxes of three images, one image at a time, so that processes have different numbers of forward passes."""
    images, mask, _ = images_and_targets(torch.float64)
    with gathered(model):
        mine = {i: unwrap(model)(images[i : i + 1], mask[i : i + 1])["pred_boxes"] for i in shard_indices(3, processes)}
    everyone = processes.gather(mine) or []
    return dict(sorted(pair for one in everyone for pair in one.items()))


def frozen_batch_norm(processes: Processes, fsdp: bool) -> dict[str, Any]:
    """A backbone with buffers, which differ between processes before the model is wrapped."""
    torch.manual_seed(processes.rank)
    model = dsct.DSCT(small(backbone="resnet18", train_backbone="layers2-4")).double()
    for buffer in model.buffers():
        buffer.uniform_(0.5, 1.5)
    model = wrap(model, processes, fsdp)
    images, mask, _ = images_and_targets(torch.float64)
    outputs = model(images[:1], mask[:1])
    buffers = dict(unwrap(model).named_buffers())
    means = {name: tensor for name, tensor in model_state(model).items() if name in buffers}
    return {"logits": outputs["pred_logits"].detach(), "buffers": means}


def agreement(processes: Processes) -> dict[str, Any]:
    """What the processes tell each other."""
    rank = processes.rank
    processes.barrier()
    return {
        "processes": (rank, processes.world_size, processes.local_rank, processes.is_main),
        "sum": processes.sum({"both": 0.1 + rank, **({"second only": 1.0} if rank == 1 else {})}),
        "any": [processes.any(flag) for flag in (False, rank == 0, rank == 1, True)],
        "gather": processes.gather({"rank": rank}),
        "broadcast": processes.broadcast(f"of {rank}"),
        "failures": [_failure(processes, ranks) for ranks in ((), (1,), (0, 1))],
        "afterwards": processes.sum({"ranks": rank}),
    }


def _failure(processes: Processes, ranks: tuple[int, ...]) -> str | None:
    try:
        with processes.fail_together():
            if processes.rank in ranks:
                raise FloatingPointError(f"the loss is nan in {processes.rank}")
    except (FloatingPointError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def gradients_in_all_ways(processes: Processes, fsdp: bool) -> dict[str, Any]:
    ways = ("", "accumulated", "recomputed")
    return {
        **{f"{how} float64".strip(): gradients(processes, fsdp, torch.float64, how) for how in ways},
        "float32": gradients(processes, fsdp, torch.float32),
    }


def main(folder: Path) -> None:
    """Runs everything and writes what each process found."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    with Processes.from_environment("cpu", timeout=timedelta(seconds=60)) as processes:
        found: dict[str, Any] = {"agreement": agreement(processes)}
        for kind in ("ddp", "fsdp"):
            fsdp = kind == "fsdp"
            found[kind] = {
                "gradients": gradients_in_all_ways(processes, fsdp),
                "training": train(processes, fsdp, stop=True),
                "frozen batch norm": frozen_batch_norm(processes, fsdp),
            }
        torch.save(found, folder / f"found{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
