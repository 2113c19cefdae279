"""Processes that would train something else are refused before they train."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

import dsct._dsct as _dsct
from dsct.train.config import TrainConfig
from dsct.train.loading.sampling import EpochBatches
from dsct.train.processes.distributed import Processes

if TYPE_CHECKING:
    from dsct.modules import DSCT

#: Of the recipe: what each process may have for itself.
OWN_FIELDS = frozenset({"workers"})

#: Of the differences, how many are named.
NAMED = 3
SHOWN = 40


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


#: Stands for what a process lacks.
NOTHING = _Nothing()


def what_must_agree(
    model: DSCT, config: TrainConfig, data: Mapping[str, Any], criterion: Any, batches: EpochBatches, fsdp: bool
) -> dict[str, Any]:
    """What all processes of a run must have in common, as plain data: otherwise they train something else, or wait.

    Args:
        model: with its initial weights; a configuration as ``config``.
        config: the recipe.
        data: of :func:`dsct.train.run_config.describe_data`.
        criterion: may have class weights and weights of its terms.
        batches: of the first epoch.
        fsdp: whether the model is sharded.
    """
    recipe = {name: value for name, value in dataclasses.asdict(config).items() if name not in OWN_FIELDS}
    weights = getattr(criterion, "class_weights", None)
    return {
        **recipe,
        "model": json.loads(model.config.to_json()),
        "class_names": data["class_names"],
        "number of images": data["images"],
        "batches per epoch": len(batches),
        "annotations": data["fingerprints"],
        "order of the images": hashlib.sha256(json.dumps(list(batches)).encode()).hexdigest(),
        "class weights": None if weights is None else [float(weight) for weight in weights],
        "weights of the losses": dict(getattr(criterion, "weight_dict", {})),
        "trains": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "weights of the model": _digest(model.state_dict()),
        "fsdp": fsdp,
        "device": next(model.parameters()).device.type,
        "versions": {"dsct": _dsct.__version__, "torch": str(torch.__version__)},
    }


def require_agreement(processes: Processes, facts: Mapping[str, Any]) -> None:
    """Compares facts, nested dictionaries and lists of plain data, of all processes. All call it.

    Raises:
        ValueError: one of them differs, in every process; the message names it and both values.
    """
    if processes.world_size == 1:
        return
    first, *others = (dict(_flat(each)) for each in processes.all_gather(dict(facts)))
    differing = []
    for rank, given in enumerate(others, start=1):
        for name in [*first, *(name for name in given if name not in first)]:
            mine, theirs = first.get(name, NOTHING), given.get(name, NOTHING)
            # What is written equally is equal, too: NaN.
            if mine != theirs and repr(mine) != repr(theirs):
                differing.append(f"{name}: {_shown(mine)} in process 0, {_shown(theirs)} in process {rank}")
    if differing:
        more = f"; and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        raise ValueError(f"all processes must train the same: {'; '.join(differing[:NAMED])}{more}")


def _flat(facts: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value with its name, such as ``model.dropout`` or ``class_names[2]``."""
    if isinstance(facts, Mapping):
        for key, value in facts.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(facts, (list, tuple)):
        for number, value in enumerate(facts):
            yield from _flat(value, f"{name}[{number}]")
    else:
        yield name, facts


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:16]}...{text[-4:]}"


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
