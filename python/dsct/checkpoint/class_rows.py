"""Which rows of a class head mean the same in two models: those of classes with the same name."""

from __future__ import annotations

from dataclasses import dataclass

from dsct.config import DSCTConfig

PERSON = "person"


@dataclass(frozen=True)
class ClassRows:
    """Rows of one class head that become rows of another.

    Attributes:
        pairs: (row in the file, row in the model) of every class that both name.
        rows_in_file: how many rows the file's head has.
        description: a text that names these classes and the rows of the model that stay as they were.
    """

    pairs: tuple[tuple[int, int], ...]
    rows_in_file: int
    description: str

    @classmethod
    def between(cls, file: DSCTConfig | None, model: DSCTConfig) -> ClassRows | None:
        """The rows to copy.

        Args:
            file: the configuration in the file, None if there is none.
            model: the configuration of the model.

        Returns:
            None if rows already mean the same, or names are unknown: the file has no configuration, or one side numbers
            its classes.

        Example:
            >>> file = DSCTConfig.tiny(num_classes=3, class_names=("calm", "sad", "happy"))
            >>> ClassRows.between(file, DSCTConfig.tiny(num_classes=2, class_names=("happy", "tired"))).pairs
            ((2, 0),)
        """
        if file is None or _numbered(file) or _numbered(model):
            return None
        theirs, ours = _logit_names(file), _logit_names(model)
        if theirs == ours:
            return None
        rows = {name: row for row, name in enumerate(theirs)}
        pairs = tuple((rows[name], row) for row, name in enumerate(ours) if name in rows)
        copied = ", ".join(name for name in ours if name in rows)
        left = ", ".join(name for name in ours if name not in rows)
        return cls(pairs, len(theirs), f"copied {copied}" + (f"; left as they were {left}" if left else ""))


def _numbered(config: DSCTConfig) -> bool:
    return config.names == tuple(f"class {index}" for index in range(config.num_classes))


def _logit_names(config: DSCTConfig) -> tuple[str, ...]:
    return (*config.names, *[PERSON] * config.person_class)
