"""What a DSCT cannot keep of a live detector is said, for every field that Hugging Face's configuration has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn

import dsct
from dsct.interop import deformable_detr, transformers
from tests.interop.hugging_face_detector import hugging_face_detector

#: Read from tensors, or from the configuration.
KEPT = {
    "backbone_config", "num_queries", "encoder_layers", "decoder_layers", "d_model", "num_feature_levels",
    "encoder_ffn_dim", "decoder_ffn_dim", "encoder_attention_heads", "encoder_n_points", "decoder_n_points",
}  # fmt: skip
#: Field -> a value that a DSCT cannot keep.
REPORTED: dict[str, Any] = {
    "dilation": True, "activation_function": "gelu", "position_embedding_type": "learned", "num_channels": 4,
    "two_stage": True, "with_box_refine": True, "decoder_attention_heads": 2,
}  # fmt: skip
#: Of training, where a DSCT has its own recipe; of what the model returns; of the operator's implementation.
WITHOUT_EFFECT = {
    "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "init_std", "init_xavier_std",
    "auxiliary_loss", "class_cost", "bbox_cost", "giou_cost", "mask_loss_coefficient", "dice_loss_coefficient",
    "bbox_loss_coefficient", "giou_loss_coefficient", "eos_coefficient", "focal_alpha", "return_intermediate",
    "max_position_embeddings", "is_encoder_decoder", "two_stage_num_proposals", "disable_custom_kernels",
    "tie_word_embeddings",
}  # fmt: skip


def test_every_field_of_the_configuration_is_known() -> None:
    config_class = pytest.importorskip("transformers").DeformableDetrConfig
    fields = {name for name in vars(config_class).get("__annotations__", {}) if not name.startswith("_")}
    assert {"num_queries", "dilation", "activation_function"} <= fields
    assert fields - KEPT - set(REPORTED) - WITHOUT_EFFECT - {"model_type", "sub_configs", "attribute_map"} == set()


@pytest.mark.parametrize("field", REPORTED)
def test_a_field_that_cannot_be_kept_is_in_the_report(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    detector = hugging_face_detector()
    setattr(detector.config, field, REPORTED[field])
    word = "dilated (DC5)" if field == "dilation" else f"{field} is {REPORTED[field]!r} in the detector and "
    for convert in (transformers.convert, deformable_detr.convert):
        convert(detector, 3, 7)
        assert word in capsys.readouterr().out
        with pytest.warns(UserWarning, match=re.escape(word)) as found:
            convert(detector, 3, 7, verbose=False)
        assert len(found) == 1


def test_a_detector_without_such_fields_gives_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    transformers.convert(hugging_face_detector(), 3, 7, verbose=False)
    assert not recwarn.list


def test_another_activation_of_the_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    detector = hugging_face_detector()
    detector.config.backbone_config.hidden_act = "silu"
    transformers.convert(detector, 3, 7)
    assert "backbone_config.hidden_act is 'silu' in the detector and 'relu' in the model" in capsys.readouterr().out


def test_modules_tell_what_no_configuration_does() -> None:
    detector = hugging_face_detector()
    del detector.config
    last = [module for module in detector.model.backbone.modules() if isinstance(module, nn.Conv2d)][-1]
    last.dilation = (2, 2)
    for layer in detector.model.decoder.layers:
        layer.mlp.activation_fn = nn.GELU()
    with pytest.warns(UserWarning, match=r"DC5|activation of the decoder") as found:
        deformable_detr.convert(detector, 3, 7, nheads=4, enc_n_points=2, verbose=False)
    assert [str(each.message) for each in found] == [
        "the last stage of the file's backbone is dilated (DC5), the model's is not",
        "the activation of the decoder is gelu in the detector and relu in the model",
    ]


def last_stage(detector: Any) -> Iterator[nn.Module]:
    """The modules of the last stage of the backbone."""
    yield from detector.model.backbone.model.encoder.stages[-1].modules()


def unstrided(detector: Any) -> None:
    for module in last_stage(detector):
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)


def leaky(detector: Any) -> None:
    for module in list(last_stage(detector)):
        if isinstance(getattr(module, "activation", None), nn.ReLU):
            module.activation = nn.LeakyReLU()


def other_layer_norms(detector: Any) -> None:
    for module in detector.model.encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-12


def other_norms_of_the_backbone(detector: Any) -> None:
    for module in list(last_stage(detector)):
        if hasattr(module, "normalization"):
            module.normalization = nn.BatchNorm2d(module.normalization.weight.numel(), eps=1e-3)


def other_groups(detector: Any) -> None:
    norm = next(module for module in detector.modules() if isinstance(module, nn.GroupNorm))
    norm.num_groups, norm.eps = 16, 1e-6


def other_positions(detector: Any) -> None:
    for module in detector.modules():
        if hasattr(module, "temperature"):
            module.temperature, module.scale = 20, 1.0


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            unstrided,
            [
                f"the stride of a {kernel} convolution of 256 to 512 channels of the backbone is 1 in the detector"
                for kernel in ("1 x 1", "3 x 3")
            ],
        ),
        (leaky, ["the activation of the backbone is LeakyReLU in the detector and ReLU in the model"]),
        (
            other_layer_norms,
            [
                "eps of a layer norm is 1e-12 in the detector and 1e-05 in the model: "
                "model.encoder.layers.0.self_attn_layer_norm and 3 others"
            ],
        ),
        (
            other_norms_of_the_backbone,
            ["eps of a norm of the backbone is 0.001 in the detector and 1e-05 in the model: model.backbone."],
        ),
        (
            other_groups,
            [
                "eps of a group norm is 1e-06 in the detector and 1e-05 in the model: model.input_proj.0.1",
                "the number of groups of a group norm is 16 in the detector and 32 in the model: model.input_proj.0.1",
            ],
        ),
        (
            other_positions,
            [
                "temperature of the position encoding is 20 in the detector and 10000 in the model: model.",
                "scale of the position encoding is 1.0 in the detector and 6.283185307179586 in the model: model.",
            ],
        ),
    ],
)
def test_what_only_live_modules_show(
    change: Callable[[Any], None], sentences: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    detector = hugging_face_detector()
    change(detector)
    with pytest.warns(UserWarning, match=r"in the detector and .* in the model") as found:
        transformers.convert(detector, 3, 7, verbose=False)
    said = [str(each.message) for each in found]
    assert len(said) == len(sentences), said
    assert all(one.startswith(sentence) for one, sentence in zip(said, sentences, strict=True)), said
    deformable_detr.convert(detector, 3, 7)
    assert all(sentence in capsys.readouterr().out for sentence in sentences[:1])


def test_modules_of_the_original_names() -> None:
    """A backbone of torchvision below ``backbone.0.body``, whose activation is missing in one block."""
    detector = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=0, backbone="resnet18"))
    deformable_detr.convert(detector, 3, 7, nheads=4, verbose=False)
    block: Any = detector.backbone[0].body.layer4[0]
    block.relu, block.bn1.eps = nn.Identity(), 0.0
    with pytest.warns(UserWarning, match="backbone") as found:
        deformable_detr.convert(detector, 3, 7, nheads=4, verbose=False)
    assert [str(each.message) for each in found] == [
        "the activation of the backbone is Identity in the detector and ReLU in the model",
        "eps of a norm of the backbone is 0.0 in the detector and 1e-05 in the model: backbone.0.body.layer4.0.bn1",
    ]
