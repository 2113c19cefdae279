"""What the processes of `test_distributed.py` run, in one process or, through torchrun, in several."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dsct
from comparison import picture, randomise, small
from dsct.train.distributed import Processes, ShardedBatches, shard_indices
from dsct.train.parallel_model import gathered, gradient_sync, unwrap, whole, wrap
from dsct.train.sampling import EpochBatches
from dsct.train.sharded_state import load_model_state, load_optimizer_state, model_state, optimizer_state

CONFIG = small(train_backbone="layers2-4", reweighting="attentive")
PEOPLE = (2, 1, 0, 3, 1, 0, 2)
"""People per image. Batches of 3 leave a last batch with fewer images than there are processes."""


def images_and_targets(dtype: torch.dtype) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    torch.manual_seed(0)
    images, mask = picture(len(PEOPLE), dtype=dtype)
    targets = [
        {"labels": torch.randint(0, CONFIG.num_classes, (n,)), "boxes": (0.2 + 0.4 * torch.rand(n, 4)).to(dtype)}
        for n in PEOPLE
    ]
    return images, mask, targets


def build(processes: Processes, dtype: torch.dtype, fsdp: bool = False, **changes: Any) -> nn.Module:
    """Every process has weights of its own before they are made those of the main process."""
    torch.manual_seed(processes.rank)
    model = dsct.DSCT(small(train_backbone="layers2-4", reweighting="attentive", **changes)).to(dtype)
    randomise(model, 0.05)
    return wrap(model, processes, fsdp)


def backward(model: nn.Module, processes: Processes, rows: list[int], counts: bool, num_boxes: float) -> float:
    """Adds the gradients of some images; returns this process's loss."""
    images, mask, targets = images_and_targets(next(model.parameters()).dtype)
    criterion = dsct.SetCriterion(CONFIG)
    outputs = model(images[rows], mask[rows])
    loss = criterion.total(criterion(outputs, [targets[row] for row in rows], num_boxes=num_boxes)) * float(counts)
    loss.backward()
    return loss.item()


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: whole(p.grad) for name, p in unwrap(model).named_parameters() if p.grad is not None}


def boxes_of(rows: list[int]) -> float:
    return max(1.0, sum(PEOPLE[row] for row in rows))


def gradients(processes: Processes, fsdp: bool, dtype: torch.dtype, micro_batches: int = 1) -> dict[str, Any]:
    """Loss and gradients of four images, one of them without people, in one pass or accumulated over several."""
    model = build(processes, dtype, fsdp)
    rows = [list(range(4))[part::micro_batches] for part in range(micro_batches)]
    loss, own = 0.0, None
    for part in rows:
        mine = [part[i] for i in shard_indices(len(part), processes)]
        with gradient_sync(model, part is rows[-1]):
            loss += backward(model, processes, mine, True, boxes_of([*range(4)]) / processes.world_size)
        if part is not rows[-1]:
            grad = unwrap(model).query_embed_dsct.weight.grad
            own = None if grad is None else grad.clone()
    total = processes.sum({"loss": loss / processes.world_size})
    return {"loss": total["loss"], "gradients": gradients_of(model), "own": own}


def train(processes: Processes, fsdp: bool = False, stop: bool = False) -> dict[str, Any]:
    """Two epochs of AdamW; with `stop`, the second one goes on from the saved state in new objects."""
    batches = EpochBatches(len(PEOPLE), 3, seed=0)
    parts = ShardedBatches(batches, processes)
    model = build(processes, torch.float64, fsdp)
    optimizer = torch.optim.AdamW(unwrap(model).parameters(), lr=1e-3)
    losses, predictions = [], {}
    for epoch in range(2):
        batches.epoch = epoch
        for number, (part, everyone) in enumerate(zip(parts, batches, strict=True)):
            num_boxes = boxes_of([row for row, _ in everyone]) / processes.world_size
            rows = [row for row, _ in part]
            loss = backward(model, processes, rows, parts.rows(number) > 0, num_boxes)
            norm = whole(nn.utils.clip_grad_norm_(unwrap(model).parameters(), 1.0))
            optimizer.step()
            optimizer.zero_grad()
            losses.append((processes.sum({"loss": loss / processes.world_size})["loss"], norm.item()))
        if epoch == 0:
            predictions = evaluate(model, processes)
            if stop:
                states = processes.broadcast((model_state(model), optimizer_state(optimizer)))
                model = build(Processes(rank=5), torch.float64, False)
                model = wrap(model, processes, fsdp)
                optimizer = torch.optim.AdamW(unwrap(model).parameters(), lr=9.0)
                load_model_state(model, states[0])
                load_optimizer_state(optimizer, states[1])
    return {
        "losses": losses,
        "predictions": predictions,
        "model": model_state(model),
        "optimizer": optimizer_state(optimizer),
    }


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


CASES: dict[str, Callable[[Processes], Any]] = {
    "agreement": agreement,
    **{
        f"{kind} {name}": lambda processes, run=run, fsdp=kind == "fsdp": run(processes, fsdp)
        for kind in ("ddp", "fsdp")
        for name, run in {
            "gradients": lambda processes, fsdp: gradients(processes, fsdp, torch.float64),
            "gradients in float32": lambda processes, fsdp: gradients(processes, fsdp, torch.float32),
            "accumulated gradients": lambda processes, fsdp: gradients(processes, fsdp, torch.float64, 2),
            "training": lambda processes, fsdp: train(processes, fsdp, stop=True),
            "frozen batch norm": frozen_batch_norm,
        }.items()
    },
}


def main(folder: Path) -> None:
    """Runs all cases and writes what each process found."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    with Processes.from_environment("cpu", timeout=timedelta(seconds=60)) as processes:
        found = {name: case(processes) for name, case in CASES.items()}
        torch.save(found, folder / f"found{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
