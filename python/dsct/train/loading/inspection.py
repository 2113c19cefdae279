"""What is said and found out about the data before the first step."""

from __future__ import annotations

from collections.abc import Callable

from dsct.data.annotated import AnnotatedDataset
from dsct.data.crowding import people_beyond
from dsct.data.records import Dataset
from dsct.train.config import TrainConfig
from dsct.train.interrupt import StopTogether
from dsct.train.loading.broken_images import broken_images, describe_broken
from dsct.train.processes.distributed import Processes


def say_who_is_beyond(data: Dataset, queries: int, say: Callable[[str], None]) -> None:
    """Says how many people of annotated images are more than the model can find."""
    crowding = people_beyond(data, queries) if isinstance(data, AnnotatedDataset) else None
    if crowding is not None and crowding.beyond:
        say(f"note: {crowding}; --set num_subject_queries=N changes that")


def say_what_is_in_both(train: Dataset, val: Dataset, say: Callable[[str], None]) -> None:
    """Says how many images of the validation data are trained on, so that the best epoch is chosen by them."""
    if not isinstance(train, AnnotatedDataset) or not isinstance(val, AnnotatedDataset):
        return
    trained = {train.annotations(index).image_path for index in range(len(train))} - {None}
    both = [path for path in (val.annotations(index).image_path for index in range(len(val))) if path in trained]
    if both:
        say(f"warning: {len(both)} of {len(val)} validation images are training images, too, such as {both[0]}")


def images_to_skip(
    splits: dict[str, Dataset],
    config: TrainConfig,
    processes: Processes,
    stopping: StopTogether,
    say: Callable[[str], None],
) -> dict[str, dict[int, str]]:
    """What is wrong with the images that cannot be read, by split and index, if the recipe says to skip them.

    Raises:
        ValueError: no image of a split can be read.
        Stopped: a process was asked to stop; raised in all of them.
    """
    if config.on_error == "stop":
        return {split: {} for split in splits}
    found = {}
    for split, data in splits.items():
        say(f"{split}: opening {len(data)} images once, to skip those that cannot be read")
        found[split] = broken_images(data, config.workers, processes, stopping)
        if found[split]:
            say(describe_broken(found[split], len(data), split))
    return found
