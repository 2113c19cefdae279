"""Loading processes leave the signals that stop a job to the process that started them.

Ctrl-C and clusters signal every process of a job. A loading process that dies of it breaks the step that is running.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_start_method, parent_process, resource_tracker
from multiprocessing.process import BaseProcess

#: Ctrl-C; the end of a job; a warning some time before it, such as that of ``sbatch --signal=USR1@120``; the end of a
#: terminal; the end of the processor time; another warning.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGXCPU, signal.SIGUSR2)

#: How often a loading process looks whether the process that started it is still there.
LOOK_SECONDS = 2.0

#: How torch's message begins when the system, or its lack of memory, ended a loading process.
_KILLED = "DataLoader worker (pid"


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Processes that are started inside have the stop signals blocked from their first instruction on.

    They inherit the mask of this thread, which gets its own back at the end: what came meanwhile is heard then.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        if (get_start_method(allow_none=True) or get_all_start_methods()[0]) != "fork":
            resource_tracker.ensure_running()  # queues would start it later, and its start unblocks some signals
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_main(_worker: int) -> None:
    """The ``worker_init_fn`` of a ``DataLoader``: only its parent ends it, by SIGTERM or its own end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    if hasattr(signal, "sigtimedwait"):  # not on macOS
        threading.Thread(target=_end_with_main, daemon=True).start()


def _end_with_main() -> None:
    # A program that ends sends SIGTERM to its loading processes, and then waits for them without limit.
    main = parent_process()
    assert main is not None
    while not _is_gone(main):
        told = signal.sigtimedwait(STOP_SIGNALS, LOOK_SECONDS)
        if told is not None and told.si_signo == signal.SIGTERM and told.si_pid == main.pid:
            break
    os._exit(0)  # as torch's own handler does: it takes any other code for a failure


def _is_gone(main: BaseProcess) -> bool:
    """Whether the process that started this one has ended.

    torch looks, too, but only for a change of the parent: it misses one that ended while this process was starting.
    """
    if get_start_method() == "forkserver":  # whose children have the server as parent
        return not main.is_alive()
    return os.getppid() != main.pid  # forked siblings hold open what `is_alive` looks at


@contextmanager
def killed_ones_named() -> Iterator[None]:
    """Turns torch's error about a loading process that was killed into one sentence.

    Raises:
        ChildProcessError: one was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if _KILLED not in str(error):
            raise
        said = str(error)[str(error).index(_KILLED) :].splitlines()[0].strip().rstrip(".")
        raise ChildProcessError(
            f"a process that loads images was killed: {said}; too little memory is the usual reason, and fewer of them "
            "(workers) need less"
        ) from None
