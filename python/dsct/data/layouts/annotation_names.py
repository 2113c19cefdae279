"""The names that annotation files have, by data set, in the order in which they count."""

from __future__ import annotations

from dsct.data.annotation_files.splits import SPELLINGS, WORDS

FOLDERS = ("", "annotations", "Annotations")
"""Where they are looked for, below the data folder."""

EMOTIC = (
    "emotic_{split}_bi.json",
    "Annotations.mat",
    "CVPR17_Annotations.mat",
    "{split}.csv",
    "annots_{split}.csv",
    "annot_arrs_{split}.csv",
    "annots_arrs/annot_arrs_{split}.csv",
)
CAER_S = ("{split}.txt", "caer_{split}.json")
OWN = (
    "{word}.json",
    "instances_{word}.json",
    "instances_{word}2017.json",
    "instances_{word}2014.json",
    "annotations_{word}.json",
    "{word}_annotations.json",
    "{word}.csv",
    "annotations_{word}.csv",
    "{word}_annotations.csv",
)
"""Files of one split, for every word that people have for it."""

ANY_SPLIT = (
    "annotations.json",
    "_annotations.coco.json",
    "labels.json",
    "instances_default.json",
    "result.json",
    "annotations.csv",
    "_annotations.csv",
)
"""Names that tools give to the file of any split: alone it is training data, in a split's folder it is that one's."""

FOLDERS_OF_SPLIT = ("{word}", "{word}/annotations", "{word}/Annotations", "annotations/{word}")


def names_of(name: str, split: str) -> list[str]:
    """Where the annotation file of a split may be, relative to the data folder.

    Args:
        name: ``"emotic"``, ``"caer-s"`` or ``"coco"``.
        split: ``"train"``, ``"val"`` or ``"test"``; of CAER-S, ``"val"`` is in the training file.

    Example:
        >>> names_of("coco", "val")[:4]
        ['val.json', 'annotations/val.json', 'Annotations/val.json', 'val/val.json']
    """
    if name == "emotic":
        return [_in(folder, pattern.format(split=split)) for pattern in EMOTIC for folder in FOLDERS]
    if name == "caer-s":
        split = "train" if split == "val" else split
        return [_in(folder, pattern.format(split=split)) for pattern in CAER_S for folder in FOLDERS]
    words = SPELLINGS[split]
    found = [
        _in(folder.format(word=word), pattern.format(word=word))
        for pattern in OWN
        for word in words
        for folder in (*FOLDERS, *FOLDERS_OF_SPLIT)
    ]
    found += [
        _in(folder.format(word=word), pattern) for pattern in ANY_SPLIT for word in words for folder in FOLDERS_OF_SPLIT
    ]
    return found


def lone_names() -> list[str]:
    """Where a single file with all of your own data may be."""
    return [_in(folder, pattern) for pattern in ANY_SPLIT for folder in FOLDERS]


def looked_for(*names: str, split: str = "{split}") -> str:
    """The names of these data sets' annotation files, as a phrase for messages.

    Example:
        >>> looked_for("caer-s", split="val")
        "train.txt, caer_train.json in the folder and in its 'annotations'"
    """
    split = "train" if (names, split) == (("caer-s",), "val") else split
    patterns = {"emotic": EMOTIC, "caer-s": CAER_S, "coco": (*OWN, *ANY_SPLIT)}
    every = dict.fromkeys(pattern.format(split=split, word=split) for name in names for pattern in patterns[name])
    phrase = f"{', '.join(every)} in the folder and in its 'annotations'"
    if "coco" not in names:
        return phrase
    words = ", ".join("/".join(words) for words in WORDS.values())
    return f"{phrase}, and in folders named after a split; splits are called {words}"


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
