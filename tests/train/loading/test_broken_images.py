"""Images that cannot be read stop a run in one sentence, or are skipped, counted and named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dsct.data import evaluation_transform, flip_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.train.loading.broken_images import describe_broken
from dsct.train.loading.sampling import EpochBatches, ShardedBatches
from dsct.train.processes.distributed import Processes
from tests.train.training_run import RECIPE, Interrupting, assert_same_run, log_lines, log_rows, trainer

SKIP = dataclasses.replace(RECIPE, on_error="skip")


class Damaged(SyntheticDataset):
    """Scenes of which some cannot be read."""

    broken: tuple[int, ...] = ()

    def __getitem__(self, index: int) -> Any:
        if index in self.broken:
            raise OSError(f"scene{index}.png: the image cannot be read: truncated")
        return super().__getitem__(index)


def damaged(split: str, size: int, *broken: int) -> Damaged:
    transforms = flip_transform() if split == "train" else evaluation_transform(short_side=None)
    data = Damaged(split, size, image_size=(64, 48), transforms=transforms)
    data.broken = broken
    return data


def data(train: tuple[int, ...] = (2, 5), val: tuple[int, ...] = (1,)) -> dict[str, Any]:
    return {"train_data": damaged("train", 7, *train), "val_data": damaged("val", 3, *val)}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("train", "val", "named"), [((2,), (), "scene2"), ((), (1,), "scene1")])
def test_a_broken_image_stops_in_one_sentence(
    workers: int, train: tuple[int, ...], val: tuple[int, ...], named: str, tmp_path: Path
) -> None:
    config = dataclasses.replace(RECIPE, workers=workers)
    with pytest.raises(OSError, match="read") as caught:
        trainer(tmp_path, config, **data(train, val)).fit()
    assert str(caught.value) == f"{named}.png: the image cannot be read: truncated"


def test_skipped_images_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, SKIP, **data(), visible=True).fit()
    output = capsys.readouterr().out
    assert "train: 2 of 7 images cannot be read and are skipped: scene2.png: " in output
    assert "val: 1 of 3 images cannot be read and is skipped: scene1.png: " in output
    assert output.count("3 images skipped") == 2
    assert [row["skipped_images"] for row in log_rows(tmp_path)] == ["3", "3"]
    skipped = [line for line in log_lines(tmp_path) if line["kind"] == "skipped"]
    assert [(line["split"], line["index"]) for line in skipped] == [("train", 2), ("train", 5), ("val", 1)]
    assert "scene5.png" in skipped[1]["problem"]


def test_a_run_that_skips_goes_on_exactly_with_any_workers(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trainer(whole, SKIP, **data()).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(stopped, SKIP, criterion=Interrupting(3), **data()).fit()
    trainer(stopped, dataclasses.replace(SKIP, workers=1), **data()).fit(resume=True)
    assert_same_run(whole, stopped)


def test_without_broken_images_skipping_changes_nothing(tmp_path: Path) -> None:
    for name in ("stop", "skip"):
        trainer(tmp_path / name, dataclasses.replace(RECIPE, epochs=1, on_error=name), **data((), ())).fit()
    assert_same_run(tmp_path / "stop", tmp_path / "skip")


def test_a_run_that_stopped_at_an_image_can_go_on_without_it(tmp_path: Path) -> None:
    config = dataclasses.replace(RECIPE, save_every=1)
    # The last image of the first epoch's order.
    last = list(EpochBatches(7, 2, config.seed))[-1][-1][0]
    with pytest.raises(OSError, match=f"scene{last}"):
        trainer(tmp_path, config, **data((last,), ())).fit()
    result = trainer(tmp_path, dataclasses.replace(config, on_error="skip"), **data((last,), ())).fit(resume=True)
    assert result.evaluation is not None
    assert [row["step"] for row in log_rows(tmp_path)] == ["4", "8"]


@pytest.mark.parametrize(("train", "val"), [(tuple(range(7)), ()), ((), (0, 1, 2))])
def test_nothing_readable_is_an_error(train: tuple[int, ...], val: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of \d images can be read; the first: scene0\.png"):
        trainer(tmp_path, SKIP, **data(train, val)).fit()


def test_places_of_other_images_stay() -> None:
    everything, without = EpochBatches(7, 2, 3), EpochBatches(7, 2, 3, left_out=(2, 5))
    assert list(without) == [[image for image in batch if image[0] not in (2, 5)] for batch in everything]
    # A batch of which nothing is left gives every process a stand-in that does not count.
    alone = EpochBatches(3, 1, 0, left_out=(0,))
    for rank in range(2):
        parts = ShardedBatches(alone, Processes(rank=rank, world_size=2))
        assert all(part and part[0][0] != 0 for part in parts)
        assert [parts.most_rows(batch) for batch in range(3)] == [1, 1, 1]
    assert sum(ShardedBatches(alone, Processes()).rows(batch) for batch in range(3)) == 2


def test_only_the_first_images_are_named() -> None:
    said = describe_broken({index: f"{index}.png" for index in range(5)}, 9, "val")
    assert said == "val: 5 of 9 images cannot be read and are skipped: 0.png; 1.png; 2.png; …"
