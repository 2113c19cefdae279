"""The full state of a run in one file, so that a resumed run equals one that was never stopped."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsct.checkpoint import metadata_of, read_pickled_tensors
from dsct.checkpoint.files import CONFIG_KEY, write_pickled_tensors
from dsct.checkpoint.tensor_files import require_checksums
from dsct.json_text import parse_json_object
from dsct.sound_values import require_finite, require_values_for
from dsct.train.config import TrainConfig
from dsct.train.progress import Progress
from dsct.train.run_folder.lock import require_lock
from dsct.train.run_folder.sound_state import require_sound_state
from dsct.train.step import OptimizerStep

KIND = "dsct training state 2"

#: What may change when a run continues: nothing that the steps done depend on. `epochs` only with some schedules.
FREE_FIELDS = frozenset({"workers", "log_every", "save_every", "early_stop", "on_error", "epochs"})


def save_state(path: Path, step: OptimizerStep, progress: Progress, config: TrainConfig) -> None:
    """Writes everything the next step depends on to `path`, replacing an older state only once it is complete.

    All processes call it; the main one writes.

    Raises:
        ValueError: a weight or a moment is NaN or infinite.
    """
    state = {
        "kind": KIND,
        **step.state_dict(),
        "random": step.processes.gather(random_state()),
        "progress": dataclasses.asdict(progress),
        "train_config": config.to_json(),
        **metadata_of(step.module),
    }
    with step.processes.fail_together():
        if step.processes.is_main:
            require_lock(path.parent)
            require_finite(dict(_tensors_in(state)), f"{path} is not written")  # it could not be resumed
            write_pickled_tensors(state, path)


def load_state(path: Path, step: OptimizerStep, config: TrainConfig) -> Progress:
    """Restores what :func:`save_state` wrote, random generators included. All processes call it.

    Returns:
        The progress of the run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a training state, lacks something or was changed, holds NaN, infinity or another kind of
            numbers than the model, or is one of another configuration or number of processes; then nothing has been
            changed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no training state at {path}")
    state = read_pickled_tensors(path)
    if state.get("kind") != KIND:
        raise ValueError(f"{path} must be a {KIND!r}, got {state.get('kind')!r}")
    require_checksums(path)
    parameters = step.module.state_dict(keep_vars=True)
    wanted = {f"{part}.{name}": each for part in ("model", "average") for name, each in parameters.items()}
    require_values_for(wanted, dict(_tensors_in(state)), path)
    try:
        began = TrainConfig.from_json(state.get("train_config", ""))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    model = parse_json_object(state.get(CONFIG_KEY, ""), f"{path}: {CONFIG_KEY}")
    _require_same("model", model, json.loads(step.module.config.to_json()))
    _require_same("training", dataclasses.asdict(began), dataclasses.asdict(config))
    progress = require_sound_state(state, step, path)
    _require_extensible(began, config, progress)
    if len(state["random"]) != step.processes.world_size:
        raise ValueError(
            f"a run can be resumed only with as many processes as it began with: {len(state['random'])}, got "
            f"{step.processes.world_size}"
        )
    step.load_state_dict(state)
    restore_random_state(state["random"][step.processes.rank])
    return progress


def seed_everything(seed: int) -> None:
    """Seeds the generators of Python, NumPy and torch (all devices).

    Example:
        >>> seed_everything(3)
        >>> one = torch.rand(1)
        >>> seed_everything(3)
        >>> bool(torch.rand(1) == one)
        True
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of the generators of Python, NumPy and torch as plain data and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`; GPU generators only if there are as many GPUs."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def _tensors_in(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in nested dictionaries and lists, with where they are as their name."""
    if isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, (dict, list, tuple)):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from _tensors_in(value, f"{name}.{key}" if name else str(key))


def _require_same(what: str, saved: dict[str, Any], given: dict[str, Any]) -> None:
    differing = [
        f"{name} was {saved.get(name)!r}, is {given.get(name)!r}"
        for name in sorted(saved.keys() | given.keys())
        if name not in FREE_FIELDS and saved.get(name) != given.get(name)
    ]
    if differing:
        raise ValueError(
            f"a run can be resumed only with the {what} configuration it began with: {'; '.join(differing)}"
        )


def _require_extensible(began: TrainConfig, config: TrainConfig, progress: Progress) -> None:
    """Refuses another number of epochs where the steps done depend on it, or where more are done."""
    if config.epochs == began.epochs:
        return
    if config.schedule != "step":
        raise ValueError(
            f"epochs was {began.epochs}, is {config.epochs}: all steps of the {config.schedule} schedule depend on it, "
            "so the run cannot be made longer or shorter; start a new one from its weights (--weights)"
        )
    done = progress.epoch + bool(progress.position)
    if config.epochs < done:
        raise ValueError(f"epochs must be at least {done}, which the run has reached, got {config.epochs}")
