"""Files of other detectors are recognised by their keys and refused by name; parts come only on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import load_pretrained
from dsct.checkpoint.layouts import recognise
from dsct.checkpoint.namings import under_original_names
from dsct.cli import app
from dsct.config import DSCTConfig
from tests.checkpoint.detectors import FAMILY, state_of

SMALL: dict[str, Any] = {"num_context_queries": 6, "k_spatial": 3, "k_semantic": 2, "enc_layers": 1, "dec_layers": 2}
OTHERS = [(name, program) for name, program in FAMILY if name != "Deformable DETR"]
#: Hugging Face's models by the architecture that they are.
HUGGING_FACE = {"DETR": "Detr", "Conditional DETR": "ConditionalDetr", "DAB-DETR": "DabDetr"}


def a_model(seed: int = 1, **changes: Any) -> dsct.DSCT:
    torch.manual_seed(seed)
    return dsct.DSCT(DSCTConfig.tiny(**{**SMALL, **changes}))


def hugging_face_state(architecture: str) -> dict[str, torch.Tensor]:
    transformers = pytest.importorskip("transformers")
    two_stage = architecture == "two-stage Deformable DETR"
    name = "DeformableDetr" if two_stage else HUGGING_FACE[architecture]
    stages = ["stage2", "stage3", "stage4"] if two_stage else ["stage4"]
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, layer_type="basic", out_features=stages
    )
    width = "hidden_size" if name == "DabDetr" else "d_model"
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "num_queries": 5}
    if two_stage:
        sizes |= {"two_stage": True, "with_box_refine": True, "disable_custom_kernels": True}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, width: 32}
    config = getattr(transformers, f"{name}Config")(backbone_config=backbone, **sizes, **heads)
    state: dict[str, torch.Tensor] = getattr(transformers, f"{name}ForObjectDetection")(config).state_dict()
    return state


@pytest.mark.parametrize(("architecture", "program"), FAMILY)
def test_every_detector_is_recognised_in_every_program_s_names(architecture: str, program: str) -> None:
    state = state_of(architecture, program)
    layout = recognise(state, "file")
    assert (layout.architecture, layout.naming) == (architecture, program)
    assert layout.key in state
    assert recognise(dict(reversed(state.items())), "file").architecture == architecture


@pytest.mark.parametrize("architecture", [*HUGGING_FACE, "two-stage Deformable DETR"])
def test_detectors_of_hugging_face_are_recognised(architecture: str) -> None:
    state = hugging_face_state(architecture)
    layout = recognise(state, "file")
    assert str(layout) == f"Hugging Face {architecture}"
    without_heads = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    assert str(recognise(without_heads, "file")) == f"Hugging Face {architecture}"
    with pytest.raises(ValueError, match=f"holds a Hugging Face {architecture}, recognised by .*; the model is a DSCT"):
        load_pretrained(a_model(), state)


@pytest.mark.parametrize(("architecture", "program"), OTHERS)
def test_another_architecture_is_an_error_that_names_both_and_changes_nothing(architecture: str, program: str) -> None:
    model = a_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = f"{program} {architecture}".strip()
    with pytest.raises(
        ValueError, match=rf"holds a {name}, recognised by [\w.]+; the model is a DSCT, built on Deform"
    ):
        load_pretrained(model, state_of(architecture, program))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def relative(model: dsct.DSCT) -> dict[str, torch.Tensor]:
    """A DINO with the backbone, encoder and decoder of `model`, and what a DINO has beside them."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "_dsct" not in name}
    del state["query_embed.weight"], state["transformer.reference_points.weight"]
    return {**state, "transformer.enc_out_class_embed.weight": torch.ones(2), "label_enc.weight": torch.ones(2, 2)}


def test_backbone_and_encoder_come_on_request() -> None:
    source, model = a_model(seed=1), a_model(seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_pretrained(model, relative(source), allow_partial=True, verbose=False)
    shared = ("backbone.", "input_proj.", "transformer.encoder.", "transformer.level_embed")
    for name, tensor in model.state_dict().items():
        expected = source.state_dict() if name.startswith(shared) else before
        assert torch.equal(tensor, expected[name]), name
    assert set(report.reused) == {name for name in before if name.startswith(shared)}
    assert report.skipped["transformer.decoder.layers.0.norm1.weight"] == "only a DINO has it"
    assert str(report).splitlines()[0].startswith("DINO: ")
    assert "  recognised by transformer.enc_out_class_embed.weight" in str(report)


def test_of_a_dense_encoder_only_the_backbone_comes() -> None:
    source, model = a_model(seed=1), a_model(seed=2)
    body = {name: tensor for name, tensor in source.state_dict().items() if name.startswith("backbone.")}
    norms = {name: tensor for name, tensor in source.state_dict().items() if ".encoder.layers.0.norm" in name}
    dense = {"transformer.decoder.layers.0.multihead_attn.in_proj_weight": torch.ones(2)}
    report = load_pretrained(model, {**body, **norms, **dense}, allow_partial=True, verbose=False)
    assert set(report.reused) == set(body)


def test_a_relative_without_a_name_of_its_own_is_refused_too() -> None:
    state = {name: tensor for name, tensor in a_model().state_dict().items() if "_dsct" not in name}
    with pytest.raises(
        ValueError, match=r"a detector that extends Deformable DETR, recognised by transformer\.mask_head"
    ):
        load_pretrained(a_model(), {**state, "transformer.mask_head.weight": torch.ones(2)})


@pytest.mark.parametrize("program", ["detrex", "mmdetection"])
def test_the_same_architecture_in_other_names_is_loaded_whole(program: str) -> None:
    """Values are found by their names in the file, which the model does not have."""
    state = state_of("Deformable DETR", program)
    original = under_original_names(state, program)
    model = dsct.DSCT(DSCTConfig.paper_emotic(backbone="resnet50", enc_layers=2, dec_layers=2))
    own = {name for name in original if not name.startswith(("class_embed.", "bbox_embed."))}
    assert own <= set(model.state_dict())
    # detrex and mmdetection number norms in the order of their use: self-attention, cross-attention, feed-forward.
    layer = {"detrex": "transformer.decoder", "mmdetection": "decoder"}[program] + ".layers.1."
    for theirs, ours in (("norms.0", "norm2"), ("norms.1", "norm1"), ("norms.2", "norm3")):
        assert torch.equal(original[f"transformer.decoder.layers.1.{ours}.bias"].tensor, state[f"{layer}{theirs}.bias"])
    assert original["input_proj.1.0.weight"].names == ("neck.extra_convs.0.conv.weight",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["transformer.level_embed", "bert.embeddings.weight", "transformer.tgt_embed.weight"], "Grounding DINO"),
        (["transformer.enc_output.0.weight", "refpoint_embed.weight", "query_feat.weight"], "LW-DETR"),
        ([f"bbox_head.{name}" for name in ("transformer.level_embeds", "transformer.enc_output.bias", "label_enc.x")],
         "mmdetection DINO"),
        (["pixel_decoder.transformer.level_embed", "backbone.stem.conv1.weight"], "detrex detector that extends"),
    ],
)  # fmt: skip
def test_relatives_of_them_are_no_deformable_detr(names: list[str], expected: str) -> None:
    state = {name: torch.ones(2) for name in names}
    assert str(recognise(state, "file")).startswith(expected)
    with pytest.raises(ValueError, match=f"holds a {expected}"):
        load_pretrained(a_model(), state)


def test_refinement_is_a_warning() -> None:
    state = {name: tensor for name, tensor in a_model().state_dict().items() if "_dsct" not in name}
    state["transformer.decoder.bbox_embed.0.layers.0.weight"] = torch.ones(2)
    report = load_pretrained(a_model(), state, verbose=False)
    assert report.warnings == ("the file's detector refines its boxes from layer to layer, the model does not",)


@pytest.mark.parametrize("kind", ["DSCT", "native", "torchvision", "Deformable DETR", "wide"])
def test_another_backbone_is_an_error_that_names_both(kind: str, tmp_path: Path) -> None:
    wide = kind == "wide"
    source = a_model(backbone="wide_resnet50_2" if wide else "resnet18")
    state: Any = source.state_dict()
    if kind == "native":
        dsct.save_model(source, tmp_path / "model.safetensors")
        state = tmp_path / "model.safetensors"
    elif kind == "torchvision":
        state = torchvision.models.resnet18(weights=None).state_dict()
    elif kind == "Deformable DETR":
        state = {name: tensor for name, tensor in state.items() if "_dsct" not in name}
    model = a_model(seed=2, backbone="resnet34" if not wide else "resnet50")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = "wide_resnet50_2, the model has resnet50" if wide else "resnet18, the model has resnet34"
    with pytest.raises(ValueError, match=f"has the backbone {names}: weights of another backbone are not loaded"):
        load_pretrained(model, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_rest_of_a_file_with_another_backbone_comes_on_request() -> None:
    source, model = a_model(backbone="resnet18"), a_model(seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_pretrained(model, source.state_dict(), allow_partial=True, verbose=False)
    assert not [name for name in report.reused if name.startswith("backbone.")]
    assert torch.equal(model.transformer.level_embed, source.transformer.level_embed)
    assert torch.equal(model.state_dict()["backbone.0.body.conv1.weight"], before["backbone.0.body.conv1.weight"])
    assert report.skipped["backbone.0.body.conv1.weight"] == "of the backbone resnet18, the model has tiny"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("features.1.0.attn.relative_position_bias_table", "Swin Transformer"),
        ("encoder.pos_embedding", "vision transformer"),
        ("features.1.0.layer_scale", "ConvNeXt"),
    ],
)
def test_files_of_other_backbones_are_named(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"holds a {said}, recognised by .*; the model's backbone is tiny"):
        load_pretrained(a_model(), {name: torch.ones(2)})


def test_a_resnext_is_no_wide_resnet() -> None:
    state = torchvision.models.resnext50_32x4d(weights=None).state_dict()
    with pytest.raises(ValueError, match=r"has another backbone .*, the model has wide_resnet50_2"):
        load_pretrained(a_model(backbone="wide_resnet50_2"), state)


def test_convert_refuses_and_takes_parts(tmp_path: Path) -> None:
    source, destination = tmp_path / "dino.pth", tmp_path / "out.safetensors"
    model = a_model()
    torch.save({"model": relative(model)}, source)
    arguments = ["convert", str(source), str(destination), "--preset", "tiny", "--set", "num_context_queries=6"]
    arguments += ["--set", "k_spatial=3", "--set", "k_semantic=2"]
    for command in (arguments, arguments[:3]):
        refused = CliRunner().invoke(app, command)
        assert (refused.exit_code, destination.exists()) == (1, False)
        assert "holds a DINO, recognised by transformer.enc_out_class_embed.weight" in refused.output
        assert "--allow-partial" in refused.output
    taken = CliRunner().invoke(app, [*arguments, "--allow-partial"])
    assert taken.exit_code == 0, taken.output
    converted = dsct.load_model(destination).state_dict()
    assert torch.equal(converted["transformer.level_embed"], model.transformer.level_embed)


def test_convert_refuses_another_backbone_and_a_preset_of_other_classes(tmp_path: Path) -> None:
    dsct.save_model(a_model(num_classes=3, class_names=("calm", "sad", "happy")), tmp_path / "model.safetensors")
    arguments = ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "out.safetensors")]
    sizes = ["--set", "num_context_queries=6", "--set", "k_spatial=3", "--set", "k_semantic=2"]
    for wrong, said in (
        (["--set", "backbone=resnet18"], "has the backbone tiny, the model has resnet18"),
        (["--preset", "tiny", *sizes], "the file has the classes calm, sad, happy, this model Anger, "),
    ):
        result = CliRunner().invoke(app, [*arguments, *wrong])
        assert result.exit_code == 1
        assert said in result.output
        assert not (tmp_path / "out.safetensors").exists()
    assert CliRunner().invoke(app, [*arguments, "--preset", "tiny", *sizes, "--allow-partial"]).exit_code == 0


class TwoStrides(torch.nn.Module):
    """A backbone of a user: three maps, finest first."""

    num_channels = (4, 8, 16)

    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 8, stride=8)
        self.further = torch.nn.ModuleList([torch.nn.Conv2d(4, 8, 2, stride=2), torch.nn.Conv2d(8, 16, 2, stride=2)])
        if extra:
            self.extra = torch.nn.Linear(1, 1)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.stem(images)]
        for layer in self.further:
            maps.append(layer(maps[-1]))
        return maps


def test_a_model_with_a_backbone_of_the_user_is_loaded_with_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = dsct.DSCT(DSCTConfig.tiny(backbone="custom", **SMALL), TwoStrides()).eval()
    path = tmp_path / "model.safetensors"
    dsct.save_model(model, path)
    loaded = dsct.load_model(path, backbone=TwoStrides())
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    people = dsct.Predictor(loaded, short_side=96)(torch.rand(3, 96, 128))
    assert people.boxes.tolist() == dsct.predict(people.source, model, short_side=96).boxes.tolist()
    for load in (lambda: dsct.load_model(path), lambda: dsct.Predictor(path), lambda: dsct.predict("x.png", path)):
        with pytest.raises(ValueError, match=r"must be given as a module: load_model\(path, backbone=module\)"):
            load()
    with pytest.raises(ValueError, match=r"does not fit this backbone: missing \['backbone.0.extra"):
        dsct.load_model(path, backbone=TwoStrides(extra=True))
    with pytest.raises(TypeError, match="backbone must be a module, got str"):
        dsct.load_model(path, backbone="resnet18")  # type: ignore[arg-type]
    result = CliRunner().invoke(app, ["predict", "x.png", "--weights", str(path)])
    assert result.exit_code == 1


def test_a_backbone_that_does_not_fit_a_file_is_refused(tmp_path: Path) -> None:
    dsct.save_model(a_model(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit this backbone"):
        dsct.load_model(tmp_path / "model.safetensors", backbone=TwoStrides())
