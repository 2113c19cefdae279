"""Ctrl-C, and the signals with which a cluster ends a job, wait for the current step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from dsct.data.loading_processes import STOP_SIGNALS
from dsct.train.processes.distributed import Processes

#: A Ctrl-C within this time of the first is the same one: torchrun passes on what the terminal sent to all.
SAME_SECONDS = 1.0


#: Heard only where they would end the process: ``nohup`` ignores the first, and programs use the last for their own.
IF_DEFAULT = (signal.SIGHUP, signal.SIGXCPU, signal.SIGUSR2)


class Stopped(KeyboardInterrupt):
    """All processes stop here, because one of them was asked to."""


class StopRequest:
    """Inside the ``with`` block Ctrl-C, SIGTERM and SIGUSR1 only set a flag; a second Ctrl-C acts at once.

    So do SIGHUP, SIGXCPU and SIGUSR2, unless they are ignored or handled already.
    A second SIGTERM does not: a cluster sends it to every process, and torchrun once more to its own.
    Signals reach the main thread only; in another thread the flag is never set.

    Attributes:
        raised: whether a signal came.
    """

    def __init__(self) -> None:
        self.raised = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self.raised = False
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if number in IF_DEFAULT and signal.getsignal(number) != signal.SIG_DFL:
                    continue
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.raised:
            self.raised, self._since = True, now
        elif number == signal.SIGINT and now - self._since > SAME_SECONDS:
            raise KeyboardInterrupt


class StopTogether:
    """Stops all processes at the same place of their shares of some work, although the shares differ in length.

    Args:
        stop: of this process.
        processes: that share the work; all of them call :meth:`after_item` for every item and :meth:`after_all` once.
    """

    def __init__(self, stop: StopRequest, processes: Processes) -> None:
        self._stop = stop
        self._processes = processes

    @property
    def is_asked(self) -> bool:
        """Whether this process was asked to stop; the others may not know yet."""
        return self._stop.raised

    def after_item(self) -> None:
        """Raises Stopped, in every process, if one was asked to stop."""
        self._exchange(busy=True)

    def after_all(self) -> None:
        """Waits for the shares of the others, and stops like them."""
        while self._exchange(busy=False):
            pass

    def _exchange(self, busy: bool) -> bool:
        """Whether some process is still busy."""
        seen = self._processes.sum({"stop": float(self._stop.raised), "busy": float(busy)})
        if seen["stop"]:
            raise Stopped
        return bool(seen["busy"])
