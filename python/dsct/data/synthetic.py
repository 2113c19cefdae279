"""Synthetic scenes: 1 to 6 cartoon people whose emotion depends on face, near object and far scene.

Datasheet
---------
Purpose: learning, testing and demonstrating the whole pipeline without a download, and measuring how a model uses
context, because the label rule is known. Not for training a model that is meant for photographs of people.

Content: cartoon people, each with one of 3 faces and one of 4 near objects (gift, teddy, rubbish, spider) beside
them, in front of one of 4 far scenes (meadow, beach, storm, night) that everybody in the image shares. A subject's box
contains head and shoulders. It shows the face in front of a plain card and nothing of the context: the near object lies
outside every box and closest to its own person, and the card hides the far scene. Cues vary in place, size and colour.

Labels: one of the 7 CAER-S classes, equally frequent, or some of the 26 EMOTIC classes. They follow from the three cues
alone; the rule, and how far one can get with some of the cues, are in :mod:`dsct.data.scenes.rule`.

Generation: every scene comes from (seed, split, index) alone, so splits never share a scene and a longer data set
starts with the shorter one. ``difficulty`` from 0 to 1 shrinks the near objects, fades the cues and adds clutter.

Limits: three faces, no motion, no occlusion of faces, no photographs; skin, hair and clothes are random and carry no
information. No real person is shown. The package draws everything itself; its licence applies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data.records import Annotations, Target
from dsct.data.scenes.cache import Shape, cached_image, open_cache
from dsct.data.scenes.drawing import Scene, draw_scene
from dsct.data.scenes.figures import Person
from dsct.data.scenes.rule import (
    FACES,
    FAR_ONLY_CLASSES,
    FAR_ONLY_LABELS,
    FAR_SCENES,
    NEAR_OBJECTS,
    NEAR_ONLY_CLASSES,
    NEAR_ONLY_LABELS,
    best_guess,
    emotion,
    emotion_labels,
    probability,
)

__all__ = [
    "FAR_ONLY_CLASSES",
    "FAR_ONLY_LABELS",
    "NEAR_ONLY_CLASSES",
    "NEAR_ONLY_LABELS",
    "SPLITS",
    "VERSION",
    "SyntheticDataset",
    "best_guess",
    "emotion",
    "emotion_labels",
]

SPLITS = ("train", "val", "test")

#: Part of the name of cached files: raise it whenever the same parameters give other images.
VERSION = 1

_PEOPLE_PROBABILITY = (0.30, 0.25, 0.18, 0.12, 0.08, 0.07)
_ROWS = {1: ((1,),), 2: ((2,),), 3: ((1, 2), (2, 1)), 4: ((2, 2),), 5: ((2, 3), (3, 2)), 6: ((3, 3),)}
_FACE_AND_NEAR = tuple((face, near) for face in FACES for near in NEAR_OBJECTS)
_FACE_AND_NEAR_PROBABILITY = {
    far: np.array([float(probability(face, near, far) * len(FAR_SCENES)) for face, near in _FACE_AND_NEAR])
    for far in FAR_SCENES
}


class SyntheticDataset(torch.utils.data.Dataset[tuple[Any, Target]]):
    """Seeded synthetic scenes, generated on access or read from a cache.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        size: number of scenes.
        multi_label: the 26 EMOTIC classes instead of the 7 CAER-S classes.
        image_size: (width, height) in pixels.
        difficulty: 0 (clear, no clutter) to 1 (small and pale cues, much clutter).
        seed: for the whole data set.
        transforms: called with image and target; its result is what ``ds[i]`` returns.
        cache_dir: folder that keeps all images as one file (``size`` × 3 bytes per pixel), generated on first use. A
            file that is damaged is generated anew, with a warning.

    Raises:
        ValueError: an argument is out of range.
        OSError: `cache_dir` cannot be read or written.

    Example:
        >>> scenes = SyntheticDataset(size=2, image_size=(64, 48))
        >>> image, target = scenes[0]
        >>> image.shape, sorted(target)
        (torch.Size([3, 48, 64]), ['boxes', 'image_id', 'labels', 'orig_size'])
    """

    def __init__(
        self,
        split: str = "train",
        size: int = 1000,
        multi_label: bool = False,
        image_size: tuple[int, int] = (320, 240),
        difficulty: float = 0.3,
        seed: int = 0,
        transforms: Callable[[Any, Target], tuple[Any, Target]] | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        _check_arguments(split, size, image_size, difficulty, seed)
        self.split = split
        self.size = size
        self.multi_label = multi_label
        self.class_names = EMOTIC_CLASSES if multi_label else CAER_S_CLASSES
        self.image_size = image_size
        self.difficulty = difficulty
        self.seed = seed
        self.transforms = transforms
        self.cache_file = None if cache_dir is None else self._fill_cache(Path(cache_dir))

    def __len__(self) -> int:
        """Number of scenes."""
        return self.size

    @property
    def fingerprint(self) -> str:
        """Equal for the same scenes, whatever is cached."""
        parameters = [VERSION, self.split, self.size, self.multi_label, *self.image_size, self.difficulty, self.seed]
        return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()

    def scene(self, index: int) -> Scene:
        """What a scene shows: the far scene, and every person's face, near object and place.

        Args:
            index: 0 to ``len(self) - 1``.

        Raises:
            IndexError: there is no such scene.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"SyntheticDataset: index must be in 0..{self.size - 1}, got {index}")
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), index))
        far = FAR_SCENES[rng.integers(len(FAR_SCENES))]
        count = 1 + int(rng.choice(len(_PEOPLE_PROBABILITY), p=_PEOPLE_PROBABILITY))
        persons = []
        side = int(rng.choice((-1, 1)))
        for cell in _cells(rng, count, self.image_size[0] / self.image_size[1]):
            face, near = _FACE_AND_NEAR[rng.choice(len(_FACE_AND_NEAR), p=_FACE_AND_NEAR_PROBABILITY[far])]
            persons.append(_place_person(rng, cell, side, face, near, self.difficulty))
        return Scene(far, tuple(persons), self.difficulty, int(rng.integers(2**32)))

    def annotations(self, index: int) -> Annotations:
        """Boxes and labels of one scene, without rendering it.

        Args:
            index: 0 to ``len(self) - 1``.

        Returns:
            A record with boxes (n, 4) float32 in pixels and labels (n,), or (n, 26) if ``multi_label``, int64.

        Raises:
            IndexError: there is no such scene.
        """
        scene = self.scene(index)
        boxes = np.array([person.box for person in scene.persons]) * self.image_size[1]
        if self.multi_label:
            felt = [emotion_labels(person.face, person.near, scene.far) for person in scene.persons]
            labels = np.array([[name in names for name in EMOTIC_CLASSES] for names in felt], dtype=np.int64)
        else:
            labels = np.array([CAER_S_CLASSES.index(emotion(p.face, p.near, scene.far)) for p in scene.persons])
        return Annotations(None, boxes.astype(np.float32), labels, self.image_size)

    def __getitem__(self, index: int) -> tuple[Any, Target]:
        """Image and target of one scene.

        Args:
            index: 0 to ``len(self) - 1``.

        Returns:
            A uint8 ``tv_tensors.Image`` (3, H, W) and the target of ``Annotations.to_target``; or, with ``transforms``,
            their result.

        Raises:
            IndexError: there is no such scene.
        """
        target = self.annotations(index).to_target(index)
        pixels = self._draw(index) if self.cache_file is None else cached_image(self.cache_file, self._shape, index)
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def _draw(self, index: int) -> NDArray[np.uint8]:
        return np.array(draw_scene(self.scene(index), self.image_size))

    @property
    def _shape(self) -> Shape:
        width, height = self.image_size
        return self.size, height, width, 3

    def _fill_cache(self, folder: Path) -> Path:
        width, height = self.image_size
        name = f"scenes-v{VERSION}-{self.split}-{self.size}-{width}x{height}-{self.difficulty}-{self.seed}.npy"
        open_cache(folder / name, self._shape, (self._draw(index) for index in range(self.size)))
        return folder / name


def _check_arguments(split: str, size: int, image_size: tuple[int, int], difficulty: float, seed: int) -> None:
    if split not in SPLITS:
        raise ValueError(f"SyntheticDataset: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if size < 1:
        raise ValueError(f"SyntheticDataset: size must be at least 1, got {size}")
    if min(image_size) < 32 or not 1 <= image_size[0] / image_size[1] <= 3:
        raise ValueError(
            "SyntheticDataset: image_size must be (width, height), at least 32 pixels and 1 to 3 times as wide as "
            f"high, got {image_size}"
        )
    if not 0 <= difficulty <= 1:
        raise ValueError(f"SyntheticDataset: difficulty must be between 0 and 1, got {difficulty}")
    if seed < 0:
        raise ValueError(f"SyntheticDataset: seed must not be negative, got {seed}")


def _cells(rng: np.random.Generator, count: int, aspect: float) -> list[tuple[float, float, float, float]]:
    """Divides the image into one cell (x0, y0, x1, y1) per person, in image heights, back row first."""
    options = _ROWS[count]
    rows = options[rng.integers(len(options))]
    top = 0.2 if len(rows) == 1 else 0.02
    height = (1 - top) / len(rows)
    return [
        (aspect * column / columns, top + height * row, aspect * (column + 1) / columns, top + height * (row + 1))
        for row, columns in enumerate(rows)
        for column in range(columns)
    ]


def _place_person(
    rng: np.random.Generator,
    cell: tuple[float, float, float, float],
    side: int,
    face: str,
    near: str,
    difficulty: float,
) -> Person:
    """Puts a person and, to the left (-1) or right (1), their near object into a cell.

    The gap between the two is at most 0.3 head radii and the margin of the cell at least 0.35, so that the object is
    closest to its own person.
    """
    x0, y0, x1, y1 = cell
    r = min((x1 - x0) / 5.2, (y1 - y0) / 3.5, 0.17) * rng.uniform(0.8, 1)
    near_r = r * rng.uniform(0.7, 0.9) * (1 - 0.4 * difficulty)
    margin, gap = 0.35 * r, rng.uniform(0.15, 0.3) * r
    left = rng.uniform(x0 + margin, x1 - margin - 2.4 * r - gap - 2 * near_r)
    x = left + 1.2 * r + (gap + 2 * near_r if side < 0 else 0)
    y = rng.uniform(y0 + margin + 1.2 * r, y1 - margin - 1.5 * r)
    near_x = x + side * (1.2 * r + gap + near_r)
    near_y = rng.uniform(y - 1.2 * r + near_r, min(y + 2.2 * r, y1 - margin) - near_r)
    return Person(face, near, (x, y), r, (near_x, near_y), near_r, int(rng.integers(2**32)))
