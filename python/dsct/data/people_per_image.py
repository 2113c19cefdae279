"""How many people the images of a data set show, beside how many a model can find."""

from __future__ import annotations

from typing import Any


def beyond_queries(data: Any, queries: int) -> str | None:
    """Says how many people a model with too few subject queries can neither find nor be trained to find.

    Args:
        data: a data set with ``annotations(i)``; no image is opened.
        queries: N, the ``num_subject_queries`` of the model.

    Returns:
        One sentence, or ``None`` if every image has at most `queries` people.

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> beyond_queries(SyntheticDataset("train", 10), 2)
        '1 of 18 people are beyond num_subject_queries=2; the largest image has 3'
    """
    counts = [len(data.annotations(index)) for index in range(len(data))]
    beyond = sum(max(count - queries, 0) for count in counts)
    if not beyond:
        return None
    return (
        f"{beyond} of {sum(counts)} people are beyond num_subject_queries={queries}; the largest image has "
        f"{max(counts)}"
    )
