"""A cache of scenes that is damaged is drawn anew, with one sentence that names it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dsct.data.synthetic import SyntheticDataset


def flipped_at(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 4
    return bytes(changed)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "it has 0 bytes, must have 18592"),
    "truncated": (lambda content: content[:-3000], "it has 15592 bytes, must have 18592"),
    "longer": (lambda content: content + b"\0", "it has 18593 bytes, must have 18592"),
    "without its digest": (lambda content: content[:-32], "it has 18560 bytes, must have 18592"),
    "zeros": (lambda content: bytes(len(content)), "it does not begin as an array of (2, 48, 64, 3) bytes does"),
    "another shape": (
        lambda content: content.replace(b"(2, 48, 64, 3)", b"(2, 64, 48, 3)"),
        "it does not begin as an array of (2, 48, 64, 3) bytes does",
    ),
    "a flipped bit in the first image": (lambda content: flipped_at(content, 200), "the digest stored with it"),
    "a flipped bit in the last image": (lambda content: flipped_at(content, -40), "the digest stored with it"),
    "a flipped bit in the digest": (lambda content: flipped_at(content, -1), "the digest stored with it"),
}


def scenes(folder: Path | None) -> SyntheticDataset:
    return SyntheticDataset(size=2, image_size=(64, 48), cache_dir=folder)


@pytest.mark.parametrize(("damage", "fault"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_cache_is_drawn_anew(tmp_path: Path, damage: Callable[[bytes], bytes], fault: str) -> None:
    path = scenes(tmp_path).cache_file
    assert path is not None
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    sentence = f"^{re.escape(str(path))} is damaged or of an earlier version and is drawn anew: .*{re.escape(fault)}$"
    with pytest.warns(UserWarning, match=sentence) as caught:
        cached = scenes(tmp_path)
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]
    assert path.read_bytes() == whole
    for index in range(2):
        assert torch.equal(cached[index][0], scenes(None)[index][0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes(tmp_path)


def test_a_cache_is_an_array_of_numpy(tmp_path: Path) -> None:
    cached = scenes(tmp_path)
    assert cached.cache_file is not None
    images = np.load(cached.cache_file, mmap_mode="r")
    np.testing.assert_array_equal(images[1], cached[1][0].permute(1, 2, 0).numpy())


def test_a_cache_that_becomes_shorter_while_it_is_read_is_named(tmp_path: Path) -> None:
    cached = scenes(tmp_path)
    assert cached.cache_file is not None
    os.truncate(cached.cache_file, 10_000)
    assert cached[0][0].shape == (3, 48, 64)
    sentence = f"{re.escape(str(cached.cache_file))} was changed while it was in use: it ends before image 1"
    with pytest.raises(ValueError, match=sentence):
        cached[1]


def test_a_folder_in_the_place_of_a_cache_is_named(tmp_path: Path) -> None:
    path = scenes(tmp_path).cache_file
    assert path is not None
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=f"a folder has their name: '{re.escape(str(path))}'"):
        scenes(tmp_path)
