"""Tables of an evaluation, and that the terminal and Markdown show the same ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from dsct.cli.evaluation.report import as_markdown
from dsct.cli.evaluation.show import show
from dsct.metrics import Bootstrap, Evaluation, Evaluator
from dsct.metrics.tables import Share, all_tables, at_thresholds, by_class, by_people
from tests.metrics.facts import FACTS

NAMES = ("calm", "angry", "sad")


def evaluated(multi_label: bool, intervals: bool, images: int = 30) -> Evaluation:
    generator = np.random.default_rng(0)
    evaluator = Evaluator(NAMES, multi_label)
    for _ in range(images):
        people = int(generator.integers(1, 4))
        corner = generator.random((people, 2)) * 200
        boxes = np.concatenate([corner, corner + 50], axis=1)
        probabilities = generator.random((people, 3))
        found = {"boxes": boxes, "scores": probabilities.mean(axis=1), "probabilities": probabilities}
        labels = generator.integers(2, size=(people, 3)) if multi_label else generator.integers(3, size=people)
        evaluator.update([found], [{"boxes": boxes, "labels": labels}])
    return evaluator.compute(Bootstrap(20) if intervals else None, [0.5] * 3 if multi_label else None)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("images", [0, 30])
def test_terminal_and_markdown_show_every_number(multi_label: bool, intervals: bool, images: int) -> None:
    evaluation = evaluated(multi_label, intervals, images)
    written = io.StringIO()
    show(evaluation, Console(file=written, width=200))
    terminal, markdown = written.getvalue(), as_markdown(evaluation, FACTS, [])
    for table in all_tables(evaluation):
        assert all(len(row) == len(table.columns) for row in table.rows)
        section = markdown.partition(f"{table.title.capitalize()}:\n\n")[2].partition("\n\n")[0]
        assert f"| {' | '.join(table.columns)} |" in section
        for heading, *cells in table.rows:
            (line,) = (line for line in section.splitlines() if line.startswith(f"| {heading} |"))
            assert f"│ {heading}" in terminal
            for share in (cell for cell in cells if isinstance(cell, Share)):
                assert ("–" if np.isnan(share.value) else f"{share.value:.2%}") in line
                assert ("–" if np.isnan(share.value) else f"{100 * share.value:.1f}") in terminal
                if share.interval is not None and images:
                    assert "({:.1f}–{:.1f})".format(*(100 * share.interval)) in line
            ends = next((cell.interval for cell in cells if isinstance(cell, Share)), None)
            if ends is not None and images:
                assert "{:.1f}–{:.1f}".format(*(100 * ends)) in terminal


def test_columns_of_thresholds_and_intervals_are_there_only_with_them() -> None:
    plain, judged = evaluated(False, intervals=False), evaluated(True, intervals=True)
    assert by_class(plain).columns[-1] == "detection accuracy"
    at = at_thresholds(judged)
    assert at is not None
    assert at_thresholds(plain) is None
    assert at.columns[-4:] == ("threshold", "precision", "recall", "F1")
    assert [row[0] for row in at.rows] == [*NAMES, "mean"]
    assert by_people(judged).columns == ("", "all", "1", "2", "3")
    assert all(isinstance(row[1], Share) and row[1].interval is None for row in by_people(plain).rows)
