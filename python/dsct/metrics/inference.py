"""Runs a model over a data set and evaluates its predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.ops import box_convert

from dsct.data.collate import Batch
from dsct.data.loaded import loaded
from dsct.data.loading_processes import leave_signals_to_main
from dsct.data.records import Annotations, Dataset, Target
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.equal_sizes import Sample, batches_of_equal_size
from dsct.metrics.evaluator import Evaluator
from dsct.metrics.results import Evaluation, Throughput
from dsct.modules.evaluating import evaluation_view
from dsct.modules.precision import Precision, autocast

Outputs = dict[str, Any]
PostProcess = Callable[[Outputs, torch.Tensor], list[dict[str, torch.Tensor]]]


def evaluate(
    model: torch.nn.Module,
    data: Dataset,
    post_process: PostProcess,
    evaluator: Evaluator,
    *,
    batch_size: int = 8,
    workers: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    indices: Sequence[int] | None = None,
    on_batch: Callable[[Outputs, Batch], None] | None = None,
    bootstrap: Bootstrap | None = None,
    thresholds: Sequence[float] | None = None,
    details: bool = False,
) -> Evaluation:
    """Predicts on the images of a data set and compares with their annotations.

    Processes that share an evaluation call :func:`collect` with their own `indices` instead, merge the evaluators and
    then compute.

    Args:
        model: see :func:`collect`, as for all arguments but the last three.
        data: images and targets.
        post_process: turns outputs into people.
        evaluator: fresh; collects the predictions.
        batch_size: most images per forward pass.
        workers: processes that load images.
        device: where the batches go.
        precision: of the forward pass.
        indices: which images, by default all.
        on_batch: called with outputs and batch.
        bootstrap: also computes intervals.
        thresholds: (C,) of a multi-label model: also evaluates the labels reported at them.
        details: also computes precision-recall curves, calibration, groups of people and the worst images.

    Returns:
        The evaluation, with its throughput.

    Example:
        >>> import dsct
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> data = SyntheticDataset("val", 2, image_size=(64, 48), transforms=dsct.data.evaluation_transform(None))
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny(num_context_queries=0))
        >>> evaluator = Evaluator(model.config.names, multi_label=False)
        >>> evaluate(model, data, dsct.PostProcess(model.config), evaluator).num_images
        2
    """
    throughput = collect(
        model, data, post_process, evaluator, batch_size=batch_size, workers=workers, device=device,
        precision=precision, indices=indices, on_batch=on_batch,
    )  # fmt: skip
    return evaluator.compute(bootstrap, thresholds, details).with_(throughput=throughput)


@torch.no_grad()
def collect(
    model: torch.nn.Module,
    data: Dataset,
    post_process: PostProcess,
    evaluator: Evaluator,
    *,
    batch_size: int = 8,
    workers: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    indices: Sequence[int] | None = None,
    on_batch: Callable[[Outputs, Batch], None] | None = None,
    on_error: Callable[[int, str], None] | None = None,
) -> Throughput:
    """Predicts on images of a data set and adds the results to an evaluator, with their indices as image ids.

    Images of equal size, after the transform, run together and none is padded: what is predicted for an image does not
    depend on the batch size, the loading processes or the share of the images, up to the rounding of the last bits, and
    is what ``dsct.predict`` predicts. Batches therefore come in another order than the images. The model is in
    evaluation mode meanwhile; then every part of it gets its own mode back. No random number is drawn.

    Args:
        model: maps images (B, 3, H, W) and a mask to outputs; already on `device`.
        data: with an evaluation transform, so that ``boxes`` are fractions of the image.
        post_process: outputs and sizes (B, 2) height, width -> per image boxes in pixels, scores, probabilities.
        evaluator: takes the predictions and annotations.
        batch_size: most images per forward pass.
        workers: processes that load images.
        device: where the batches go.
        precision: ``"bfloat16"`` and ``"float16"`` run the model under autocast.
        indices: the share of the images that this process evaluates, such as ``range(rank, len(data), processes)``;
            by default all.
        on_batch: called with outputs and batch, for instance to add up losses or to show progress.
        on_error: called with the index of an image that cannot be read and with a sentence that says why; the image is
            left out. None raises the error.

    Returns:
        How long it took.

    Raises:
        ValueError: the precision is unknown, or an index repeats.
        OSError: an image cannot be read.

    Example:
        >>> import dsct
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> data = SyntheticDataset("val", 2, image_size=(64, 48), transforms=dsct.data.evaluation_transform(None))
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny(num_context_queries=0))
        >>> evaluator = Evaluator(model.config.names, multi_label=False)
        >>> collect(model, data, dsct.PostProcess(model.config), evaluator).images
        2
    """
    device = torch.device(device)
    chosen = range(len(data)) if indices is None else indices
    loader: DataLoader[Sample | str] = DataLoader(
        Share(data, chosen, catches=on_error is not None),  # type: ignore[arg-type]  # any sequence of samples works
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=leave_signals_to_main,
        generator=torch.Generator(),
    )
    reduced = autocast(device, precision)
    began, model_seconds, done = time.perf_counter(), 0.0, 0
    view = evaluation_view(model)
    for ids, batch in batches_of_equal_size(_readable(loader, chosen, on_error), batch_size):
        on_device = batch.to(device)
        model_began = time.perf_counter()
        with reduced:
            outputs = view(on_device.images, on_device.mask)
        sizes = torch.stack([target["orig_size"] for target in on_device.targets])
        results = post_process(outputs, sizes)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        model_seconds += time.perf_counter() - model_began
        truths = [
            {**in_pixels(target), **_about_people(data, index, len(target["boxes"]))}
            for index, target in zip(ids, batch.targets, strict=True)
        ]
        evaluator.update(results, truths, ids)
        done += len(ids)
        if on_batch is not None:
            on_batch(outputs, on_device)
    return Throughput(done, time.perf_counter() - began, model_seconds)


class Share:
    """The samples of a data set that a process evaluates; what cannot be read is, where it is caught, a sentence.

    Args:
        data: images and targets.
        chosen: indices.
        catches: whether errors are caught, in whichever process they occur.

    Example:
        >>> len(Share([], range(0), catches=False))
        0
    """

    def __init__(self, data: Any, chosen: Sequence[int], catches: bool) -> None:
        self.data = data
        self.chosen = chosen
        self.catches = catches

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> Sample | str:
        try:
            sample: Sample = self.data[self.chosen[place]]
        except (OSError, ValueError) as error:
            if not self.catches:
                raise
            return str(error)
        return sample


def _readable(
    loader: Iterable[Sample | str], chosen: Sequence[int], on_error: Callable[[int, str], None] | None
) -> Iterator[tuple[int, Sample]]:
    """Index and sample of every image; `on_error` is told of those that have none."""
    for index, sample in zip(chosen, loaded(loader), strict=True):
        if not isinstance(sample, str):
            yield index, sample
        elif on_error is not None:
            on_error(index, sample)


def _as_it_is(sample: Any) -> Any:
    """Instead of turning numbers into tensors, as the loader does by default. Other processes call it by name."""
    return sample


def _about_people(data: Dataset, index: int, people: int) -> dict[str, Any]:
    """What the data say about the people of an image beside boxes and labels."""
    annotations = getattr(data, "annotations", None)
    record = annotations(index) if callable(annotations) else None
    # A transform of the user's own may have removed people: whom the record then describes is unknown.
    if not isinstance(record, Annotations) or len(record) != people:
        return {}
    return {"attributes": record.attributes, "continuous": record.continuous}


def in_pixels(target: Target) -> Target:
    """The target with ``boxes`` as ``x1 y1 x2 y2`` in pixels of the original image.

    Args:
        target: ``boxes`` (n, 4) cxcywh in [0, 1] of the whole image, ``orig_size`` (2,) height and width.
    """
    height, width = target["orig_size"].tolist()
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    return {**target, "boxes": box_convert(target["boxes"].cpu(), "cxcywh", "xyxy") * scale}
