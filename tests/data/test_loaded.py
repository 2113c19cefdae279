"""An error of a loading process is the data set's own, whoever loads."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils.data import DataLoader

from dsct.data.loaded import loaded


class Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        if index:
            raise self.error
        return index


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [OSError("a.jpg: the image cannot be read: truncated"), ValueError("two\nlines: 1")])
def test_the_message_does_not_depend_on_processes(workers: int, error: Exception) -> None:
    loader: Any = DataLoader(Broken(error), num_workers=workers)  # type: ignore[arg-type]
    with pytest.raises(type(error)) as caught:
        list(loaded(loader))
    assert str(caught.value) == str(error)


def test_other_errors_stay() -> None:
    def items() -> Any:
        yield 1
        raise KeyError("a")

    with pytest.raises(KeyError, match="a"):
        list(loaded(items()))
