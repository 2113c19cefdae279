"""``dsct data``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsct.cli.data_convert import convert_data
from dsct.cli.datasets import check_val_fraction
from dsct.cli.errors import one_line_errors
from dsct.cli.options import LabelsOption, MultiLabelOption, Split, ValFractionOption, split_option
from dsct.cli.progress import progress_bar
from dsct.complete_files import replaced_when_complete, require_writable
from dsct.config import DSCTConfig
from dsct.data.annotation_files.raw_annotations import TooFewImages
from dsct.data.annotation_tools import read as read_tool
from dsct.data.annotation_tools import recognise as recognise_tool
from dsct.data.checks.check import CheckResult, check
from dsct.data.checks.findings import Finding, Location
from dsct.data.checks.opened_records import AnnotatedSplit
from dsct.data.checks.summary import Summary
from dsct.data.folders import DataFolder, recognise
from dsct.data.layouts.search import chosen_file, named_split, recognise_file
from dsct.visualize.annotated_sheet import contact_sheet
from dsct.visualize.drawing.saving import require_format

app = typer.Typer(help="Data sets on your disk.", no_args_is_help=True)

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


class FolderName(str, Enum):
    """Data sets that a folder can contain."""

    emotic = "emotic"
    caer_s = "caer-s"
    coco = "coco"


app.command("convert")(convert_data)


@app.callback()
def data() -> None:
    """Data sets on your disk."""


@app.command("check")
@one_line_errors
def check_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set's folder.")],
    name: Annotated[
        FolderName | None, typer.Option(help="What the folder contains; by default recognised by its files.")
    ] = None,
    split: Annotated[list[Split] | None, split_option("Only this split; repeat for several.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="The annotation file; otherwise the usual names are looked for in DIR.")
    ] = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    val_fraction: ValFractionOption = None,
    num_subject_queries: Annotated[
        int | None, typer.Option(help="Of your model, to count people beyond it; by default as in the paper's preset.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write everything to this file.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw a page of annotated images: .png, .svg or .pdf.")
    ] = None,
    sheet_images: Annotated[int, typer.Option(help="Images on that page.")] = 12,
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Decode every pixel, or read only headers (fast).")
    ] = True,
    max_images: Annotated[int | None, typer.Option(help="Open at most this many images of a split, at random.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that open images; by default a good number.")] = None,
    seed: Annotated[int, typer.Option(help="Seed for random choices.")] = 0,
) -> None:
    """Report what a data set contains and what is wrong with it, before training starts.

    The exit code is 1 if something would break or spoil training, otherwise 0.
    """
    if sheet is not None:  # before anything is opened
        require_format(sheet)
    for file in (json_path, sheet):
        if file is not None:
            require_writable(file)
    stdout = Console()
    name_found = name.value if name is not None else _recognised(folder, annotations)
    check_val_fraction(name_found, val_fraction)
    options: dict[str, Any] = {
        "annotations": annotations, "labels": labels, "multi_label": multi_label, "val_fraction": val_fraction
    }  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    if annotations is not None:
        split = split or _splits_in(name_found, folder, annotations)
    splits = open_splits(name_found, folder, split, given, stdout)
    preset = DSCTConfig.paper_caer_s() if name_found == FolderName.caer_s.value else DSCTConfig.paper_emotic()
    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task("opening images", total=None)
        result = check(
            splits,
            decode=decode,
            max_images=max_images,
            seed=seed,
            workers=workers,
            num_subject_queries=preset.num_subject_queries if num_subject_queries is None else num_subject_queries,
            on_image=lambda done, total: progress.update(task, completed=done, total=total),
        )
    show(result, stdout, folder)
    if json_path is not None:
        with replaced_when_complete(json_path) as partial:
            partial.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if sheet is not None:
        contact_sheet(splits, result.findings, sheet, count=sheet_images, seed=seed)
    if not result.ok:
        raise typer.Exit(1)


def open_splits(
    name: str, folder: Path, wanted: list[Split] | None, options: dict[str, Any], console: Console
) -> list[AnnotatedSplit]:
    """Opens the splits that are wanted, or all that are there; `options` are those of ``DataFolder``.

    Raises:
        FileNotFoundError: there is no annotation file for a wanted split, or for any split.
        TooFewImages: only the validation part of a single image is wanted; otherwise this is said.
    """
    opened = DataFolder(name, folder, **options)
    found: list[AnnotatedSplit] = []
    absent: list[FileNotFoundError | TooFewImages] = []
    for split in wanted or list(Split):
        try:
            found.append(opened.open(split.value))
        except TooFewImages as error:
            if wanted == [split]:
                raise
            absent.append(error)
        except FileNotFoundError as error:
            if wanted:
                raise
            absent.append(error)
    if not found:
        raise absent[0]
    for reason in absent:
        sentence = str(reason).partition("; looked for")[0]
        console.print(f"left out: {sentence}", style="dim", markup=False, highlight=False)
    return found


def _recognised(folder: Path, annotations: Path | None) -> str:
    return recognise(folder) if annotations is None else recognise_file(chosen_file(folder, annotations))


def _splits_in(name: str, folder: Path, annotations: Path) -> list[Split]:
    """The splits that one annotation file holds: any other file, taken for all three, would look like leakage."""
    if annotations.suffix == ".mat":
        return list(Split)
    chosen = chosen_file(folder, annotations)
    if (
        chosen.exists()
        and chosen.suffix != ".json"
        and recognise_tool(chosen) is not None
        and (inside := read_tool(chosen).splits)
    ):
        return [Split(one) for one in inside]
    named = named_split(folder, chosen)
    if named not in list(Split) and chosen.exists() and recognise_tool(chosen) is not None:
        return [Split.train, Split.val]
    if named not in list(Split):
        raise ValueError(f"--split must say what {annotations} contains, its name does not say")
    # Validation data may be cut from training data: both parts together are the file.
    return [Split.train, Split.val] if named == "train" and name != "emotic" else [Split(named)]


def show(result: CheckResult, console: Console, folder: Path) -> None:
    """Prints counts, class balance and findings; paths are shown relative to `folder`."""
    columns = [*result.summaries, result.whole] if len(result.summaries) > 1 else list(result.summaries)
    for summary in result.summaries:
        console.print(f"{summary.split}: {summary.source}", markup=False, highlight=False)
    console.print(_counts_table(columns))
    console.print(_classes_table(columns))
    if result.findings:
        console.print(_findings_table(result.findings, folder))
    totals = ((sum(f.severity == severity for f in result.findings), severity) for severity in _STYLES)
    counts = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for count, severity in totals if count)
    console.print(counts or "nothing found", style="green" if result.ok else "bold red", highlight=False)


def _counts_table(columns: list[Summary]) -> Table:
    table = Table(title="counts")
    table.add_column("")
    for summary in columns:
        table.add_column(summary.split, justify="right")
    rows: dict[str, list[str]] = {
        "images": [f"{s.images:,}" for s in columns],
        "images opened": [f"{s.opened:,}" for s in columns],
        "people": [f"{s.people:,}" for s in columns],
        **{f"images with {n}": [f"{s.people_per_image[n]:,}" for s in columns] for n in columns[0].people_per_image},
        "classes per person": ["{} to {}, mean {:.2f}".format(*_low_high_mean(s)) for s in columns],
        "median box, px": ["{:.0f} x {:.0f}".format(*s.median_box) for s in columns],
        "smallest box, px": ["{:.0f} x {:.0f}".format(*s.smallest_box) for s in columns],
        "boxes with a side < 12 px": [_share(s.tiny_boxes, s.people) for s in columns],
        "skipped while reading": [f"{sum(s.skipped.values()):,}" for s in columns],
        "mended while reading": [f"{sum(s.mended.values()):,}" for s in columns],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _low_high_mean(summary: Summary) -> tuple[int, int, float]:
    low, mean, high = summary.labels_per_person
    return low, high, mean


def _classes_table(columns: list[Summary]) -> Table:
    table = Table(title="people per class")
    table.add_column("class")
    for summary in columns:
        table.add_column(summary.split, justify="right")
    for name in dict.fromkeys(name for summary in columns for name in summary.people_per_class):
        table.add_row(name, *(_share(s.people_per_class.get(name, 0), s.people) for s in columns))
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


def _findings_table(findings: tuple[Finding, ...], folder: Path) -> Table:
    table = Table("", "finding", title="findings")
    table.add_column("count", justify="right")
    table.add_column("where", overflow="fold")
    for finding in findings:
        counts = [f"{finding.count:,}"]
        if len(finding.splits) > 1:
            counts += [f"{split} {count:,}" for split, count in finding.splits.items()]
        where = [_where(place, folder) for place in finding.places]
        if len(finding.places) < finding.count and finding.places[0].index is not None:
            where.append("…")
        severity = Text(finding.severity, style=_STYLES[finding.severity])
        table.add_row(severity, finding.kind, "\n".join(counts), Text("\n".join(where)))
    return table


def _where(place: Location, folder: Path) -> str:
    image = Path(place.image)
    name = str(image.relative_to(folder)) if place.image and image.is_relative_to(folder) else place.image
    if not name and place.index is not None:
        name = f"record {place.index}"
    return " ".join(filter(None, (place.split, name, place.detail)))
