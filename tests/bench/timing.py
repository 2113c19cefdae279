"""Paired timing: both sides alternate, so that whatever slows the machine for a while slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Step = Callable[[], Any]
Clock = Callable[[Step], float]


@dataclass(frozen=True)
class Budget:
    """How long one comparison may take: `repeats` pairs or `seconds`, whichever ends first, but at least one pair.

    Warm-up calls come before and stop after a quarter of `seconds`; there is at least one of each side.
    """

    repeats: int = 15
    seconds: float = 60.0
    warmup: int = 2


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides, pair by pair."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    @property
    def ours_median(self) -> float:
        """Seconds."""
        return statistics.median(self.ours)

    @property
    def peer_median(self) -> float:
        """Seconds."""
        return statistics.median(self.peer)

    @property
    def ratios(self) -> list[float]:
        """Peer / ours of every pair: above 1 the peer takes longer."""
        return [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """Median of `ratios`."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile of `ratios`."""
        return quartiles(self.ratios)


def quartiles(values: list[float]) -> tuple[float, float]:
    """First and third quartile, between the values (``method="inclusive"``); of one value, that value twice."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def wall_clock(step: Step) -> float:
    """Seconds that one call takes. Its result is dropped after the clock stops."""
    start = time.perf_counter()
    result = step()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def warm_up(steps: list[Step], budget: Budget) -> None:
    """Calls that are not timed: caches fill, threads start, memory is mapped."""
    deadline = time.perf_counter() + budget.seconds / 4
    for call in range(max(budget.warmup, 1)):
        if call and time.perf_counter() > deadline:
            return
        for step in steps:
            step()


def paired(ours: Step, peer: Step, budget: Budget, clock: Clock = wall_clock) -> Comparison:
    """Time both sides alternately; who goes first alternates too.

    Args:
        ours: one call of our side.
        peer: one call of the other side, with the same inputs.
        budget: how long.
        clock: seconds of one call; another one for a GPU.
    """
    warm_up([ours, peer], budget)
    result = Comparison()
    gc.collect()
    gc.disable()  # a collection would fall into one side of a pair
    try:
        deadline = time.perf_counter() + budget.seconds
        for pair in range(max(budget.repeats, 1)):
            if pair and time.perf_counter() > deadline:
                break
            sides = [(ours, result.ours), (peer, result.peer)]
            for step, seconds in sides if pair % 2 == 0 else reversed(sides):
                seconds.append(clock(step))
    finally:
        gc.enable()
    return result
