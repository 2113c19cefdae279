"""A run knows its data: changed data are refused, moved data and more epochs go on exactly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsct.data import AnnotatedDataset, Annotations
from dsct.data.synthetic import SyntheticDataset
from dsct.train.loading.inspection import say_what_is_in_both
from dsct.train.run_config import describe_data, read_run, require_same_data, write_run
from tests.train.training_run import (
    RECIPE,
    Interrupting,
    assert_same_run,
    final_state,
    log_rows,
    scenes,
    trainer,
)

STEPS = dataclasses.replace(RECIPE, schedule="step", lr_drop=3)


def test_a_run_says_which_data_it_began_with(tmp_path: Path) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, epochs=1), description={"name": "mine"}).fit()
    about = read_run(tmp_path)["data"]
    assert about["name"] == "mine"
    assert about["class_names"][0] == "Anger"
    assert about["images"] == {"train": 7, "val": 3}
    assert about["fingerprints"] == {split: scenes(split, size).fingerprint for split, size in about["images"].items()}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train_data": scenes("train", 9)}, "train had 7 images, now 9"),
        ({"val_data": scenes("val", 4)}, "val had 3 images, now 4"),
        (
            {"train_data": SyntheticDataset("train", 7, image_size=(64, 48), seed=9)},
            "the annotations of train have changed, still 7 images",
        ),
        (
            {"train_data": SyntheticDataset("train", 7, image_size=(64, 48), multi_label=True)},
            "the run began with the classes Anger, .* the data now have Affection",
        ),
    ],
)
def test_other_data_are_refused(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, criterion=Interrupting(2)).fit()
    before = (tmp_path / "config.json").read_text()
    run = trainer(tmp_path, **changed)
    weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        run.fit(resume=True)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in run.model.state_dict().items())
    assert (tmp_path / "config.json").read_text() == before


def test_classes_in_another_order_are_named() -> None:
    records = [Annotations(Path("a.png"), np.array([[1, 1, 5, 5]]), np.array([0]), (64, 48))]
    began, now = (
        describe_data({}, *[AnnotatedDataset(records, split="train", class_names=names, multi_label=False)] * 2)
        for names in (("calm", "happy", "sad"), ("sad", "calm", "happy"))
    )
    with pytest.raises(ValueError, match="began with the classes calm, happy, sad; the data now have sad, calm, happy"):
        require_same_data(began, now)
    assert require_same_data(began, {**began, "folder": "elsewhere"}) is None


def test_a_run_of_before_goes_on_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, criterion=Interrupting(2)).fit()
    about = read_run(tmp_path)
    about["data"] = {"name": "synthetic"}
    for name in ("class_weights", "repeat_threshold", "on_error"):
        del about["train"][name]
    write_run(tmp_path, about)
    state = final_state(tmp_path)
    state["train_config"] = json.dumps(about["train"])
    for name in ("people", "best_recall"):
        del state["progress"][name]
    torch.save(state, tmp_path / "last.pt")
    assert trainer(tmp_path, visible=True).fit(resume=True).evaluation is not None
    assert "does not say which data it began with" in capsys.readouterr().out
    assert read_run(tmp_path)["data"]["images"] == {"train": 7, "val": 3}


@pytest.mark.parametrize("stop", [None, 8], ids=["finished", "stopped"])
def test_a_longer_run_is_what_it_would_have_been(stop: int | None, tmp_path: Path) -> None:
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    trainer(whole, dataclasses.replace(STEPS, epochs=4)).fit()
    if stop is None:
        trainer(longer, STEPS).fit()
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer(longer, STEPS, criterion=Interrupting(stop)).fit()
    trainer(longer, dataclasses.replace(STEPS, epochs=4)).fit(resume=True)
    assert_same_run(whole, longer)
    assert read_run(longer)["train"]["epochs"] == 4, "so that it can be resumed without saying it again"


def test_epochs_that_the_schedule_depends_on_or_that_are_done_stay(tmp_path: Path) -> None:
    trainer(tmp_path / "cosine").fit()
    with pytest.raises(ValueError, match="epochs was 2, is 4: all steps of the cosine schedule depend on it"):
        trainer(tmp_path / "cosine", dataclasses.replace(RECIPE, epochs=4)).fit(resume=True)
    trainer(tmp_path / "step", STEPS).fit()
    with pytest.raises(ValueError, match="epochs must be at least 2, which the run has reached, got 1"):
        trainer(tmp_path / "step", dataclasses.replace(STEPS, epochs=1)).fit(resume=True)
    with pytest.raises(ValueError, match="lr_drop was 3, is 5"):
        trainer(tmp_path / "step", dataclasses.replace(STEPS, epochs=6, lr_drop=5)).fit(resume=True)


def test_a_complete_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, STEPS).fit()
    assert trainer(tmp_path, STEPS, visible=True).fit(resume=True).evaluation is None
    output = capsys.readouterr().out
    assert "the run is complete: 2 of 2 epochs are done; more epochs go on (--set epochs=N)" in output
    assert "0/?" not in output
    early = dataclasses.replace(STEPS, epochs=9, early_stop=1, lr=1e-12)
    trainer(tmp_path / "early", early).fit()
    trainer(tmp_path / "early", early, visible=True).fit(resume=True)
    assert "the run has stopped early, after " in capsys.readouterr().out
    done = len(log_rows(tmp_path / "early"))
    trainer(tmp_path / "early", dataclasses.replace(early, epochs=done + 1, early_stop=0)).fit(resume=True)
    assert len(log_rows(tmp_path / "early")) == done + 1


def test_an_epoch_without_people_is_an_error(tmp_path: Path) -> None:
    class Nobody(SyntheticDataset):
        def __getitem__(self, index: int) -> Any:
            image, target = super().__getitem__(index)
            return image, {**target, "boxes": target["boxes"] * self.scale}

        scale = 1e-3  # boxes far below a pixel

    run = trainer(tmp_path, train_data=Nobody("train", 4, image_size=(64, 48), transforms=scenes("val", 1).transforms))
    with pytest.raises(ValueError, match="nobody was trained on in epoch 1: none of 4 images showed a person"):
        run.fit()
    assert not (tmp_path / "last.pt").exists()


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([[0.1, 0.2, 0.4, 0.9]], r"all boxes are smaller than a pixel \(1 of 1\): x1, y1, x2, y2 must be pixels"),
        ([], "show nobody"),
    ],
)
def test_annotations_without_people_are_refused_at_once(box: list[Any], said: str, tmp_path: Path) -> None:
    boxes = np.array(box, dtype=np.float32).reshape(-1, 4)
    record = Annotations(Path("a.png"), boxes, np.zeros(len(box), np.int64), (64, 48))
    data = AnnotatedDataset([record], split="train", class_names=[str(n) for n in range(7)], multi_label=False)
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, train_data=data)


def test_images_that_are_trained_and_validated_on_are_named(tmp_path: Path) -> None:
    def data(split: str, *names: str) -> AnnotatedDataset:
        records = [Annotations(Path(name), np.array([[1, 2, 30, 40]]), np.array([0]), (64, 48)) for name in names]
        return AnnotatedDataset(records, split=split, class_names=("calm",), multi_label=False, image_root=tmp_path)

    said: list[str] = []
    say_what_is_in_both(data("train", "a.png", "b.png"), data("val", "c.png"), said.append)
    assert said == []
    say_what_is_in_both(data("train", "a.png", "b.png"), data("val", "b.png", "c.png"), said.append)
    assert said == [f"warning: 1 of 2 validation images are training images, too, such as {tmp_path / 'b.png'}"]
