"""``dsct predict``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.prediction.annotated import AnnotatedFiles
from dsct.cli.prediction.inputs import Input, collect
from dsct.cli.prediction.writers import Json, Result, ResultFile, Text, format_of
from dsct.cli.progress import progress_bar
from dsct.prediction.predictor import Predictor
from dsct.prediction.video import count_frames


@one_line_errors
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Images, videos, and folders with their subfolders.")],
    weights: Annotated[Path | None, typer.Option(help="Weights; by default those that come with dsct.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Several emotions per person: report those above this probability; by default the thresholds stored "
            "with the weights, else 0.5.",
        ),
    ] = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(help="Leave out people with a lower score; by default ½ divided by the number of classes."),
    ] = None,
    nms_iou: Annotated[
        float,
        typer.Option(help="Of two people that overlap by more, keep the better one; 1 keeps both."),
    ] = 0.5,
    short_side: Annotated[
        int | None, typer.Option(min=1, help="Pixels of the resized short side; by default as stored with the weights.")
    ] = None,
    long_side: Annotated[
        int | None, typer.Option(min=1, help="Most pixels of the long side; by default as stored with the weights.")
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Write to this .json, .jsonl or .csv file and print nothing; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per image or frame.")] = False,
    annotate: Annotated[
        Path | None,
        typer.Option("--annotate", "--plot-dir", metavar="DIR", help="Draw the people into copies in this folder."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th frame of a video.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of images of equal size to run at once.")] = 4,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, and only errors on stderr.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Find the people in images and videos and the emotions they show.

    JSON is an array of one object per image or frame, JSON lines are these objects: image, width, height, note and
    people (box, score, labels, probabilities); for a frame, image is the video and time is in seconds. CSV
    has a row per person. Videos need PyAV, the extra named video.

    A file that is missing or cannot be read does not stop the run: it is named at the end, and the exit code is 1.
    Ctrl-C leaves complete files with the results so far.
    """
    formats = {path: format_of(path) for path in out or []}
    errors: list[str] = []
    files, others = collect(paths, lambda path, error: errors.append(str(error)))
    if not files:
        raise OSError("; ".join(errors))
    total = len(files) + len(errors)
    with _not_logged():
        predictor = Predictor(
            weights, threshold=threshold, score_threshold=score_threshold, nms_iou=nms_iou, short_side=short_side,
            long_side=long_side, batch_size=batch_size, device=choose_device(device),
        )  # fmt: skip
    stderr = Console(stderr=True, soft_wrap=True, highlight=False)
    if predictor.note and (as_json or formats) and not quiet:  # text ends with it
        stderr.print(f"note: {predictor.note}", markup=False)
    if others and not quiet:
        listed = ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in others.most_common())
        stderr.print(f"skipped, neither images nor videos: {listed}", markup=False)
    missing = len(errors)
    with ExitStack() as stack:
        writers: list[ResultFile | AnnotatedFiles] = [
            stack.enter_context(ResultFile(format, path)) for path, format in formats.items()
        ]
        if as_json or not formats:
            writers.append(stack.enter_context(ResultFile(Json(indent=2) if as_json else Text())))
        if annotate is not None:
            writers.append(stack.enter_context(AnnotatedFiles(annotate, len(files))))
        # Results printed to the same terminal go above the bar; those sent elsewhere must not be redirected to it.
        bar = progress_bar(stderr, stderr.is_terminal and not quiet, redirect_stdout=sys.stdout.isatty())
        progress = stack.enter_context(bar)
        task = progress.add_task("predicting", total=None if progress.disable else _expected(files, every))
        for done, result in enumerate(_results(files, predictor, every, errors), start=1):
            for writer in writers:
                writer.write(result)
            progress.update(task, completed=done + len(errors) - missing)
        # What headers announce may differ from what there is.
        progress.update(task, total=progress.tasks[task].completed)
    if errors:
        stderr.print(f"{len(errors)} of {total} files could not be read, or not completely:", markup=False)
        stderr.print(*errors, sep="\n", markup=False)
        raise typer.Exit(1)


@contextmanager
def _not_logged() -> Iterator[None]:
    """The command says itself, and once, what the shipped weights are."""
    logger = logging.getLogger("dsct")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _results(files: Sequence[Input], predictor: Predictor, every: int, errors: list[str]) -> Iterator[Result]:
    """The results of all files in order; what cannot be read has none and is added to `errors`."""

    def on_error(path: Any, error: Exception) -> None:
        errors.append(str(error) if str(path) in str(error) else f"{path}: {error}")

    for is_video, group in groupby(files, key=lambda file: file.is_video):
        paths = (file.path for file in group)
        if not is_video:
            for people in predictor.stream(paths, on_error=on_error):
                yield Result(Path(str(people.image_path)), None, people)
            continue
        for path in paths:
            try:
                for time, people in predictor.frames(path, every=every):
                    yield Result(path, time, people)
            except (OSError, ValueError, ImportError) as error:
                on_error(path, error)


def _expected(files: Sequence[Input], every: int) -> int | None:
    """About how many results there will be, if the headers of the videos say it."""
    try:
        counts = [count_frames(file.path, every) if file.is_video else 1 for file in files]
    except (OSError, ImportError):  # reported when it is the file's turn
        return None
    return sum(count for count in counts if count) if all(counts) else None
