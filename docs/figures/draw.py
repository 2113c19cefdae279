"""Draws the figures of the explanation: `python docs/figures/draw.py`. Their colours are in docs/site.css."""

from __future__ import annotations

import random
from pathlib import Path

FOLDER = Path(__file__).parent
Point = tuple[float, float]


def svg(name: str, description: str, width: int, height: int, parts: list[str]) -> None:
    """Writes a figure. It goes into the page as it is, so it has no empty line."""
    head = f'<svg class="figure" viewBox="0 0 {width} {height}" role="img" aria-label="{description}">'
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    (FOLDER / f"{name}.svg").write_text("\n".join([head, arrow, *parts, "</svg>"]) + "\n", encoding="utf-8")


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{words}</text>'


def line(start: Point, end: Point, kind: str = "arrow") -> str:
    return f'<path class="{kind}" d="M{start[0]:g} {start[1]:g}L{end[0]:g} {end[1]:g}"/>'


def circle(centre: Point, radius: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius:g}"/>'


def box(x: float, y: float, width: float, height: float, *lines: str, kind: str = "box") -> str:
    """A frame with lines of text in its middle; the first is the title."""
    top = y + height / 2 - 8.5 * (len(lines) - 1) + 4.5
    words = [text(x + width / 2, top + 17 * row, words, "small" if row else "title") for row, words in enumerate(lines)]
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>' + "".join(words)


def pipeline() -> None:
    parts = [
        box(5, 60, 80, 60, "image", "3 × H × W"),
        box(110, 60, 105, 60, "backbone", "4 maps, 256 ch."),
        box(240, 60, 105, 60, "encoder", "6 layers"),
        box(370, 10, 200, 160, kind="box"),
        text(470, 32, "decoder, 6 layers", "title"),
        *(
            box(385, 42 + 31 * row, 170, 26, words, kind=kind)
            for row, (words, kind) in enumerate(
                [("self-attention", "plain"), ("deformable attention", "plain"),
                 ("context → subject", "fusion"), ("feed-forward", "plain")]
            )
        ),
        box(595, 60, 70, 60, "heads", "class, box"),
        box(690, 60, 95, 60, "N people", "box, emotions"),
        *(line((x, 90), (x + 23, 90)) for x in (86, 216, 346, 571, 666)),
        box(370, 205, 95, 40, "300 context", "queries", kind="context"),
        box(475, 205, 95, 40, "N subject", "queries", kind="subject"),
        line((417, 204), (417, 173)),
        line((522, 204), (522, 173)),
    ]  # fmt: skip
    svg("pipeline", "Image, backbone, encoder, decoder with two kinds of queries, heads, people", 790, 250, parts)


def deformable_attention() -> None:
    """One query, three maps: a reference point and four sampling points in each."""
    parts, offsets = [], [(-1.3, -0.6), (0.9, -1.4), (1.6, 0.7), (-0.6, 1.3)]
    for left, columns, name in ((20, 16, "stride 8"), (285, 8, "stride 16"), (550, 4, "stride 32")):
        cell, rows = 224 / columns, columns * 3 // 4
        height = rows * cell
        parts += [line((left + i * cell, 30), (left + i * cell, 30 + height), "grid") for i in range(columns + 1)]
        parts += [line((left, 30 + i * cell), (left + 224, 30 + i * cell), "grid") for i in range(rows + 1)]
        reference = (left + 0.45 * 224, 30 + 0.5 * height)
        points = [(reference[0] + x * cell, reference[1] + y * cell) for x, y in offsets]
        parts += [line(reference, point, "link") for point in points]
        parts += [circle(point, 5, "context") for point in points] + [circle(reference, 6, "subject")]
        parts.append(text(left + 112, 20, f"map of {name}", "title"))
    parts += [
        circle((215, 226), 6, "subject"), text(228, 230, "reference point of the query", "left"),
        circle((450, 226), 5, "context"), text(462, 230, "where it reads", "left"),
    ]  # fmt: skip
    svg("deformable_attention", "Three feature maps, a reference point and four sampling points each", 790, 240, parts)


def aggregation() -> None:
    """Context queries at random; the nearest are the spatial set, some of all others the semantic set."""
    generator = random.Random(3)
    person = (150.0, 130.0)
    context = [(generator.uniform(15, 355), generator.uniform(15, 225)) for _ in range(60)]
    by_distance = sorted(context, key=lambda point: (point[0] - person[0]) ** 2 + (point[1] - person[1]) ** 2)
    near, related = by_distance[:12], generator.sample(by_distance[16:], 6)
    parts = [
        '<rect class="box" x="5" y="5" width="360" height="230" rx="3"/>',
        '<rect class="person" x="115" y="65" width="70" height="150" rx="3"/>',
        *(line(point, person, "link") for point in near + related),
        *(circle(point, 4, "unused") for point in context if point not in near + related),
        *(circle(point, 5, "context") for point in near),
        *(circle(point, 5, "semantic") for point in related),
        circle(person, 8, "subject"),
        box(420, 15, 170, 44, "spatial set", "100 nearest (Eq. 6)", kind="context"),
        box(420, 75, 170, 44, "semantic set", "50 by dot product (Eq. 7)", kind="semantic"),
        box(420, 175, 170, 44, "subject", "E_S", kind="subject"),
        box(640, 95, 140, 60, "sum (Eq. 8)", "Ê_S = E_S + Σ w E_C"),
        line((591, 37), (657, 93)), line((591, 97), (638, 115)), line((591, 197), (657, 157)),
        text(660, 60, "softmax", "left"),
    ]  # fmt: skip
    svg("aggregation", "A person, the context queries near them and some from anywhere, summed", 790, 240, parts)


if __name__ == "__main__":
    pipeline()
    deformable_attention()
    aggregation()
