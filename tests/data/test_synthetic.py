"""The synthetic scenes: what the label rule promises, and that the drawings keep it."""

from __future__ import annotations

import dataclasses
import pickle
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data.image_io import load_image
from dsct.data.scenes import rule
from dsct.data.scenes.drawing import draw_scene
from dsct.data.scenes.figures import Box
from dsct.data.synthetic import SPLITS, SyntheticDataset, _cells


def gap(a: Box, b: Box) -> float:
    """Distance of two boxes, 0 where they touch or overlap."""
    dx = max(a[0] - b[2], b[0] - a[2], 0.0)
    dy = max(a[1] - b[3], b[1] - a[3], 0.0)
    return float(np.hypot(dx, dy))


def scenes(number: int, difficulty: float, image_size: tuple[int, int] = (320, 240)):
    data = SyntheticDataset(size=number, difficulty=difficulty, image_size=image_size)
    return [data.scene(index) for index in range(number)]


class TestRule:
    def test_emotions_are_equally_frequent(self):
        frequency: Counter[str] = Counter()
        for cues in rule.CUES:
            frequency[rule.emotion(*cues)] += rule.probability(*cues)
        assert frequency == dict.fromkeys(CAER_S_CLASSES, Fraction(1, 7))

    @pytest.mark.parametrize("multi_label", [False, True])
    def test_no_part_of_the_cues_is_enough(self, multi_label):
        assert rule.best_guess([], multi_label) <= Fraction(1, 7)
        assert rule.best_guess(["face"], multi_label) <= Fraction(55, 100)
        assert rule.best_guess(["face", "near"], multi_label) <= Fraction(75, 100)
        assert rule.best_guess(["face", "far"], multi_label) <= Fraction(75, 100)
        assert rule.best_guess(["near", "far"], multi_label) <= Fraction(55, 100)
        assert rule.best_guess(["face", "near", "far"], multi_label) == 1

    def test_near_only_and_far_only_classes(self):
        for face, near, far in rule.CUES:
            felt = rule.emotion(face, near, far)
            if felt in rule.NEAR_ONLY_CLASSES:
                assert {rule.emotion(face, near, other) for other in rule.FAR_SCENES} == {felt}
                assert {rule.emotion(face, other, far) for other in rule.NEAR_OBJECTS} == set(rule.NEAR_ONLY_CLASSES)
            if felt in rule.FAR_ONLY_CLASSES:
                assert {rule.emotion(face, other, far) for other in rule.NEAR_OBJECTS} == {felt}
                assert {rule.emotion(face, near, other) for other in rule.FAR_SCENES} == set(rule.FAR_ONLY_CLASSES)

    def test_near_only_and_far_only_labels(self):
        assert {"Anger", "Aversion", "Affection"} <= set(rule.NEAR_ONLY_LABELS)
        assert {"Fear", "Surprise", "Peace"} <= set(rule.FAR_ONLY_LABELS)
        assert not set(rule.NEAR_ONLY_LABELS) & set(rule.FAR_ONLY_LABELS)
        for face, near in product(rule.FACES, rule.NEAR_OBJECTS):
            felt = [set(rule.emotion_labels(face, near, far)) & set(rule.NEAR_ONLY_LABELS) for far in rule.FAR_SCENES]
            assert all(labels == felt[0] for labels in felt)
        for face, far in product(rule.FACES, rule.FAR_SCENES):
            felt = [set(rule.emotion_labels(face, near, far)) & set(rule.FAR_ONLY_LABELS) for near in rule.NEAR_OBJECTS]
            assert all(labels == felt[0] for labels in felt)

    def test_every_emotic_class_occurs_and_none_always(self):
        frequency: Counter[str] = Counter()
        for cues in rule.CUES:
            for name in rule.emotion_labels(*cues):
                frequency[name] += rule.probability(*cues)
        assert set(frequency) == set(EMOTIC_CLASSES)
        assert all(Fraction(1, 10) <= share <= Fraction(1, 2) for share in frequency.values())

    def test_unknown_cue(self):
        with pytest.raises(ValueError, match="near must be one of gift, teddy, rubbish, spider, got 'cat'"):
            rule.emotion("frown", "cat", "night")
        with pytest.raises(ValueError, match=r"known must contain .* got \['size'\]"):
            rule.best_guess(["face", "size"])


class TestScenes:
    def test_cues_are_drawn_as_often_as_the_rule_says(self):
        drawn = Counter((p.face, p.near, s.far) for s in scenes(4000, 0.3) for p in s.persons)
        total = drawn.total()
        for cues in rule.CUES:
            expected = float(rule.probability(*cues))
            # Cues of one scene share the far scene, so the spread is wider than that of independent draws.
            assert drawn[cues] / total == pytest.approx(expected, abs=6 * (expected / total) ** 0.5)

    def test_one_to_six_people(self):
        assert {len(scene.persons) for scene in scenes(300, 0.3)} == {1, 2, 3, 4, 5, 6}

    @pytest.mark.parametrize("image_size", [(320, 240), (128, 96), (200, 200), (300, 100)])
    @pytest.mark.parametrize("difficulty", [0.0, 1.0])
    def test_near_object_is_outside_all_boxes_and_closest_to_its_person(self, difficulty, image_size):
        aspect = image_size[0] / image_size[1]
        for scene in scenes(300, difficulty, image_size):
            for person in scene.persons:
                others = [other for other in scene.persons if other is not person]
                own = gap(person.near_box, person.box)
                assert own > 0
                assert all(gap(person.near_box, other.box) > own for other in others)
                assert all(gap(person.box, other.box) > 0 for other in others)
                assert all(gap(person.near_box, other.near_box) > 0 for other in others)
                for x0, y0, x1, y1 in (person.box, person.near_box):
                    assert x0 >= 0
                    assert y0 >= 0
                    assert x1 <= aspect
                    assert y1 <= 1

    def test_cues_vary_in_place_and_size(self):
        persons = [person for scene in scenes(200, 0.3) for person in scene.persons]
        offset = np.array([np.subtract(p.near_centre, p.centre) / p.radius for p in persons])
        assert (offset[:, 0] > 0).any()
        assert (offset[:, 0] < 0).any()
        assert np.ptp(offset[:, 1]) > 1
        radius = np.array([person.near_radius for person in persons])
        assert radius.max() > 2 * radius.min()

    def test_box_shows_nothing_of_the_context(self):
        """Other near objects and another far scene leave every pixel of the boxes as it was, and change the rest."""
        width, height = size = (320, 240)
        for scene in scenes(12, 0.5):
            here = np.array(draw_scene(scene, size))
            for far in set(rule.FAR_SCENES) - {scene.far}:
                near = rule.NEAR_OBJECTS[rule.FAR_SCENES.index(far)]
                persons = tuple(dataclasses.replace(person, near=near) for person in scene.persons)
                there = np.array(draw_scene(dataclasses.replace(scene, far=far, persons=persons), size))
                inside = np.zeros((height, width), dtype=bool)
                for person in scene.persons:
                    x0, y0, x1, y1 = (round(height * edge) for edge in person.box)
                    inside[y0:y1, x0:x1] = True
                assert (here[inside] == there[inside]).all()
                assert (here[~inside] != there[~inside]).any(axis=-1).mean() > 0.5

    @pytest.mark.parametrize(("cue", "choices"), [("face", rule.FACES), ("near", rule.NEAR_OBJECTS)])
    def test_every_cue_looks_different(self, cue, choices):
        scene = scenes(1, 0.0)[0]
        images = {
            draw_scene(
                dataclasses.replace(scene, persons=tuple(dataclasses.replace(p, **{cue: c}) for p in scene.persons)),
                (96, 72),
            ).tobytes()
            for c in choices
        }
        assert len(images) == len(choices)

    def test_difficulty_shrinks_near_objects_and_fades_the_far_scene(self):
        easy, hard = scenes(50, 0.0), scenes(50, 1.0)
        for one, other in zip(easy, hard, strict=True):
            assert all(q.near_radius < p.near_radius for p, q in zip(one.persons, other.persons, strict=True))
        spread = [np.mean([np.array(draw_scene(s, (64, 48))).std() for s in group]) for group in (easy, hard)]
        assert spread[1] < 0.8 * spread[0]


class TestDataset:
    def test_sample(self):
        data = SyntheticDataset(size=3, image_size=(64, 48))
        image, target = data[1]
        annotations = data.annotations(1)
        assert len(data) == 3
        assert annotations.image_path is None
        assert annotations.size == (64, 48)
        assert image.shape == (3, 48, 64)
        assert image.dtype == torch.uint8
        assert target["boxes"].format.name == "XYXY"
        assert target["boxes"].canvas_size == (48, 64)
        assert torch.equal(target["boxes"].data, torch.from_numpy(annotations.boxes))
        assert torch.equal(target["labels"], torch.from_numpy(annotations.labels))

    def test_labels_follow_the_rule(self):
        single, multi = SyntheticDataset(size=50), SyntheticDataset(size=50, multi_label=True)
        for index in range(50):
            scene = single.scene(index)
            assert multi.scene(index) == scene
            classes, rows = single.annotations(index).labels, multi.annotations(index).labels
            assert classes.shape == (len(scene.persons),)
            assert rows.shape == (len(scene.persons), 26)
            for person, number, row in zip(scene.persons, classes, rows, strict=True):
                cues = person.face, person.near, scene.far
                assert CAER_S_CLASSES[number] == rule.emotion(*cues)
                assert tuple(np.array(EMOTIC_CLASSES)[row == 1]) == rule.emotion_labels(*cues)

    def test_boxes_are_pixels_at_any_size(self):
        small, large = SyntheticDataset(size=10, image_size=(64, 48)), SyntheticDataset(size=10, image_size=(640, 480))
        for index in range(10):
            np.testing.assert_allclose(10 * small.annotations(index).boxes, large.annotations(index).boxes, rtol=1e-5)

    def test_splits_and_seeds_share_no_scene(self):
        datasets = [SyntheticDataset(split, size=300, seed=seed) for split in SPLITS for seed in (0, 1)]
        places = [person.centre for data in datasets for i in range(300) for person in data.scene(i).persons]
        assert len(set(places)) == len(places)

    def test_deterministic_and_a_longer_set_starts_with_the_shorter(self):
        short, long = SyntheticDataset(size=2, image_size=(64, 48)), SyntheticDataset(size=9, image_size=(64, 48))
        assert [short.scene(i) for i in range(2)] == [long.scene(i) for i in range(2)]
        assert torch.equal(short[1][0], long[1][0])

    def test_known_scene(self):
        """The same scene on every machine; raise ``VERSION`` when this has to change."""
        scene = SyntheticDataset("test", size=1).scene(0)
        assert (scene.far, [(p.face, p.near) for p in scene.persons]) == (
            "night",
            [("mild", "gift"), ("gasp", "rubbish")],
        )
        np.testing.assert_allclose(scene.persons[0].centre, (0.3425460269996941, 0.5300282004139323))

    def test_transforms_are_applied(self):
        data = SyntheticDataset(size=1, image_size=(64, 48), transforms=lambda image, target: (image.float(), target))
        assert data[0][0].dtype == torch.float32

    def test_images_are_taken_as_they_are_by_prediction(self):
        image, _ = SyntheticDataset(size=1, image_size=(64, 48))[0]
        np.testing.assert_array_equal(np.asarray(load_image(image)), image.permute(1, 2, 0).numpy())

    def test_cache_holds_the_same_images(self, tmp_path: Path):
        fresh = SyntheticDataset(size=4, image_size=(64, 48))
        cached = SyntheticDataset(size=4, image_size=(64, 48), cache_dir=tmp_path / "new")
        assert [p.name for p in (tmp_path / "new").iterdir()] == [cached.cache_file.name]
        for index in range(4):
            assert torch.equal(fresh[index][0], cached[index][0])
        assert torch.equal(pickle.loads(pickle.dumps(cached))[3][0], fresh[3][0])

    def test_cache_is_read_again_and_keyed_by_the_parameters(self, tmp_path: Path):
        common = {"size": 2, "image_size": (64, 48), "cache_dir": tmp_path}
        first = SyntheticDataset(**common)
        written = first.cache_file.stat().st_mtime_ns
        assert SyntheticDataset(multi_label=True, **common).cache_file.stat().st_mtime_ns == written
        others = [
            SyntheticDataset(**{**common, **change})
            for change in ({"size": 3}, {"split": "val"}, {"difficulty": 0.9}, {"seed": 1}, {"image_size": (64, 56)})
        ]
        assert len({first.cache_file, *(other.cache_file for other in others)}) == 6

    def test_interrupted_cache_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def interrupt(scene: object, image_size: tuple[int, int]) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("dsct.data.synthetic.draw_scene", interrupt)
        with pytest.raises(KeyboardInterrupt):
            SyntheticDataset(size=2, image_size=(64, 48), cache_dir=tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"split": "valid"}, "split must be one of train, val, test, got 'valid'"),
            ({"size": 0}, "size must be at least 1, got 0"),
            ({"image_size": (16, 16)}, r"image_size must be .* got \(16, 16\)"),
            ({"image_size": (100, 200)}, r"image_size must be .* got \(100, 200\)"),
            ({"difficulty": 1.5}, "difficulty must be between 0 and 1, got 1.5"),
            ({"seed": -1}, "seed must not be negative, got -1"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            SyntheticDataset(**arguments)

    @pytest.mark.parametrize("index", [-1, 2])
    def test_index_out_of_range(self, index):
        with pytest.raises(IndexError, match=rf"index must be in 0\.\.1, got {index}"):
            SyntheticDataset(size=2)[index]


def test_a_cache_on_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """By a limit on the size of files, in a process of its own; writing to a mapped file would end it by a signal."""
    program = (
        "import resource, sys; from dsct.data.synthetic import SyntheticDataset; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "SyntheticDataset('train', 8, image_size=(64, 48), cache_dir=sys.argv[1])"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.search(r"OSError: \[Errno 27\] cache_dir cannot hold the images: File too large: '.*npy'", run.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", range(1, 7))
def test_there_is_a_place_for_each_person(count: int) -> None:
    for seed in range(10):
        assert len(_cells(np.random.default_rng(seed), count, 4 / 3)) == count
