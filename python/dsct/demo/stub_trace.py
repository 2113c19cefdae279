"""Temporary stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import dsct


@dataclass
class LookedAt:
    reference_point: Any
    sampling_points: Any
    sampling_weights: Any
    context_points: Any
    context_weights: Any
    context_relation: list[str]


@dataclass
class SubjectTrace:
    person: Any
    layers: Any


def trace_subjects(image: Any, model: Any) -> list[SubjectTrace]:
    people = dsct.predict(image, model)
    rng = np.random.default_rng(0)
    w, h = image.size
    out = []
    for p in people:
        layers = []
        c = np.array([(p.box[0] + p.box[2]) / 2, (p.box[1] + p.box[3]) / 2])
        for _ in range(2):
            weights = rng.dirichlet(np.ones(64) * 0.3)
            cw = rng.dirichlet(np.ones(16))
            layers.append(
                LookedAt(
                    c,
                    c + rng.normal(size=(64, 2)) * 40,
                    weights,
                    rng.uniform(size=(16, 2)) * (w, h),
                    cw,
                    ["spatial"] * 11 + ["semantic"] * 5,
                )
            )
        out.append(SubjectTrace(p, tuple(layers)))
    return out
