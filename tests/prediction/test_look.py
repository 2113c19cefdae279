"""What a predictor gives besides people: where the model looked, and the feature maps of its backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dsct
from dsct.prediction.look import LayerLook
from tests.visualize.traced_model import EVERYBODY, IMAGE, small_model


def test_a_look_is_the_people_each_with_its_layers() -> None:
    predictor = dsct.Predictor(small_model(), **EVERYBODY)
    look, people = predictor.look(IMAGE), predictor(IMAGE)
    assert list(look.people) == list(people) == [subject.person for subject in look.subjects]
    assert look.people.queries.tolist() == [subject.query for subject in look.subjects]
    assert sorted(look.people.queries) == [0, 1, 2]
    np.testing.assert_array_equal(np.asarray(look.image), IMAGE)
    assert (look.note, dsct.Predictor().look(IMAGE).note) == (None, dsct.shipped_weights.SHIPPED_NOTE)


def test_the_image_of_a_look_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright
    Image.new("RGB", (60, 40)).save(tmp_path / "phone.jpg", exif=exif)
    look = dsct.Predictor(small_model(), short_side=64).look(tmp_path / "phone.jpg")
    assert look.image.size == look.people.image_size == (40, 60)
    assert look.people.source == tmp_path / "phone.jpg"


def layer() -> LayerLook:
    return dsct.Predictor(small_model(), **EVERYBODY).look(IMAGE).subjects[0].layers[-1]


def test_rounding_keeps_five_more_decimals_of_weights_than_of_points() -> None:
    at = layer()
    rounded = at.to_dict(decimals=1)
    assert rounded["sampling_points"] == [[round(float(x), 1), round(float(y), 1)] for x, y in at.sampling_points]
    assert rounded["context_weights"] == [round(float(weight), 6) for weight in at.context_weights]
    assert rounded["context_queries"] == at.context_queries.tolist()
    assert all(len(repr(x).partition(".")[2]) == 1 for x in rounded["reference_point"])


def test_feature_maps_are_those_of_the_backbone_in_evaluation_mode() -> None:
    model = small_model().train()
    loaded, maps = dsct.Predictor(model, short_side=96).feature_maps(IMAGE)
    assert model.training
    assert loaded.size == IMAGE.shape[1::-1]
    sizes = [(12, 18), (6, 9), (3, 5)]  # of 96 x 144 pixels
    channels = model.backbone[0].num_channels
    assert [tuple(one.shape) for one in maps] == [(c, *size) for c, size in zip(channels, sizes, strict=True)]
    assert not any(features.requires_grad for features in maps)
    with pytest.raises(TypeError, match="image must be a path"):
        dsct.Predictor(model).feature_maps(5)  # type: ignore[arg-type]
    assert torch.is_grad_enabled()
