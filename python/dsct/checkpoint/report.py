"""The report of a load, for programs and for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What a load did with every tensor of the file and of the model; ``print`` shows it as a table of counts.

    Attributes:
        layout: the kind of file that was recognised.
        reused: names copied as they are.
        renamed: name in the file -> name in the model; several tensors that were joined have the same name there.
        reshaped: name in the model -> (shape in the file, shape in the model); rows that exist in both were copied.
        rows_copied: name in the model -> which rows, for every name in ``reshaped``.
        skipped: name in the file -> why it was skipped.
        missing: names of the model that the file did not fill; they keep their values.
        warnings: what else is worth knowing, such as values that are not finite.
        key: the name in the file by which its layout was recognised.

    Example:
        >>> print(LoadReport("DSCT", ("input_proj.0.0.bias",), {}, {}, {}, {"epoch": "no such tensor"}, (), ()))
        DSCT: 1 reused, 0 renamed, 0 reshaped, 1 skipped, 0 missing
          skipped       1  epoch: no such tensor
    """

    layout: str
    reused: tuple[str, ...]
    renamed: dict[str, str]
    reshaped: dict[str, tuple[Shape, Shape]]
    rows_copied: dict[str, str]
    skipped: dict[str, str]
    missing: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    key: str = ""

    def __str__(self) -> str:
        rows: list[tuple[str, int, str]] = []
        rows += [("renamed", count, pattern) for pattern, count in _patterns(self.renamed).items()]
        rows += [
            ("reshaped", 1, f"{name} {old} -> {new}: {self.rows_copied[name]}")
            for name, (old, new) in self.reshaped.items()
        ]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        rows += [("skipped", len(names), f"{summary(names)}: {reason}") for reason, names in reasons.items()]
        if self.missing:
            text = f"{summary(self.missing)}: not filled from the file, left as they were"
            rows.append(("missing", len(self.missing), text))
        lines = [
            f"{self.layout}: {len(self.reused)} reused, {len(self.renamed)} renamed, {len(self.reshaped)} reshaped, "
            f"{len(self.skipped)} skipped, {len(self.missing)} missing",
            *([f"  recognised by {self.key}"] if self.key else []),
            *(f"  {kind:<9}{count:>6}  {text}" for kind, count, text in rows),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)


def summary(names: Sequence[str], limit: int = 4) -> str:
    """The names, or, if there are more than `limit`, their prefixes and the number of each.

    Example:
        >>> summary(["query_embed.weight", *(f"encoder.layers.{i}.bias" for i in range(6))])
        'query_embed.weight, encoder.layers.* (6)'
    """
    if len(names) <= limit:
        return ", ".join(names)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "*", ".".join(name.split(".")[:2])), []).append(name)
    return ", ".join(
        members[0] if len(members) == 1 else f"{key.removesuffix('.*')}.* ({len(members)})"
        for key, members in groups.items()
    )


def _patterns(renamed: dict[str, str], limit: int = 4) -> dict[str, int]:
    """``old -> new`` and the number of names it stands for; beyond `limit` names, with ``*`` for equal parts."""
    if len(renamed) <= limit:
        return {f"{old} -> {new}": 1 for old, new in renamed.items()}
    counts: dict[str, int] = {}
    for old, new in renamed.items():
        pattern = " -> ".join(re.sub(r"\d+", "*", ".".join(parts)) for parts in _without_common_end(old, new))
        counts[pattern] = counts.get(pattern, 0) + 1
    return counts


def _without_common_end(old: str, new: str) -> Iterable[list[str]]:
    """Both names in parts, with ``*`` in place of the last parts that they share."""
    first, second = old.split("."), new.split(".")
    same = 0
    while same < min(len(first), len(second)) and first[-1 - same] == second[-1 - same]:
        same += 1
    return ([*parts[: len(parts) - same], *["*"] * (same > 0)] for parts in (first, second))
