"""Model configuration: one field per switch of the paper's tables.

Defaults, presets and validation live in the native code (`src/config.rs`), so that Rust and Python agree; this is the
typed view of them. Two families of presets exist: ``official_*`` equals the authors' released code, ``paper_*`` follows
the paper where the two differ. Every field is independent of the preset.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import unicodedata
from dataclasses import dataclass
from typing import Any

import dsct._dsct as _dsct
from dsct.json_text import parse_json_object

EMOTIC_CLASSES: tuple[str, ...] = tuple(json.loads(_dsct.Config.preset("paper_emotic"))["class_names"])
"""The 26 classes of EMOTIC, in the order of its annotations."""
CAER_S_CLASSES: tuple[str, ...] = tuple(json.loads(_dsct.Config.preset("paper_caer_s"))["class_names"])
"""The 7 classes of CAER-S, in the order of its label ids."""


def context_sets(num_context_queries: int) -> dict[str, int]:
    """``k_spatial`` and ``k_semantic`` of the paper, or all context queries where there are fewer.

    Example:
        >>> context_sets(300), context_sets(60)
        ({'k_spatial': 100, 'k_semantic': 50}, {'k_spatial': 60, 'k_semantic': 50})
    """
    paper = DSCTConfig()
    return {name: min(getattr(paper, name), num_context_queries) for name in ("k_spatial", "k_semantic")}


@dataclass(frozen=True)
class DSCTConfig:
    """Everything that defines a DSCT, its matching and its loss.

    ``DSCTConfig()`` is :meth:`paper_emotic`. All fields are keywords; ``dataclasses.replace`` changes some.

    Args:
        backbone: ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``resnet152``, ``wide_resnet50_2``,
            ``wide_resnet101_2``, ``tiny``, or ``custom`` for a module passed to ``DSCT`` (Table 9).
        train_backbone: ``layers2-4`` freezes stem and first stage; ``all`` or ``none``.
        num_classes: C, without the extra logit of ``person_class``.
        multi_label: whether a person has several emotions (EMOTIC) or exactly one (CAER-S).
        person_class: one more logit, as the released code has it.
        class_names: C different names, of one line each; None uses those of EMOTIC or CAER-S if their number fits,
            else numbers.
        num_subject_queries: N, the largest number of people that can be found (Table 5).
        num_context_queries: M_c; 0 is a plain Deformable DETR (Table 6).
        hidden_dim: E, divisible by 32 and by ``nheads``.
        nheads: M.
        enc_layers: encoder layers.
        dec_layers: decoder layers.
        dim_feedforward: width of the feed-forward networks.
        dropout: probability, in training only.
        num_feature_levels: L.
        enc_n_points: P of the encoder.
        dec_n_points: P of the decoder.
        selection: which sets of context queries a subject aggregates, of ``spatial`` and ``semantic`` (Table 6);
            ``()`` is one set of all context. With ``aggregation="union"`` and ``semantic_order="lowest"`` the
            semantic set gets next to no weight; training logs the share of each set.
        k_spatial: K_sp, size of the spatial set (Fig. 11).
        k_semantic: K_sm, size of the semantic set.
        semantic_order: ``lowest`` relevance (the paper's text) or ``highest`` (the released code).
        spatial_frame: ``valid`` measures distances in the image (Eq. 6), ``padded`` in the padded batch.
        aggregation: ``union``, one softmax (Eq. 8), or ``split``, the released code's three.
        reweighting: ``semantic``, ``equal``, ``spatial`` or ``attentive`` weights (Table 7).
        fusion_layers: 0-based decoder layers that fuse; None is all, ``()`` is none (Table 8).
        cost_class: matching weight of the class cost (Table 3).
        cost_bbox: matching weight of the L1 cost.
        cost_giou: matching weight of the GIoU cost.
        loss_class: loss weight of the focal loss (Table 3).
        loss_bbox: loss weight of the L1 loss.
        loss_giou: loss weight of the GIoU loss.
        focal_alpha: α of the focal loss, in matcher and loss alike.
        focal_gamma: γ of the focal loss, in matcher and loss alike.
        score: a query's score is the mean ``probability`` or the mean ``logit`` of its classes.

    Raises:
        ValueError: a field is out of range; the message names it.

    Example:
        >>> import dsct
        >>> dsct.DSCTConfig.official_emotic(num_subject_queries=9).num_logits
        27
    """

    backbone: str = "resnet50"
    train_backbone: str = "layers2-4"
    num_classes: int = 26
    multi_label: bool = True
    person_class: bool = False
    class_names: tuple[str, ...] | None = None
    num_subject_queries: int = 4
    num_context_queries: int = 300
    hidden_dim: int = 256
    nheads: int = 8
    enc_layers: int = 6
    dec_layers: int = 6
    dim_feedforward: int = 1024
    dropout: float = 0.1
    num_feature_levels: int = 4
    enc_n_points: int = 4
    dec_n_points: int = 4
    selection: tuple[str, ...] = ("spatial", "semantic")
    k_spatial: int = 100
    k_semantic: int = 50
    semantic_order: str = "lowest"
    spatial_frame: str = "valid"
    aggregation: str = "union"
    reweighting: str = "semantic"
    fusion_layers: tuple[int, ...] | None = None
    cost_class: float = 2.0
    cost_bbox: float = 5.0
    cost_giou: float = 2.0
    loss_class: float = 5.0
    loss_bbox: float = 5.0
    loss_giou: float = 2.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    score: str = "probability"

    def __post_init__(self) -> None:
        for name in ("selection", "fusion_layers", "class_names"):
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                object.__setattr__(self, name, tuple(value))
            elif value is not None:
                raise ValueError(f"DSCTConfig: {name} must be a tuple, got {value!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            types, kind = _SCALARS.get(str(field.type), ((object,), ""))
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and kind):
                raise ValueError(f"DSCTConfig: {field.name} must be {kind}, got {value!r}")
        if self.class_names is None:
            object.__setattr__(self, "class_names", _default_class_names(self.num_classes, self.multi_label))
        _require_names(self.names)
        for name, value in self.to_dict().items():
            if isinstance(value, float) and not math.isfinite(value):  # JSON cannot express it
                raise ValueError(f"DSCTConfig: {name} must be finite, got {value}")
        _ = self.native  # validates

    @functools.cached_property
    def native(self) -> _dsct.Config:
        """The validated native form that the Rust functions take."""
        return _dsct.Config(self.to_json())

    @property
    def num_logits(self) -> int:
        """Logits per query: C, or C + 1 with ``person_class``."""
        return self.num_classes + self.person_class

    @property
    def names(self) -> tuple[str, ...]:
        """The C class names."""
        assert self.class_names is not None
        return self.class_names

    @classmethod
    def _preset(cls, name: str, overrides: dict[str, Any]) -> DSCTConfig:
        fields = json.loads(_dsct.Config.preset(name))
        if not {"num_classes", "multi_label"}.isdisjoint(overrides):
            fields["class_names"] = None
        return cls(**{**fields, **overrides})

    @classmethod
    def paper_emotic(cls, **overrides: Any) -> DSCTConfig:
        """The paper's model for EMOTIC: 4 subject queries, 26 labels."""
        return cls._preset("paper_emotic", overrides)

    @classmethod
    def paper_caer_s(cls, **overrides: Any) -> DSCTConfig:
        """The paper's model for CAER-S: 9 subject queries, 7 classes, fusion on."""
        return cls._preset("paper_caer_s", overrides)

    @classmethod
    def official_emotic(cls, **overrides: Any) -> DSCTConfig:
        """The authors' released code for EMOTIC; its checkpoints load with ``strict=True``."""
        return cls._preset("official_emotic", overrides)

    @classmethod
    def official_caer_s(cls, **overrides: Any) -> DSCTConfig:
        """The authors' released code for CAER-S, which turns fusion off; ``fusion_layers=None`` turns it on."""
        return cls._preset("official_caer_s", overrides)

    @classmethod
    def tiny(cls, **overrides: Any) -> DSCTConfig:
        """The small model of the demo: learns the synthetic scenes in minutes on a laptop."""
        return cls._preset("tiny", overrides)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, as in the JSON form."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The JSON form in checkpoints; :meth:`from_json` is its inverse."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> DSCTConfig:
        """Reads :meth:`to_json`.

        Raises:
            ValueError: the text is not JSON, or a field is unknown or out of range.
        """
        fields = parse_json_object(text, "DSCTConfig")
        if unknown := sorted(fields.keys() - {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(f"DSCTConfig: unknown fields {unknown}")
        return cls(**fields)


#: Type of a field -> what its value may be, and that in words.
_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
}


#: Unicode's categories of control characters, of line and paragraph ends, and of halves of characters.
_NOT_IN_NAMES = frozenset({"Cc", "Zl", "Zp", "Cs"})


def _require_names(names: tuple[object, ...]) -> None:
    """Names are keys in JSON, columns in tables and words on a terminal: one each, in one line."""
    seen = set()
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"DSCTConfig: class_names must be texts, got {name!r}")
        if any(unicodedata.category(character) in _NOT_IN_NAMES for character in name):
            raise ValueError(f"DSCTConfig: class_names must have no line ends or control characters, got {name!r}")
        if name in seen:
            raise ValueError(f"DSCTConfig: class_names must differ from each other, got {name!r} twice")
        seen.add(name)


def _default_class_names(num_classes: int, multi_label: bool) -> tuple[str, ...]:
    if multi_label and num_classes == len(EMOTIC_CLASSES):
        return EMOTIC_CLASSES
    if not multi_label and num_classes == len(CAER_S_CLASSES):
        return CAER_S_CLASSES
    return tuple(f"class {index}" for index in range(num_classes))


def require_config(config: object, op: str) -> DSCTConfig:
    """The configuration itself.

    Raises:
        TypeError: it is something else; the message begins with `op`.
    """
    if not isinstance(config, DSCTConfig):
        raise TypeError(f"{op}: config must be a dsct.DSCTConfig, got {type(config).__name__}")
    return config
