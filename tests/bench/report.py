"""Tables of results: as JSON, as Markdown, and into the README between its markers.

``python -m tests.bench.report`` fills the README from `results/`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .timing import Comparison

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"

Cell = str | float
COMPARISON_COLUMNS = ["ours, ms", "peer, ms", "peer / ours", "quartiles", "pairs"]


@dataclass(frozen=True)
class Table:
    """One table; numbers stay numbers until they are rendered."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""
    samples: dict[str, Any] = field(default_factory=dict)

    def compare(self, labels: Sequence[str], comparison: Comparison) -> None:
        """Add a row of `COMPARISON_COLUMNS` behind its labels, and keep every single time."""
        low, high = comparison.spread
        self.rows.append(
            [
                *labels,
                comparison.ours_median * 1e3,
                comparison.peer_median * 1e3,
                comparison.ratio,
                f"{number(low)}–{number(high)}",
                len(comparison.ours),
            ]
        )
        self.samples[", ".join(labels)] = asdict(comparison)


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def cell(value: Cell) -> str:
    """Text of a cell."""
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int) else number(value)


def table_markdown(table: dict[str, Any]) -> str:
    """One table in Markdown; numbers to the right."""
    rows = [[cell(value) for value in row] for row in table["rows"]]
    numeric = [not isinstance(value, str) for value in table["rows"][0]] if table["rows"] else []
    rule = ["---:" if right else "---" for right in numeric] or ["---"] * len(table["columns"])
    lines = [" | ".join(line) for line in (table["columns"], rule, *rows)]
    text = f"**{table['title']}**\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"
    return text + (f"\n{table['note']}\n" if table["note"] else "")


def markdown(result: dict[str, Any]) -> str:
    """All tables of a program, with its machine in front."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    tables = "\n".join(table_markdown(table) for table in result["tables"])
    return f"`{result['command']}`\n\n{machine}\n\n{tables}"


def fill(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The README with every program's tables between its markers; without results, a sentence that says so."""

    def section(match: re.Match[str]) -> str:
        name = match["name"]
        body = (
            markdown(results[name])
            if name in results
            else "Not measured: no machine for it was at hand when the others were.\n"
        )
        return f"<!-- results: {name} -->\n\n{body}\n<!-- end -->"

    return re.sub(r"<!-- results: (?P<name>\w+) -->.*?<!-- end -->", section, text, flags=re.DOTALL)


def write(result: dict[str, Any], folder: Path) -> None:
    """``NAME.json`` with every single time, and ``NAME.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result['program']}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"{result['program']}.md").write_text(markdown(result), encoding="utf-8")


def main() -> None:
    """Fill the README."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    README.write_text(fill(README.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(f"{README.name}: {', '.join(results) or 'no results'}")


if __name__ == "__main__":
    main()
