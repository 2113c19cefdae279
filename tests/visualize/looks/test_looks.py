"""Figures look as they did: a change of a number in their code is a change of what is recorded here.

``python -m tests.visualize.looks.test_looks`` records them anew, for the reviewer to compare.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from dsct import visualize
from dsct.visualize import draw_activations, draw_context, draw_sampling, draw_subject_positions
from tests.visualize.looks.look import look
from tests.visualize.test_evaluation import evaluation
from tests.visualize.test_k_sweep import SWEEP
from tests.visualize.test_loss_curves import WITH_SCORES, logged
from tests.visualize.test_models import BLANK, A, B, C, people_at, truth
from tests.visualize.traced_model import EVERYBODY, IMAGE, small_model

#: Of numbers: fonts and processors differ by less, and every whole number by more.
TOLERANCE = 0.02


def calibrated() -> Figure:
    details = evaluation(True).details
    assert details is not None
    return visualize.calibration_figure(details.calibration)


def curves() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        return visualize.loss_curves({name: logged(Path(folder) / name, WITH_SCORES) for name in ("one", "other")})


def compared() -> Figure:
    seen = people_at(A, B, labels=[["Anger"], ["Happiness", "Peace"]])
    also = people_at(B, C, labels=[["Peace"], ["Anger"]])
    return visualize.draw_models([BLANK], {"one": [seen], "other": [also]}, [truth([A, C], [0, 1])])


def found() -> Figure:
    seen = people_at(A, B, labels=[["Anger"], ["Happiness", "Peace"]])
    return visualize.draw_people(BLANK, seen, truth([A, C], [0, 1]))


#: Figures of given numbers, and figures of what a model computes.
GIVEN: dict[str, Callable[[], Figure]] = {
    "classes": lambda: visualize.class_figure(evaluation(True)),
    "classes of one label": lambda: visualize.class_figure(evaluation(False)),
    "confusion": lambda: visualize.confusion_figure(evaluation(False)["official"]),
    "people per image": lambda: visualize.subjects_figure(evaluation(True)),
    "precision and recall": lambda: visualize.precision_recall_figure(evaluation(True)),
    "calibration": calibrated,
    "groups": lambda: visualize.subgroup_figure(evaluation(False)),
    "K sweep": lambda: visualize.draw_k_sweep(SWEEP),
    "losses": curves,
    "models": compared,
    "people": found,
}
COMPUTED: dict[str, Callable[[], Figure]] = {
    "activations": lambda: draw_activations(small_model(), IMAGE),
    "sampling": lambda: draw_sampling(small_model(), IMAGE, **EVERYBODY),
    "context": lambda: draw_context(small_model(), IMAGE, **EVERYBODY),
    "subject positions": lambda: draw_subject_positions([small_model()], IMAGE, **EVERYBODY),
    "subject queries": lambda: draw_subject_positions([small_model(), small_model(num_subject_queries=5)]),
}


def recorded(name: str) -> Path:
    return Path(__file__).with_name(f"{name.replace(' ', '_')}.json")


def drawn(name: str) -> Any:
    figure = GIVEN[name]() if name in GIVEN else COMPUTED[name]()
    return json.loads(json.dumps(look(figure, name in GIVEN), default=float))


def differences(now: Any, before: Any, place: str = "") -> list[str]:
    """What differs, with its place in the data."""
    if isinstance(now, dict) and isinstance(before, dict) and now.keys() == before.keys():
        return [one for key in now for one in differences(now[key], before[key], f"{place}.{key}")]
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        pairs = enumerate(zip(now, before, strict=True))
        return [one for number, pair in pairs for one in differences(*pair, f"{place}[{number}]")]
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (now, before))
    same = now == pytest.approx(before, rel=TOLERANCE, abs=TOLERANCE, nan_ok=True) if numbers else now == before
    return [] if same else [f"{place}: {str(now)[:80]}, was {str(before)[:80]}"]


@pytest.mark.parametrize("name", [*GIVEN, *COMPUTED])
def test_figures_look_as_they_did(name: str) -> None:
    assert differences(drawn(name), json.loads(recorded(name).read_text())) == []


if __name__ == "__main__":
    for each in [*GIVEN, *COMPUTED]:
        torch.manual_seed(0)
        recorded(each).write_text(json.dumps(drawn(each)) + "\n")
