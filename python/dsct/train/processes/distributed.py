"""Several processes that train one model: who they are and how they agree."""

from __future__ import annotations

import gc
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")


class FailedElsewhere(OSError, RuntimeError):
    """Another process failed, and with it this one; the command line says it in a sentence, as any `OSError`."""


#: How their errors can be told: not all are torch's `DistError`.
LIBRARIES = re.compile(r"gloo/|NCCL|TCPStore|ProcessGroup")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Every method that talks to the others must be called by all of them, in the same order. If there is only
    one process, every method returns at once.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
        local_rank: number of this process on its machine.
        device: where this process computes.
        leaves_group: whether the end of the ``with`` block leaves torch's process group.

    Example:
        >>> with Processes.from_environment("cpu") as processes:
        ...     processes.is_main, processes.sum({"images": 3}), processes.any(False), processes.gather("mine")
        (True, {'images': 3.0}, False, ['mine'])
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    leaves_group: bool = field(default=True, repr=False)

    @classmethod
    def from_environment(
        cls, device: torch.device | str = "cpu", timeout: timedelta = timedelta(minutes=30)
    ) -> Processes:
        """Joins the processes that ``torchrun`` started; without ``torchrun`` there is one process.

        Where a process group of torch is there already, it is used as it is, see :meth:`of_group`.

        Args:
            device: ``"cpu"``, or ``"cuda"`` for GPU number `local_rank`; any device if there is one process.
            timeout: how long one process waits for the others before it fails.

        Returns:
            The processes; use them in a ``with`` block, which leaves the group at its end.

        Raises:
            ValueError: some of torchrun's variables are missing or are not numbers, or the device cannot be shared.
            ConnectionError: the others have not come within `timeout`.
        """
        if distributed.is_available() and distributed.is_initialized():
            return cls.of_group(device)
        device = torch.device(device)
        if not any(name in os.environ for name in ("RANK", "WORLD_SIZE")):
            return cls(device=device)
        rank, world_size, local_rank = _numbers()
        if world_size == 1:
            return cls(device=device)
        if device.type == "cuda":
            if local_rank >= torch.cuda.device_count():
                raise ValueError(
                    f"every process must have its own GPU, got LOCAL_RANK {local_rank} and "
                    f"{torch.cuda.device_count()} GPUs"
                )
            device = torch.device("cuda", local_rank)
            torch.cuda.set_device(device)
        elif device.type != "cpu":
            raise ValueError(f"device must be cpu or cuda for several processes, got {device}")
        # Numbers and objects are exchanged between CPUs, so that agreeing never waits for a GPU.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        _joined(backend, timeout, rank, world_size)
        return cls(rank, world_size, local_rank, device)

    @classmethod
    def of_group(cls, device: torch.device | str = "cpu") -> Processes:
        """The processes of the process group that the caller has initialised; one process if there is none.

        Args:
            device: where this process computes.
        """
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls(device=torch.device(device))
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
        return cls(rank, world_size, local_rank, torch.device(device), leaves_group=False)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.world_size > 1 and self.leaves_group and distributed.is_initialized():
            distributed.destroy_process_group()
            # Gloo's threads end with the last reference to the group, which a sharded model holds in circles and
            # torch's caches beyond it. A thread that drops a tensor while the interpreter ends aborts the process, so
            # each gets the time to drop what the last exchange left it.
            gc.collect()
            time.sleep(0.2)

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Waits until every process is here."""
        if self.world_size > 1:
            with self._exchange():
                distributed.barrier()

    def sum(self, values: dict[str, float]) -> dict[str, float]:
        """Sums over the processes, in float64 and the same to the bit in every process.

        Args:
            values: numbers by name; a name that a process lacks counts as 0 there.

        Returns:
            The sums by name, for every name that some process has.
        """
        everyone = self.all_gather(values)
        names = dict.fromkeys(name for one in everyone for name in one)
        return {name: math.fsum(one.get(name, 0.0) for one in everyone) for name in names}

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in at least one process; so all stop together, and none waits for one that left."""
        if self.world_size == 1:
            return bool(flag)
        raised = torch.tensor(int(flag))
        with self._exchange():
            distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return bool(raised)

    def gather(self, value: T) -> list[T] | None:
        """Collects a picklable object from every process.

        Returns:
            The objects by rank in the main process, None in the others.
        """
        if self.world_size == 1:
            return [value]
        everyone: list[Any] | None = [None] * self.world_size if self.is_main else None
        with self._exchange():
            distributed.gather_object(value, everyone)
        return everyone

    def broadcast(self, value: T) -> T:
        """The main process's picklable object, in every process."""
        if self.world_size == 1:
            return value
        box = [value]
        with self._exchange():
            distributed.broadcast_object_list(box)
        return box[0]

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """If the block fails in one process, it fails in all: nobody waits for a process that has left.

        The block itself must not talk to other processes, since one that failed would not answer.

        Raises:
            RuntimeError: the block failed in other processes only; the message says where and how.
            ConnectionError: another process has ended.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        if not self.any(failure is not None):
            return
        reports = self.all_gather(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        rank, report = next((rank, report) for rank, report in enumerate(reports) if report is not None)
        raise FailedElsewhere(f"process {rank} failed with {report}")

    def all_gather(self, value: T) -> list[T]:
        """The picklable objects of all processes by rank, in every process."""
        if self.world_size == 1:
            return [value]
        everyone: list[Any] = [None] * self.world_size
        with self._exchange():
            distributed.all_gather_object(everyone, value)
        return everyone

    @contextmanager
    def naming_lost_ones(self) -> Iterator[None]:
        """Says in a sentence that another process has ended; torch says it in a trace of the library that it waits in.

        For work that talks to other processes by itself, as the passes through a wrapped model do.

        Raises:
            ConnectionError: an exchange inside the block failed.
        """
        try:
            yield
        except RuntimeError as error:
            of_exchange = isinstance(error, distributed.DistError) or LIBRARIES.search(str(error))
            if self.world_size == 1 or isinstance(error, OSError) or not of_exchange:
                raise
            raise self._lost(error) from error

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """The same for blocks that do nothing else."""
        try:
            yield
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> ConnectionError:
        return ConnectionError(
            f"process {self.rank} lost the others: one of them has ended, or is further behind than the time limit "
            f"(--process-timeout); torch says: {_reason(error)}"
        )


def _joined(backend: str, timeout: timedelta, rank: int, world_size: int) -> None:
    try:
        distributed.init_process_group(backend, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ConnectionError(
            f"process {rank} could not join {world_size} processes at {place} within {timeout.total_seconds():g} s "
            f"(--process-timeout); torch says: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence of what torch says, without the place in its sources."""
    text = re.sub(r"^\[\S+:\d+\] ", "", " ".join(str(error).split()))
    return text.partition(". ")[0]


def _numbers() -> tuple[int, int, int]:
    """RANK, WORLD_SIZE and LOCAL_RANK as torchrun sets them."""
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(
            f"several processes need the variables {', '.join(VARIABLES)}, as torchrun sets them; missing: "
            f"{', '.join(missing)}"
        )
    texts = [os.environ[name] for name in VARIABLES[:3]]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        raise ValueError(f"RANK, WORLD_SIZE, LOCAL_RANK must be numbers with RANK < WORLD_SIZE, got {texts}")
    rank, world_size, local_rank = map(int, texts)
    return rank, world_size, local_rank
