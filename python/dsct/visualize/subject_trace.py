"""Where each decoder layer looked for each person that was found, in pixels of the original image."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsct.image_io import ImageInput
from dsct.post_process import PostProcess, least_score
from dsct.prediction.model_view import view
from dsct.prediction.people import Person
from dsct.prediction.predictor import to_people

if TYPE_CHECKING:
    from dsct.modules import DSCT
    from dsct.modules.decoder import Trace

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LookedAt:
    """Where one decoder layer looked for one person. Points are (x, y) in pixels of the original image.

    A point may lie outside the image: the model reads zeros there. M heads, L levels, P points, K context queries.

    Attributes:
        reference_point: (2,) float32, around which the person's query samples the image.
        sampling_points: (M·L·P, 2) float32, where it does, head by head.
        sampling_weights: (M·L·P,) float32, their attention weights divided by M, so that they sum to 1.
        context_queries: (K,) int64, the context queries that the layer fuses into the person; none where it does not
            fuse. A query that both relations chose is there twice, as in the model.
        context_points: (K, 2) float32, their reference points.
        context_weights: (K,) float32. They sum to 1, or to 1 per relation under ``aggregation="split"``.
        context_relation: K times ``"spatial"`` or ``"semantic"``, or ``"all"`` where the model selects nothing.
        context_sampling_points: (K·M·L·P, 2) float32, where the context queries sample the image.
        context_sampling_weights: (K·M·L·P,) float32, weight of the context query times attention weight; they have the
            sum of `context_weights`.

    Example:
        >>> import dsct
        >>> (subject, *_) = trace_subjects(
        ...     np.zeros((96, 128, 3), np.uint8), dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=0.0, short_side=96
        ... )
        >>> last = subject.layers[-1]
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

    def to_dict(self, most_points: int | None = None) -> dict[str, Any]:
        """Plain Python values under the names of the attributes.

        Args:
            most_points: of the sampling points, keep this many of the greatest weight; None keeps all.
        """
        own = heaviest(self.sampling_points, self.sampling_weights, most_points)
        context = heaviest(self.context_sampling_points, self.context_sampling_weights, most_points)
        return {
            "reference_point": self.reference_point.tolist(),
            "sampling_points": own[0].tolist(),
            "sampling_weights": own[1].tolist(),
            "context_queries": self.context_queries.tolist(),
            "context_points": self.context_points.tolist(),
            "context_weights": self.context_weights.tolist(),
            "context_relation": list(self.context_relation),
            "context_sampling_points": context[0].tolist(),
            "context_sampling_weights": context[1].tolist(),
        }


@dataclass(frozen=True, eq=False)
class SubjectTrace:
    """A person that was found, and where the model looked for it.

    Attributes:
        query: number of the subject query, from 0, that found the person.
        person: box, score and emotions, as `dsct.predict` reports them.
        layers: where each decoder layer looked, first layer first.

    Example:
        >>> import dsct
        >>> (subject, *_) = trace_subjects(
        ...     np.zeros((96, 128, 3), np.uint8), dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=0.0, short_side=96
        ... )
        >>> sorted(subject.to_dict()), len(subject.layers)
        (['layers', 'person', 'query'], 2)
    """

    query: int
    person: Person
    layers: tuple[LookedAt, ...]

    def to_dict(self, most_points: int | None = None) -> dict[str, Any]:
        """Plain Python values, for JSON: `query`, `person` (box, score, labels, probabilities) and `layers`.

        Args:
            most_points: of the sampling points of a layer, keep this many of the greatest weight; None keeps all.
        """
        person = {
            "box": list(self.person.box),
            "score": self.person.score,
            "labels": list(self.person.labels),
            "probabilities": dict(self.person.probabilities),
        }
        layers = [layer.to_dict(most_points) for layer in self.layers]
        return {"query": self.query, "person": person, "layers": layers}


def trace_subjects(
    image: ImageInput,
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
) -> list[SubjectTrace]:
    """Finds the people in a picture as `dsct.predict` does, and says where the model looked for each of them.

    Args:
        image: anything `load_image` reads.
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        threshold: as in `dsct.predict`; so are all that follow.
        score_threshold: see there.
        nms_iou: see there.
        short_side: see there.
        long_side: see there.
        device: see there.

    Returns:
        One trace per person: the people of ``dsct.predict(image, model)`` in the same order.

    Raises:
        TypeError: `image` or `model` is of another kind, or the decoder of `model` cannot say where it looked.
        ValueError: an argument is out of range.
        OSError: the picture or the weights cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> subjects = trace_subjects(np.zeros((96, 128, 3), dtype=np.uint8), model, score_threshold=0.0, short_side=96)
        >>> subjects[0].layers[-1].sampling_points.shape  # 4 heads, 4 levels, 4 points
        (64, 2)
    """
    seen = view(image, model, short_side=short_side, long_side=long_side, device=device)
    config = seen.model.config
    _require_trace(seen.model)
    output, trace = seen.run(lambda model, pixels: model(pixels, return_trace=True))
    if threshold is None:
        threshold = getattr(seen.model, "thresholds", None)
    least = least_score(config) if score_threshold is None else score_threshold
    size = torch.tensor([seen.size[::-1]], device=output["pred_boxes"].device)
    (every,) = PostProcess(config, threshold)(output, size)
    (kept,) = PostProcess(config, threshold, nms_iou, least)(output, size)
    people = to_people(seen.prepared, kept, config, seen.note)
    return [
        SubjectTrace(
            query, person, tuple(_looked_at(layer, query, config.num_context_queries, seen.size) for layer in trace)
        )
        for query, person in zip(_queries_of(kept, every), people, strict=True)
    ]


def heaviest(points: Floats, weights: Floats, most: int | None) -> tuple[Floats, Floats]:
    """The `most` points of the greatest weight, heaviest first, with their weights; None keeps all as they are.

    Example:
        >>> points = np.array([[0, 0], [1, 1], [2, 2]], dtype=np.float32)
        >>> heaviest(points, np.array([0.25, 0.5, 0.25], dtype=np.float32), 2)[0].tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    if most is None:
        return points, weights
    order = np.argsort(-weights, kind="stable")[:most]
    return points[order], weights[order]


def choose_people(subjects: list[SubjectTrace], people: Sequence[int] | None, op: str) -> dict[int, SubjectTrace]:
    """The subjects numbered `people`, from 0, by their number; None is all.

    Raises:
        ValueError: there is no such person; the message begins with `op`.
    """
    for index in people or ():
        if not 0 <= index < len(subjects):
            raise ValueError(f"{op}: people must be numbers from 0 below {len(subjects)}, got {index}")
    return {index: subjects[index] for index in (range(len(subjects)) if people is None else people)}


def _require_trace(model: DSCT) -> None:
    decoder = model.transformer.decoder
    parameters = inspect.signature(decoder.forward).parameters.values()
    if not any(p.name == "return_trace" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise TypeError(
            "trace_subjects: the decoder of model must take return_trace=True and return what each layer sampled, "
            f"got {type(decoder).__name__}"
        )


def _queries_of(kept: dict[str, Tensor], every: dict[str, Tensor]) -> list[int]:
    """Numbers of the queries that `kept` people come from; `every` has one person per query, in their order.

    Of queries that say the same, to the bit, the native code keeps the one of lower number before the others.
    """
    names = ("boxes", "scores", "probabilities")
    rows = [torch.cat([of[name].flatten(1) if of[name].dim() > 1 else of[name][:, None] for name in names], 1).tolist()
            for of in (kept, every)]  # fmt: skip
    queries: list[int] = []
    for row in rows[0]:
        queries.append(next(q for q, other in enumerate(rows[1]) if other == row and q not in queries))
    return queries


def _looked_at(layer: Trace, query: int, context: int, size: tuple[int, int]) -> LookedAt:
    """What the trace of one layer, of one image, says about subject query number `query`."""
    scale = np.array(size, dtype=np.float32)
    row = context + query
    # A decoder that refines boxes layer by layer refers to boxes (cx, cy, w, h) instead of points.
    references = _numbers(layer["reference_points"])[:, :2] * scale
    locations, attention = _numbers(layer["sampling_locations"]), _numbers(layer["attention_weights"])
    points = locations.reshape(len(locations), -1, 2) * scale
    weights = attention.reshape(len(attention), -1) / attention.shape[1]
    chosen, relation = _chosen(layer, query, context)
    shares = _numbers(layer["context_weights"])[query] if len(chosen) else np.zeros(0, np.float32)
    return LookedAt(
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
