"""Configuration: presets of both languages agree, JSON and pickle round trips, bad values."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from dsct import DSCTConfig, _dsct
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES

PRESETS = ["paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s", "tiny"]
FIELDS = [field.name for field in dataclasses.fields(DSCTConfig)]


def preset(name: str, **overrides: Any) -> DSCTConfig:
    return getattr(DSCTConfig, name)(**overrides)


# --- presets ----------------------------------------------------------------------------------------------------------


def test_defaults_are_the_native_ones() -> None:
    native = json.loads(_dsct.Config.preset("paper_emotic"))
    assert json.loads(DSCTConfig().to_json()) == native
    declared = {field.name: field.default for field in dataclasses.fields(DSCTConfig)}
    assert declared.pop("class_names") is None, "None resolves to the names of the data set"
    del native["class_names"]
    assert json.loads(json.dumps(declared)) == native
    assert DSCTConfig() == DSCTConfig.paper_emotic()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_native_ones(name: str) -> None:
    assert json.loads(preset(name).to_json()) == json.loads(_dsct.Config.preset(name))
    assert preset(name).native == _dsct.Config(_dsct.Config.preset(name))


def test_official_and_paper_differ_as_documented() -> None:
    def differences(one: DSCTConfig, other: DSCTConfig) -> dict[str, Any]:
        return {name: getattr(one, name) for name in FIELDS if getattr(one, name) != getattr(other, name)}

    official, paper = DSCTConfig.official_emotic(), DSCTConfig.paper_emotic()
    released = {"person_class": True, "aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded"}
    assert differences(official, paper) == released
    caer_s = {"loss_class": 9.0, "fusion_layers": ()}
    assert differences(DSCTConfig.official_caer_s(), DSCTConfig.paper_caer_s()) == released | caer_s
    data = {"num_classes": 7, "multi_label": False, "class_names": CAER_S_CLASSES, "num_subject_queries": 9}
    assert differences(DSCTConfig.paper_caer_s(), paper) == data
    assert differences(DSCTConfig.official_caer_s(), official) == data | caer_s


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"preset must be one of paper_emotic.*got 'paper'"):
        _dsct.Config.preset("paper")


# --- overrides and derived values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_none_overrides_fusion_layers(name: str) -> None:
    assert preset(name, fusion_layers=None).fusion_layers is None
    assert preset(name, fusion_layers=()).fusion_layers == ()
    assert preset(name, fusion_layers=[1, 0]).fusion_layers == (1, 0)


def test_an_override_changes_its_field_only() -> None:
    changed = DSCTConfig.official_emotic(num_subject_queries=9, aggregation="union")
    expected = dataclasses.replace(DSCTConfig.official_emotic(), num_subject_queries=9, aggregation="union")
    assert changed == expected


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ({}, EMOTIC_CLASSES),
        ({"num_classes": 7}, tuple(f"class {i}" for i in range(7))),
        ({"num_classes": 7, "multi_label": False}, CAER_S_CLASSES),
        ({"num_classes": 2}, ("class 0", "class 1")),
        ({"num_classes": 2, "class_names": ["calm", "tense"]}, ("calm", "tense")),
        ({"num_classes": 26, "multi_label": True}, EMOTIC_CLASSES),
    ],
)
@pytest.mark.parametrize("name", ["paper_emotic", "official_emotic"])
def test_class_names(name: str, overrides: dict[str, Any], names: tuple[str, ...]) -> None:
    assert preset(name, **overrides).class_names == names
    assert preset(name, **overrides).names == names


def test_classes_of_the_data_sets() -> None:
    assert len(EMOTIC_CLASSES) == 26
    assert EMOTIC_CLASSES[0] == "Affection"
    assert EMOTIC_CLASSES[-1] == "Yearning"
    assert CAER_S_CLASSES == ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    assert DSCTConfig.tiny(num_classes=26, multi_label=True).class_names == EMOTIC_CLASSES


def test_number_of_logits() -> None:
    assert DSCTConfig.paper_emotic().num_logits == 26
    assert DSCTConfig.official_emotic().num_logits == 27
    assert DSCTConfig.official_caer_s().num_logits == 8


# --- round trips ------------------------------------------------------------------------------------------------------

UNUSUAL = DSCTConfig(
    backbone="wide_resnet50_2", train_backbone="none", num_classes=2, class_names=("Ruhe, “still”", "\u00fc\U0001f600"),
    selection=("semantic",), fusion_layers=(5, 0), dropout=0.0, loss_class=1e-12, focal_gamma=0.0, enc_layers=0,
    num_subject_queries=0, num_context_queries=0, k_spatial=0, score="logit",
)  # fmt: skip


@pytest.mark.parametrize("config", [*(preset(name) for name in PRESETS), UNUSUAL], ids=[*PRESETS, "unusual"])
def test_round_trips(config: DSCTConfig) -> None:
    for copied in (
        DSCTConfig.from_json(config.to_json()),
        DSCTConfig(**config.to_dict()),
        DSCTConfig.from_json(config.native.to_json()),
        pickle.loads(pickle.dumps(config)),
        copy.deepcopy(config),
        copy.copy(config),
        dataclasses.replace(config),
    ):
        assert copied == config
        assert hash(copied) == hash(config)
        assert copied.native == config.native
    assert pickle.loads(pickle.dumps(config.native)) == config.native


def test_every_field_counts_in_equality_and_hash() -> None:
    assert DSCTConfig(k_spatial=99) != DSCTConfig()
    assert DSCTConfig(k_spatial=99).native != DSCTConfig().native
    assert len({DSCTConfig(), DSCTConfig.paper_emotic(), DSCTConfig(dropout=0.2)}) == 2


def test_fields_cannot_be_assigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DSCTConfig().hidden_dim = 64  # type: ignore[misc]


def test_absent_fields_of_json_have_their_defaults() -> None:
    assert DSCTConfig.from_json("{}") == DSCTConfig()
    assert DSCTConfig.from_json('{"k_semantic": 7}') == DSCTConfig(k_semantic=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "list"),
        ('"tiny"', "str"),
        ('{"hiden_dim": 64}', "hiden_dim"),
        ('{"hidden_dim": 65}', "hidden_dim must be divisible by 32 and by nheads = 8, got 65"),
        ('{"hidden_dim": null}', "hidden_dim"),
        ('{"fusion_layers": [6]}', r"fusion_layers must be layers in 0\.\.6, got \[6\]"),
    ],
)
def test_bad_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DSCTConfig.from_json(text)


# --- bad values -------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
OUT_OF_RANGE: dict[str, list[Any]] = {
    "backbone": ["vgg", "", "ResNet50"],
    "train_backbone": ["layer2-4", ""],
    "num_classes": [0, -1],
    "class_names": [("one",), ()],
    "num_subject_queries": [-1],
    "num_context_queries": [-1],
    "hidden_dim": [0, -32, 31, 48, 250],
    "nheads": [0, -8],
    "enc_layers": [-1],
    "dec_layers": [0, -1],
    "dim_feedforward": [0],
    "dropout": [1.0, -0.1, NAN],
    "num_feature_levels": [0, -1],
    "enc_n_points": [0],
    "dec_n_points": [0],
    "selection": ["spatial", ("near",), ("spatial", "spatial"), ("spatial", "semantic", "spatial")],
    "k_spatial": [-1],
    "k_semantic": [-1],
    "semantic_order": ["Lowest", "random"],
    "spatial_frame": ["image"],
    "aggregation": ["mean"],
    "reweighting": ["softmax"],
    "fusion_layers": [(6,), (0, 6), (-1,), "all"],
    "cost_class": [-1.0, NAN, INF],
    "cost_bbox": [-1.0, NAN, INF],
    "cost_giou": [-1.0, NAN, INF],
    "loss_class": [-1.0, NAN, INF],
    "loss_bbox": [-1.0, NAN, INF],
    "loss_giou": [-1.0, NAN, INF],
    "focal_alpha": [-0.1, 1.1, NAN],
    "focal_gamma": [-1.0, NAN, INF],
    "score": ["median"],
}
WRONG_TYPES: dict[str, list[Any]] = {
    "backbone": [50, None],
    "train_backbone": [True],
    "num_classes": ["26", 26.5, None, (26,)],
    "multi_label": ["yes", 1, None],
    "person_class": ["no", 0],
    "class_names": ["names", 26, tuple(range(26))],
    "num_subject_queries": ["4", 4.5, None, [4]],
    "num_context_queries": ["300", 2**70],
    "hidden_dim": ["256", 256.5],
    "nheads": ["8"],
    "enc_layers": ["6", 1.5],
    "dec_layers": ["6", None],
    "dim_feedforward": ["1024"],
    "dropout": ["0.1", None],
    "num_feature_levels": ["4"],
    "enc_n_points": ["4"],
    "dec_n_points": ["4"],
    "selection": [None, 5, ("spatial", 1)],
    "k_spatial": ["100"],
    "k_semantic": [50.5],
    "semantic_order": [None, 0],
    "spatial_frame": [0],
    "aggregation": [None],
    "reweighting": [1],
    "fusion_layers": [5, ("5",), (0.5,)],
    "cost_class": ["2"],
    "cost_bbox": [None],
    "cost_giou": [[2.0]],
    "loss_class": ["5"],
    "loss_bbox": ["5"],
    "loss_giou": ["2"],
    "focal_alpha": ["0.25"],
    "focal_gamma": [None],
    "score": [0],
}


def pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(field, value) for field, values in table.items() for value in values]


def test_the_tables_name_every_field() -> None:
    assert OUT_OF_RANGE.keys() | {"multi_label", "person_class"} == set(FIELDS)
    assert WRONG_TYPES.keys() == set(FIELDS)


@pytest.mark.parametrize(("field", "value"), pairs(OUT_OF_RANGE), ids=str)
def test_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"DSCTConfig: {field}\b"):
        DSCTConfig(**{field: value})


@pytest.mark.parametrize(("field", "value"), pairs(WRONG_TYPES), ids=str)
def test_wrong_type_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"\b{field}\b"):
        DSCTConfig(**{field: value})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_check_their_overrides(name: str) -> None:
    with pytest.raises(ValueError, match="hidden_dim must be divisible by 32"):
        preset(name, hidden_dim=100)
    with pytest.raises(TypeError, match="hiden_dim"):
        preset(name, hiden_dim=64)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_dim must be divisible by 32 and by nheads = 6, got 256"):
        DSCTConfig(nheads=6)
    assert DSCTConfig(hidden_dim=96, nheads=6).hidden_dim == 96


def test_native_config_refuses_what_is_not_json() -> None:
    for text in ("", "[]", "NaN", "{} {}", '{"hidden_dim": 64'):
        with pytest.raises(ValueError, match="DSCTConfig"):
            _dsct.Config(text)


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [("num_classes", "3", "an integer"), ("num_classes", 2.5, "an integer"), ("num_classes", True, "an integer"),
     ("enc_layers", None, "an integer"), ("dropout", "a", "a number"), ("dropout", True, "a number"),
     ("multi_label", 1, "true or false"), ("backbone", 3, "text")],
)  # fmt: skip
def test_a_value_of_another_type_is_named(field: str, value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"DSCTConfig: {field} must be {kind}, got {value!r}"):
        DSCTConfig.tiny(**{field: value})


PRESETS = Path(__file__).with_name("presets.json")


def presets() -> dict[str, Any]:
    names = ("paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s", "tiny")
    return {name: json.loads(getattr(DSCTConfig, name)().to_json()) for name in names}


def test_presets_are_what_is_recorded() -> None:
    """A changed number of a preset is another model under an old name."""
    assert presets() == json.loads(PRESETS.read_text())
