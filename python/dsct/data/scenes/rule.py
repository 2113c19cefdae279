"""The emotions of the people in the synthetic scenes: the only place that turns cues into labels.

A person has a face and a near object; the far scene is shared by everybody in the image. :func:`emotion` reads the
three and returns one of the 7 CAER-S classes, :func:`emotion_labels` some of the 26 EMOTIC classes. The three faces are
ambiguous on purpose. A frown needs the near object, a gasp needs the far scene, a mild face needs both:

======= ============== ============ =========
face    near object    far scene    emotion
======= ============== ============ =========
frown   pleasant       any          Anger
frown   unpleasant     any          Disgust
gasp    any            bright       Surprise
gasp    any            dark         Fear
mild    pleasant       bright       Happy
mild    unpleasant     dark         Sad
mild    otherwise                   Neutral
======= ============== ============ =========

The cues are drawn with the exact probabilities of :func:`probability`, which make the 7 emotions equally frequent, so
that :func:`best_guess` can say, without looking at an image, how often one who sees only some of the cues can be
right: 3/7 from the face, 5/7 from the face and one of the two contexts, always from all three.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from fractions import Fraction
from itertools import product

from dsct.config import EMOTIC_CLASSES

FACES = ("frown", "gasp", "mild")
NEAR_OBJECTS = ("gift", "teddy", "rubbish", "spider")
FAR_SCENES = ("meadow", "beach", "storm", "night")
CUES = tuple(product(FACES, NEAR_OBJECTS, FAR_SCENES))

PLEASANT = ("gift", "teddy")
BRIGHT = ("meadow", "beach")

#: Classes of the 7 that only the near object, or only the far scene, tells apart.
NEAR_ONLY_CLASSES = ("Anger", "Disgust")
FAR_ONLY_CLASSES = ("Fear", "Surprise")

_EMOTION_LABELS = {
    "Anger": ("Anger", "Annoyance", "Disapproval"),
    "Disgust": ("Aversion", "Disapproval"),
    "Fear": ("Fear", "Disquietment"),
    "Happy": ("Happiness", "Pleasure"),
    "Neutral": ("Disconnection", "Doubt/Confusion"),
    "Sad": ("Sadness", "Suffering", "Pain"),
    "Surprise": ("Surprise", "Excitement"),
}
_NEAR_LABELS = {
    "gift": ("Anticipation", "Esteem"),
    "teddy": ("Affection", "Sympathy"),
    "rubbish": ("Embarrassment",),
    "spider": ("Sensitivity",),
}
_FAR_LABELS = {
    "meadow": ("Peace",),
    "beach": ("Confidence", "Engagement"),
    "storm": ("Fatigue",),
    "night": ("Yearning",),
}
_FACE_PROBABILITY = {"frown": Fraction(2, 7), "gasp": Fraction(2, 7), "mild": Fraction(3, 7)}
# A mild face agrees with its surroundings two times in three; otherwise Neutral would be twice as frequent as the rest.
_MILD_AGREEMENT = Fraction(2, 3)


def emotion(face: str, near: str, far: str) -> str:
    """Returns the emotion of a person, by the table at the top of this module.

    Args:
        face: one of :data:`FACES`.
        near: one of :data:`NEAR_OBJECTS`.
        far: one of :data:`FAR_SCENES`.

    Returns:
        One of ``dsct.config.CAER_S_CLASSES``.

    Example:
        >>> emotion("gasp", "teddy", "storm")
        'Fear'
    """
    _check(face, near, far)
    pleasant, bright = near in PLEASANT, far in BRIGHT
    if face == "frown":
        return "Anger" if pleasant else "Disgust"
    if face == "gasp":
        return "Surprise" if bright else "Fear"
    if pleasant != bright:
        return "Neutral"
    return "Happy" if pleasant else "Sad"


def emotion_labels(face: str, near: str, far: str) -> tuple[str, ...]:
    """Returns all emotions of a person: those of :func:`emotion`, of the near object and of the far scene.

    Args:
        face: one of :data:`FACES`.
        near: one of :data:`NEAR_OBJECTS`.
        far: one of :data:`FAR_SCENES`.

    Returns:
        Some of ``dsct.config.EMOTIC_CLASSES``, in that order, without repetition.

    Example:
        >>> emotion_labels("mild", "gift", "meadow")
        ('Anticipation', 'Esteem', 'Happiness', 'Peace', 'Pleasure')
    """
    felt = {*_EMOTION_LABELS[emotion(face, near, far)], *_NEAR_LABELS[near], *_FAR_LABELS[far]}
    return tuple(name for name in EMOTIC_CLASSES if name in felt)


def probability(face: str, near: str, far: str) -> Fraction:
    """Returns the exact probability with which the generator draws a person with these three cues.

    Far scenes are equally frequent; faces come in the ratio 2 : 2 : 3 in every far scene; near objects are equally
    frequent except next to a mild face, where pleasant goes with bright and unpleasant with dark two times in three.

    Args:
        face: one of :data:`FACES`.
        near: one of :data:`NEAR_OBJECTS`.
        far: one of :data:`FAR_SCENES`.

    Returns:
        A fraction; over :data:`CUES` they sum to 1.

    Example:
        >>> probability("frown", "gift", "night")
        Fraction(1, 56)
    """
    _check(face, near, far)
    agrees = (near in PLEASANT) == (far in BRIGHT)
    valence = Fraction(1, 2)
    if face == "mild":
        valence = _MILD_AGREEMENT if agrees else 1 - _MILD_AGREEMENT
    return Fraction(1, len(FAR_SCENES)) * _FACE_PROBABILITY[face] * valence * Fraction(1, len(PLEASANT))


def best_guess(known: Collection[str], multi_label: bool = False) -> Fraction:
    """Returns how often the best possible guess is right, knowing the rule but seeing only some of the cues.

    Args:
        known: which of ``"face"``, ``"near"`` and ``"far"`` are seen.
        multi_label: guess the whole set of :func:`emotion_labels` instead of the one :func:`emotion`.

    Returns:
        The exact probability of a right guess, by enumeration of :data:`CUES`.

    Example:
        >>> best_guess(["face"]), best_guess(["face", "near"]), best_guess(["face", "near", "far"])
        (Fraction(3, 7), Fraction(5, 7), Fraction(1, 1))
    """
    unknown = set(known) - {"face", "near", "far"}
    if unknown:
        raise ValueError(f"best_guess: known must contain 'face', 'near' and 'far' only, got {sorted(unknown)}")
    chances: defaultdict[tuple[str, ...], defaultdict[object, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for cues in CUES:
        seen = tuple(cue for name, cue in zip(("face", "near", "far"), cues, strict=True) if name in known)
        chances[seen][emotion_labels(*cues) if multi_label else emotion(*cues)] += probability(*cues)
    return sum((max(answers.values()) for answers in chances.values()), Fraction(0))


def _check(face: str, near: str, far: str) -> None:
    for name, value, choices in (("face", face, FACES), ("near", near, NEAR_OBJECTS), ("far", far, FAR_SCENES)):
        if value not in choices:
            raise ValueError(f"scene rule: {name} must be one of {', '.join(choices)}, got {value!r}")


def _decided_by(context: int) -> tuple[str, ...]:
    """EMOTIC labels that the face and one context (1 near, 2 far) decide and the face and the other context do not."""

    def settled(name: str, context: int) -> bool:
        answers = defaultdict(set)
        for cues in CUES:
            answers[cues[0], cues[context]].add(name in emotion_labels(*cues))
        return all(len(answer) == 1 for answer in answers.values())

    return tuple(name for name in EMOTIC_CLASSES if settled(name, context) and not settled(name, 3 - context))


#: The same two groups among the 26 EMOTIC classes, read off the rule itself.
NEAR_ONLY_LABELS = _decided_by(1)
FAR_ONLY_LABELS = _decided_by(2)
