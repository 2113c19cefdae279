"""EMOTIC's CSV with a column per class, beside images in ``.npy`` arrays or as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dsct.config import EMOTIC_CLASSES
from dsct.data import EmoticDataset, open_split
from dsct.data.checks.check import check
from dsct.data.image_io import load_image, upright_size
from tests.data.dataset_files import write_rows

COLUMNS = (
    *("Filename", "Width", "Height", "Age", "Gender", "Valence", "Arousal", "Dominance"),
    *("X_min", "Y_min", "X_max", "Y_max", *EMOTIC_CLASSES, "Arr_name", "Crop_name"),
)


def row(filename: str, box: Any, emotions: set[str], array: str = "a.npy", **other: Any) -> list[Any]:
    cells = {"Filename": filename, "Width": 640, "Height": 480, "Age": "Adult", "Gender": "Male"}
    cells |= {"Valence": 5.0, "Arousal": 6.0, "Dominance": 7.0, "Arr_name": array, "Crop_name": "crop.npy"}
    cells |= dict(zip(("X_min", "Y_min", "X_max", "Y_max"), box, strict=True))
    cells |= {name: float(name in emotions) for name in EMOTIC_CLASSES} | other
    return [cells[name] for name in COLUMNS]


TWO_PEOPLE = [
    row("1.jpg", (64, 48, 320, 240), {"Peace", "Yearning"}),
    row("1.jpg", (10, 20, 30, 40), {"Doubt/Confusion"}, Valence="", Arousal="", Dominance="nan", Age="", Gender=""),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "annots_arrs/annot_arrs_train.csv", COLUMNS, TWO_PEOPLE)
    return tmp_path


def save_array(folder: Path, width: int, height: int) -> None:
    (folder / "img_arrs").mkdir()
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 200
    np.save(folder / "img_arrs/a.npy", pixels)


def test_people_and_what_is_known_about_them(folder: Path) -> None:
    save_array(folder, 640, 480)
    data = open_split("emotic", folder, "train")
    found = data.annotations(0)
    assert found.boxes.tolist() == [[64, 48, 320, 240], [10, 20, 30, 40]]
    assert [[EMOTIC_CLASSES[n] for n in np.flatnonzero(one)] for one in found.labels] == [
        ["Peace", "Yearning"],
        ["Doubt/Confusion"],
    ]
    np.testing.assert_array_equal(found.continuous, [[5, 6, 7], [np.nan] * 3])
    assert found.attributes == {"gender": ("Male", ""), "age": ("Adult", "")}
    image, _ = data[0]
    assert (image.size, image.getpixel((0, 0)), data.mended) == ((640, 480), (200, 0, 0), {})


def test_boxes_follow_a_resized_array(folder: Path) -> None:
    save_array(folder, 224, 224)
    data = open_split("emotic", folder, "train")
    np.testing.assert_allclose(data.annotations(0).boxes[0], [22.4, 22.4, 112, 112], rtol=1e-6)
    assert data.mended == {"boxes scaled to a resized copy": 1}
    assert data[0][0].size == (224, 224)


@pytest.mark.parametrize("place", ["mscoco/images", "emodb_small/images", "ade20k/images", "framesdb/images", "."])
def test_original_files_where_there_are_no_arrays(place: str, folder: Path) -> None:
    (folder / place).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (640, 480)).save(folder / place / "1.jpg")
    data = open_split("emotic", folder, "train")
    assert (len(data.annotations(0)), data.mended) == (2, {"image under another name": 1})
    assert data.annotations(0).boxes[0].tolist() == [64, 48, 320, 240]


def test_sides_that_are_exchanged(tmp_path: Path) -> None:
    rows = [row("1.jpg", (300, 20, 640, 400), {"Fear"}, Width=480, Height=640)]
    data = EmoticDataset.from_csv(write_rows(tmp_path / "annot_arrs_val.csv", COLUMNS, rows))
    assert (data.annotations(0).size, data.mended) == ((640, 480), {"width and height swapped": 1})
    assert data.split == "val"


def test_images_of_one_name_and_size_are_one(tmp_path: Path) -> None:
    rows = [row("1.jpg", (1, 1, 9, 9), {"Fear"}, array) for array in ("a.npy", "b.npy")]
    rows.append(row("1.jpg", (1, 1, 9, 9), {"Fear"}, "c.npy", Width=100))
    data = EmoticDataset.from_csv(write_rows(tmp_path / "annot_arrs_val.csv", COLUMNS, rows))
    assert [len(data.annotations(index)) for index in range(len(data))] == [2, 1]


def test_one_name_in_two_folders_is_two_images(tmp_path: Path) -> None:
    columns = ("Folder", *COLUMNS)
    boxes = {"mscoco/images": (10, 20, 30, 40), "ade20k/images": (50, 60, 70, 80), "elsewhere": (5, 5, 9, 9)}
    rows = [[folder, *row("1.jpg", box, {"Fear"}, array="")] for folder, box in boxes.items()]
    path = write_rows(tmp_path / "annot_arrs_train.csv", columns, rows)
    data = EmoticDataset.from_csv(path)
    assert [str(data.annotations(index).image_path) for index in range(3)] == [f"{folder}/1.jpg" for folder in boxes]
    for folder in [*boxes][:2]:
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (640, 480)).save(tmp_path / folder / "1.jpg")
    data = EmoticDataset.from_csv(path, tmp_path)
    assert (len(data), data.skipped) == (2, {"missing image": 1})  # not the image of another folder
    assert {data.annotations(index).image_path: tuple(data.annotations(index).boxes[0]) for index in range(2)} == {
        tmp_path / folder / "1.jpg": boxes[folder] for folder in [*boxes][:2]
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_min": "left"}, "X_min must be a number, got 'left'"),
        ({"Fear": "2"}, "Fear must be 0 or 1, got '2'"),
        ({"Width": "0"}, "Width and Height must be positive, got 0 and 480"),
        ({"Height": "nan"}, "Width and Height must be positive, got 640 and nan"),
        ({"Filename": "", "Arr_name": ""}, "Filename or Arr_name must not be empty"),
        ({"Valence": "high"}, "Valence must be a number, got 'high'"),
    ],
)
def test_malformed_rows_name_file_and_line(change: dict[str, str], message: str, tmp_path: Path) -> None:
    rows = [row("1.jpg", (1, 1, 9, 9), {"Fear"}, **change)]
    with pytest.raises(ValueError, match=f"annot_arrs_val.csv: no row can be used, the first: line 2: {message}"):
        EmoticDataset.from_csv(write_rows(tmp_path / "annot_arrs_val.csv", COLUMNS, rows))


def test_missing_column_is_named(tmp_path: Path) -> None:
    columns = [name for name in COLUMNS if name != "Fear"]
    with pytest.raises(ValueError, match=r"line 1: .*Fear is missing"):
        EmoticDataset.from_csv(write_rows(tmp_path / "annot_arrs_val.csv", columns, []))


@pytest.mark.parametrize("decode", [True, False])
def test_checked(decode: bool, folder: Path) -> None:
    save_array(folder, 224, 224)
    result = check([open_split("emotic", folder, "train")], decode=decode)
    assert (result.summaries[0].opened, [one.kind for one in result.findings if one.severity == "error"]) == (1, [])


def test_a_box_that_fits_no_way_round_is_clipped(tmp_path: Path) -> None:
    write_rows(tmp_path / "annot_arrs_train.csv", COLUMNS, [row("1.jpg", (10, 20, 700, 600), {"Fear"})])
    save_array(tmp_path, 640, 480)
    data = open_split("emotic", tmp_path, "train")
    assert (data.annotations(0).boxes.tolist(), data.mended) == ([[10, 20, 640, 480]], {"box clipped": 1})


class TestArrayFiles:
    def test_read_as_an_image(self, tmp_path: Path) -> None:
        pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
        np.save(tmp_path / "a.npy", pixels)
        assert upright_size(tmp_path / "a.npy") == (6, 4)
        np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "a.npy")), pixels)

    def test_pickled_objects_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        for read in (load_image, upright_size):
            with pytest.raises(OSError, match=r"a.npy is no array that can be read"):
                read(tmp_path / "a.npy")

    def test_another_shape_is_named(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros(5, np.uint8))
        with pytest.raises(OSError, match=r"a.npy must hold an array \(H, W, 3\) or \(H, W\), got \(5,\)"):
            upright_size(tmp_path / "a.npy")
