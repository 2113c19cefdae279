"""Figure 11: a metric over the sizes of the context sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from dsct.visualize import draw_k_sweep

SWEEP = {(0, 50): 36.0, (100, 50): 37.3, (300, 50): 36.9, (100, 0): 36.5, (100, 300): 37.0}


def test_cells_are_the_values_and_the_rest_stays_empty() -> None:
    ax = draw_k_sweep(SWEEP).axes[0]
    values = ax.images[0].get_array()
    assert values is not None
    columns = [int(label.get_text()) for label in ax.get_xticklabels()]
    rows = [int(label.get_text()) for label in ax.get_yticklabels()]
    assert (columns, rows) == ([0, 100, 300], [0, 50, 300])
    for row, column in np.ndindex(3, 3):
        expected = SWEEP.get((columns[column], rows[row]))
        text = next(text for text in ax.texts if text.get_position() == (column, row)).get_text()
        if expected is None:
            assert np.ma.getmaskarray(values)[row, column] or np.isnan(values[row, column])
            assert text == "–"
        else:
            assert values[row, column] == expected
            assert text == f"{expected:.2f}"


def test_the_best_is_marked_in_every_panel() -> None:
    heat_map, over_spatial, over_semantic, _ = draw_k_sweep(SWEEP).axes
    assert heat_map.get_title(loc="left") == "best: 37.30 at K_sp = 100, K_sm = 50"
    (mark,) = heat_map.patches
    assert (mark.get_x(), mark.get_y()) == (0.5, 0.5)  # type: ignore[attr-defined]
    for ax, best in ((over_spatial, 100), (over_semantic, 50)):
        (star,) = (line for line in ax.get_lines() if line.get_marker() == "*")
        assert star.get_xydata().tolist() == [[best, 37.3]]  # type: ignore[union-attr]


def test_lines_are_sorted_and_the_one_through_the_best_stands_out() -> None:
    _, over_spatial, over_semantic, _ = draw_k_sweep(dict(reversed(SWEEP.items()))).axes
    for ax, line in (
        (over_spatial, [[0, 36.0], [100, 37.3], [300, 36.9]]),
        (over_semantic, [[0, 36.5], [50, 37.3], [300, 37.0]]),
    ):
        *others, chosen, _ = ax.get_lines()
        assert chosen.get_xydata().tolist() == line  # type: ignore[union-attr]
        assert not same_color(chosen.get_color(), others[0].get_color())


def test_tables_say_the_same_as_a_mapping() -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"k_spatial": a, "k_semantic": b, "value": value} for (a, b), value in SWEEP.items()]
    drawn = [draw_k_sweep(results).axes[0].images[0].get_array() for results in (SWEEP, rows, pandas.DataFrame(rows))]
    for other in drawn[1:]:
        np.testing.assert_array_equal(np.ma.filled(other, np.nan), np.ma.filled(drawn[0], np.nan))


def test_one_value_and_shares_of_one() -> None:
    figure = draw_k_sweep({(100, 50): 0.9181}, metric="accuracy")
    figure.canvas.draw()
    assert figure.axes[0].texts[0].get_text() == "0.918"
    assert figure.axes[1].get_ylabel() == "accuracy"


def test_heat_map_into_given_axes() -> None:
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    assert draw_k_sweep(SWEEP, ax=ax) is figure
    assert len(ax.images) == 1
    assert not other.get_lines()


BAD: list[tuple[Any, type[Exception], str]] = [
    ({}, ValueError, "at least one value"),
    (5, TypeError, "a mapping or a table, got int"),
    ("100", TypeError, "a mapping or a table, got str"),
    ({100: 3.0}, ValueError, "keys of results"),
    ({(100, -1): 3.0}, ValueError, "keys of results"),
    ({(100, 2.5): 3.0}, ValueError, "keys of results"),
    ({("a", "b"): 3.0}, ValueError, "keys of results"),
    ({(100, 50): float("nan")}, ValueError, "must be finite, got nan"),
    ([{"k_spatial": 1, "value": 2.0}], ValueError, "columns k_spatial, k_semantic, value"),
    ([{"k_spatial": 1, "k_semantic": 2, "value": 2.0}] * 2, ValueError, "each pair once"),
]


@pytest.mark.parametrize(("results", "error", "words"), BAD)
def test_rejects(results: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        draw_k_sweep(results)


def test_values_are_numbers() -> None:
    with pytest.raises(TypeError, match=r"results must be numbers, got 'a' at \(1, 2\)"):
        draw_k_sweep({(1, 2): "a"})
