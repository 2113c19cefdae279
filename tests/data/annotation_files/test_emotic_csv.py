"""EMOTIC's CSV conversion: whims of its cells, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsct.data import EmoticDataset
from tests.data.dataset_files import EMOTIC_COLUMNS, write_rows


class TestCsv:
    def test_rows_of_an_image_need_not_follow_each_other(self, tmp_path: Path) -> None:
        one, two = ([name, size] for name, size in (("a.png", "[640, 480]"), ("b.png", "[640, 480]")))
        rows = [[0, "mscoco/images", *one, f"[{x}, 1, 9, 9]", "['Fear']", "[nan]", "", ""] for x in (1, 2)]
        rows.insert(1, [0, "mscoco/images", *two, "[3, 1, 9, 9]", "['Pain']", "", "", ""])
        data = EmoticDataset.from_csv(write_rows(tmp_path / "val.csv", EMOTIC_COLUMNS, rows))
        assert [data.annotations(index).boxes[:, 0].tolist() for index in (0, 1)] == [[1, 2], [3]]

    @pytest.mark.parametrize(
        ("column", "cell", "message"),
        [
            ("BBox", "[1, 2, 3]", "BBox must be a list of 4 numbers"),
            ("BBox", "[1 2 3 4]", "BBox must be a Python list"),
            ("BBox", "__import__('os').getcwd()", "BBox must be a Python list"),
            ("Image Size", "[0, 4]", "the image size must be positive, got 0 and 4"),
            ("Image Size", "[1e999, 4]", "the image size must be positive, got inf and 4"),
            ("Categorical_Labels", "['Fear', 'Joy']", "'Joy' is none of the 26 EMOTIC classes: Affection, Anger"),
            ("Categorical_Labels", "'Fear'", "Categorical_Labels must be a Python list"),
            ("Categorical_Labels", "[[]]", r"\[\] is none of the 26"),
            ("Filename", "", "Filename must not be empty"),
        ],
    )
    def test_malformed_cells_name_file_and_line(self, column: str, cell: str, message: str, tmp_path: Path) -> None:
        row = [0, "mscoco/images", "a.png", "[640, 480]", "[1, 1, 9, 9]", "['Fear']", "[5, 5, 5]", "Male", "Adult"]
        bad = [cell if name == column else value for name, value in zip(EMOTIC_COLUMNS, row, strict=True)]
        path = write_rows(tmp_path / "train.csv", EMOTIC_COLUMNS, [bad, bad])
        with pytest.raises(ValueError, match=rf"train.csv: no row can be used, the first: line 2: {message}"):
            EmoticDataset.from_csv(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: the columns .* are needed, Folder, .* is missing"),
            ("Index,Folder,Filename\n", "line 1: .* Image Size, BBox, Categorical_Labels is missing"),
            (",".join(EMOTIC_COLUMNS) + "\n0,mscoco/images,a.png\n", "line 2: a row must have 9 cells .* got 3"),
            (",".join(EMOTIC_COLUMNS) + '\n0,mscoco/images,"a.png\n', "line 2: unexpected end of data"),
            (",".join(EMOTIC_COLUMNS) + "\n\n", "the file must hold images .*, got a header and no rows"),
        ],
    )
    def test_malformed_file(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(str(path)) + ".*" + message):
            EmoticDataset.from_csv(path)
