"""Signals to all processes of a training, as clusters send them: state saved, exit code 130, no traceback."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.train.run_folder.signalled_command import go_on, signalled
from tests.train.training_run import RECIPE, Interrupting, assert_same_run, final_state, trainer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    go_on(run_dir)
    return run_dir


@pytest.mark.parametrize(
    ("moment", "method", "number", "step", "pause"),
    [
        ("start", "fork", signal.SIGTERM, 1, 0.1),
        pytest.param("start", "spawn", signal.SIGUSR1, 1, 0.1, marks=pytest.mark.slow),
        # The second comes while the program ends because of the first.
        pytest.param("start", "spawn", signal.SIGUSR1, 1, 1.0, marks=pytest.mark.slow),
        ("first batch", "fork", signal.SIGINT, 1, 0.1),
        ("validation", "fork", signal.SIGTERM, 4, 0.1),
        ("validation", "fork", signal.SIGTERM, 4, 1.2),
        ("epoch", "fork", signal.SIGXCPU, 3, 0.1),
        ("first batch", "fork", signal.SIGUSR2, 1, 0.1),
    ],
)
def test_a_signal_to_all_processes_is_left_to_the_trainer(
    moment: str, method: str, number: signal.Signals, step: int, pause: float, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    # A cluster signals every process, and torchrun passes its signal on: it comes twice.
    code, output = signalled(moment, run_dir, (number, number), method, pause)
    assert code == 130, output
    assert "Traceback" not in output
    assert f"stopped in epoch 1 after step {step}; {run_dir / 'last.pt'} can be resumed" in output
    assert final_state(run_dir)["progress"]["step"] == step
    assert not (run_dir / "best.safetensors").exists(), "a stop in validation does not wait for its end"
    go_on(run_dir, "--resume")
    assert_same_run(undisturbed, run_dir)


class Signalled(Interrupting):
    """A criterion that raises a signal at its second call."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(-1)
        self.number = number

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.calls == 1:
            signal.raise_signal(self.number)
        return super().__call__(*arguments, **options)


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGHUP])
def test_signals_that_end_a_process_stop_a_training(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with pytest.raises(KeyboardInterrupt, match="after step 2"):
            trainer(tmp_path, criterion=Signalled(number), callbacks=[]).fit()
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert final_state(tmp_path)["progress"]["step"] == 2


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        recipe = dataclasses.replace(RECIPE, epochs=1)
        assert trainer(tmp_path, recipe, Signalled(signal.SIGHUP), callbacks=[]).fit().best_epoch == 1
    finally:
        signal.signal(signal.SIGHUP, before)
