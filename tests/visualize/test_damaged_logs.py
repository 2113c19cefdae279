"""Curves of a log that was edited: one sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.visualize.loss_curves import loss_curves

HEAD = b"epoch,train_loss,val_loss,is_best\n"
DAMAGES = {
    "long field": HEAD + b"1,3.0," + b"x" * 200_000 + b",1\n",
    "digits": HEAD + b"9" * 5000 + b",3.0,3.5,1\n",
    "large": HEAD + b"9" * 400 + b",3.0,3.5,1\n",
    "UTF-16": (HEAD + b"1,3.0,3.5,1\n").decode().encode("utf-16"),
    "no text": HEAD + b"1,3.0,\xff,1\n",
    "no columns": b"a,b\n1,2,3\n",
    "zeros": HEAD + bytes(50) + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_log_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(DAMAGES[damage])
    with pytest.raises(ValueError, match=r"log\.csv") as caught:
        loss_curves({"mine": tmp_path})
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize("row", [b"1,3.0,3.5,1,good\n", b"1,3.0\n", b"1,inf,1e30,1\n", b"1,1e999,nan,1\n"])
def test_other_columns_and_numbers_are_drawn(row: bytes, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbf" + HEAD + row + b"2,1.0,2.0,0\n")
    figure = loss_curves({"mine": tmp_path})
    figure.savefig(tmp_path / "curves.png", format="png")
