"""Signals to all processes of a training, as clusters send them: state saved, exit code 130, no traceback."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.train.run_folder.signalled_command import go_on, signalled
from tests.train.training_run import assert_same_run, final_state


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    go_on(run_dir)
    return run_dir


@pytest.mark.parametrize(
    ("moment", "method", "number", "step"),
    [
        ("start", "fork", signal.SIGTERM, 1),
        pytest.param("start", "spawn", signal.SIGUSR1, 1, marks=pytest.mark.slow),
        ("first batch", "fork", signal.SIGINT, 1),
        ("validation", "fork", signal.SIGTERM, 4),
    ],
)
def test_a_signal_to_all_processes_is_left_to_the_trainer(
    moment: str, method: str, number: signal.Signals, step: int, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    # A cluster signals every process, and torchrun passes its signal on: it comes twice.
    code, output = signalled(moment, run_dir, (number, number), method)
    assert code == 130, output
    assert "Traceback" not in output
    assert f"stopped in epoch 1 after step {step}; {run_dir / 'last.pt'} can be resumed" in output
    assert final_state(run_dir)["progress"]["step"] == step
    assert not (run_dir / "best.safetensors").exists(), "a stop in validation does not wait for its end"
    go_on(run_dir, "--resume")
    assert_same_run(undisturbed, run_dir)
