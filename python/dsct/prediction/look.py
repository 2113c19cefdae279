"""What a model found in one image, and where each decoder layer looked for each person, in pixels of that image."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dsct.prediction.people import People, Person

if TYPE_CHECKING:
    from dsct.modules import DSCT
    from dsct.modules.decoder import Trace

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LayerLook:
    """Where one decoder layer looked for one person. Points are (x, y) in pixels of the original image.

    A point may lie outside the image, where the model reads zeros. M heads, L levels, P points, K context queries.

    Attributes:
        reference_point: (2,) float32, around which the person's query samples the image.
        sampling_points: (M·L·P, 2) float32, the sampled points, head by head.
        sampling_weights: (M·L·P,) float32, their attention weights divided by M, so that they sum to 1.
        context_queries: (K,) int64, the context queries that the layer fuses into the person; none if it does
            not fuse. A query that both relations chose occurs twice, as in the model.
        context_points: (K, 2) float32, their reference points.
        context_weights: (K,) float32. They sum to 1, or to 1 per relation under ``aggregation="split"``.
        context_relation: K times ``"spatial"`` or ``"semantic"``, or ``"all"`` if the model selects nothing.
        context_sampling_points: (K·M·L·P, 2) float32, where the context queries sample the image.
        context_sampling_weights: (K·M·L·P,) float32, weight of the context query times attention weight; their sum
            is that of `context_weights`.

    Example:
        >>> import dsct
        >>> predictor = dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=0.0, short_side=96)
        >>> last = predictor.look(np.zeros((96, 128, 3), np.uint8)).subjects[0].layers[-1]
        >>> last.reference_point.shape, round(float(last.sampling_weights.sum()), 4)
        ((2,), 1.0)
    """

    reference_point: Floats
    sampling_points: Floats
    sampling_weights: Floats
    context_queries: NDArray[np.int64]
    context_points: Floats
    context_weights: Floats
    context_relation: list[str]
    context_sampling_points: Floats
    context_sampling_weights: Floats

    def to_dict(self, most_points: int | None = None, decimals: int | None = None) -> dict[str, Any]:
        """Plain Python values under the names of the attributes.

        Args:
            most_points: keep only the sampling points with the greatest weights, this many; None keeps all.
            decimals: round points to this many decimals of a pixel, and weights, which are small, to five more; None
                does not round.
        """
        finer = None if decimals is None else decimals + 5
        own = heaviest(self.sampling_points, self.sampling_weights, most_points)
        context = heaviest(self.context_sampling_points, self.context_sampling_weights, most_points)
        return {
            "reference_point": _rounded(self.reference_point, decimals),
            "sampling_points": _rounded(own[0], decimals),
            "sampling_weights": _rounded(own[1], finer),
            "context_queries": self.context_queries.tolist(),
            "context_points": _rounded(self.context_points, decimals),
            "context_weights": _rounded(self.context_weights, finer),
            "context_relation": list(self.context_relation),
            "context_sampling_points": _rounded(context[0], decimals),
            "context_sampling_weights": _rounded(context[1], finer),
        }


@dataclass(frozen=True, eq=False)
class SubjectTrace:
    """A person who was found, and where the model looked for them.

    Attributes:
        query: number, from 0, of the subject query that found the person.
        person: box, score and emotions, as `dsct.predict` reports them.
        layers: where each decoder layer looked, first layer first.

    Example:
        >>> import dsct
        >>> predictor = dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=0.0, short_side=96)
        >>> subject = predictor.look(np.zeros((96, 128, 3), np.uint8)).subjects[0]
        >>> sorted(subject.to_dict()), len(subject.layers)
        (['layers', 'person', 'query'], 2)
    """

    query: int
    person: Person
    layers: tuple[LayerLook, ...]

    def to_dict(self, most_points: int | None = None, decimals: int | None = None) -> dict[str, Any]:
        """Plain Python values, for JSON: `query`, `person` (box, score, labels, probabilities) and `layers`.

        Args:
            most_points: as in `LayerLook.to_dict`.
            decimals: as in `LayerLook.to_dict`.
        """
        layers = [layer.to_dict(most_points, decimals) for layer in self.layers]
        return {"query": self.query, "person": self.person.to_dict(), "layers": layers}


@dataclass(frozen=True, eq=False)
class Look:
    """One image and what a model found in it, as `dsct.Predictor.look` returns it.

    Attributes:
        image: the image, upright, in RGB.
        people: the result of `dsct.predict`.
        subjects: the same people in the same order, each with where the model looked for them.

    Example:
        >>> import dsct
        >>> look = dsct.Predictor().look(np.zeros((96, 128, 3), np.uint8))
        >>> look.image.size, len(look.people) == len(look.subjects)
        ((128, 96), True)
    """

    image: Image.Image
    people: People
    subjects: list[SubjectTrace]

    @property
    def note(self) -> str | None:
        """What the reader must know about the weights, or None."""
        return self.people.note


def heaviest(points: Floats, weights: Floats, most: int | None) -> tuple[Floats, Floats]:
    """The `most` points with the greatest weights, in falling order, with their weights; None keeps all as they are.

    Example:
        >>> points = np.array([[0, 0], [1, 1], [2, 2]], dtype=np.float32)
        >>> heaviest(points, np.array([0.25, 0.5, 0.25], dtype=np.float32), 2)[0].tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    if most is None:
        return points, weights
    order = np.argsort(-weights, kind="stable")[:most]
    return points[order], weights[order]


def require_trace(model: DSCT) -> None:
    """Refuses a model whose decoder cannot say where it looked.

    Raises:
        TypeError: the decoder does not take ``return_trace``.
    """
    decoder = model.transformer.decoder
    parameters = inspect.signature(decoder.forward).parameters.values()
    if not any(p.name == "return_trace" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise TypeError(
            "look: the decoder of model must take return_trace=True and return what each layer sampled, "
            f"got {type(decoder).__name__}"
        )


def subject_traces(people: People, trace: list[Trace], context: int) -> list[SubjectTrace]:
    """Where a model with `context` context queries looked for each of `people`; `trace` is of their image alone."""
    return [
        SubjectTrace(query, person, tuple(_layer_look(layer, query, context, people.image_size) for layer in trace))
        for query, person in zip(people.queries.tolist(), people, strict=True)
    ]


def _layer_look(layer: Trace, query: int, context: int, size: tuple[int, int]) -> LayerLook:
    """What the trace of one layer, of one image, says about subject query number `query`."""
    scale = np.array(size, dtype=np.float32)
    row = context + query
    # A decoder that refines boxes layer by layer has reference boxes (cx, cy, w, h) instead of points.
    references = _numbers(layer["reference_points"])[:, :2] * scale
    locations, attention = _numbers(layer["sampling_locations"]), _numbers(layer["attention_weights"])
    points = locations.reshape(len(locations), -1, 2) * scale
    weights = attention.reshape(len(attention), -1) / attention.shape[1]
    chosen, relation = _chosen(layer, query, context)
    shares = _numbers(layer["context_weights"])[query] if len(chosen) else np.zeros(0, np.float32)
    return LayerLook(
        reference_point=references[row],
        sampling_points=points[row],
        sampling_weights=weights[row],
        context_queries=chosen,
        context_points=references[chosen],
        context_weights=shares,
        context_relation=relation,
        context_sampling_points=points[chosen].reshape(-1, 2),
        context_sampling_weights=(shares[:, None] * weights[chosen]).reshape(-1),
    )


def _chosen(layer: Trace, query: int, context: int) -> tuple[NDArray[np.int64], list[str]]:
    """The context queries that a layer fuses into a subject, in the order of their weights, and why it chose each."""
    if layer.get("context_weights") is None:
        return np.zeros(0, np.int64), []
    sets = {relation: layer.get(f"{relation}_indices") for relation in ("spatial", "semantic")}
    indices = {relation: found[0, query].cpu().numpy() for relation, found in sets.items() if found is not None}
    if not indices:  # the model selects nothing: all context is fused
        return np.arange(context), ["all"] * context
    relation = [name for name, found in indices.items() for _ in found]
    return np.concatenate(list(indices.values())), relation


def _numbers(tensor: Tensor | None) -> Floats:
    """Values of the first, and only, image."""
    assert tensor is not None, "only the choice of context may be missing from a trace"
    return tensor[0].float().cpu().numpy()


def _rounded(values: Floats, decimals: int | None) -> Any:
    """In double precision, so that rounded numbers also print rounded."""
    return values.tolist() if decimals is None else values.astype(np.float64).round(decimals).tolist()
