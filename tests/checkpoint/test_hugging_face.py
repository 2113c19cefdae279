"""A saved Hugging Face Deformable DETR becomes backbone, encoder and context queries of a DSCT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import load_pretrained, read_checkpoint
from dsct.checkpoint.hugging_face import original_name
from dsct.cli import app
from dsct.config import DSCTConfig
from tests.interop.hugging_face_detector import QUERIES, SIZES, hugging_face_detector


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    return hugging_face_detector()


@pytest.fixture(scope="module")
def folder(hugging_face: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hugging_face")
    hugging_face.save_pretrained(path)
    return path


def a_model(**changes: Any) -> dsct.DSCT:
    config = {"num_context_queries": QUERIES, "num_subject_queries": 3, "k_spatial": 5, "k_semantic": 4, **changes}
    return dsct.DSCT(DSCTConfig.paper_caer_s(dropout=0.0, **{**SIZES, **config})).eval()


def test_encoder_and_context_queries_compute_the_same(hugging_face: Any, folder: Path) -> None:
    model = a_model(fusion_layers=())
    report = load_pretrained(model, folder, verbose=False)
    assert report.layout.startswith("Hugging Face")
    assert all("_dsct" in name for name in report.missing), report.missing
    assert all(name.split(".")[0] in ("class_embed", "bbox_embed") or "num_batches" in name for name in report.skipped)
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        theirs = hugging_face.model(images, pixel_mask=torch.ones(1, 96, 128, dtype=torch.long))
        taken: dict[str, Any] = {}
        model.transformer.decoder.register_forward_pre_hook(
            lambda _module, arguments: taken.setdefault("arguments", arguments) and None
        )
        model(images)
        tgt, points, memory, shapes, starts, ratios, query_pos, padding = taken["arguments"]
        torch.testing.assert_close(memory, theirs.encoder_last_hidden_state, rtol=1e-4, atol=1e-4)
        # The subjects take part in the self-attention: without them the context queries are Deformable DETR's.
        context = slice(0, QUERIES)
        hidden, _ = model.transformer.decoder(
            tgt[:, context], points[:, context], memory, shapes, starts, ratios, query_pos[:, context], padding
        )
    torch.testing.assert_close(hidden[-1], theirs.last_hidden_state, rtol=1e-4, atol=1e-4)


def test_values_are_copied_to_the_bit(hugging_face: Any, folder: Path) -> None:
    model = a_model()
    load_pretrained(model, folder, verbose=False)
    state, theirs = model.state_dict(), hugging_face.state_dict()
    assert torch.equal(state["query_embed.weight"], theirs["model.query_position_embeddings.weight"])
    layer = "model.decoder.layers.1.self_attn"
    joined = torch.cat([theirs[f"{layer}.{part}_proj.weight"] for part in "qkv"])
    assert torch.equal(state["transformer.decoder.layers.1.self_attn.in_proj_weight"], joined)
    names = [name for name in theirs if name.endswith("layer.0.convolution.weight") and "stages.3.layers.0" in name]
    assert len(names) == 1
    assert torch.equal(state["backbone.0.body.layer4.0.conv1.weight"], theirs[names[0]])


def test_every_tensor_of_the_file_is_accounted_for(folder: Path) -> None:
    model = a_model()
    report = load_pretrained(model, folder, verbose=False)
    file, state = read_checkpoint(folder).tensors, model.state_dict()
    assert {*report.reused, *report.renamed, *report.skipped} == set(file)
    assert not report.renamed.keys() & report.skipped.keys()
    parts: dict[str, list[torch.Tensor]] = {}
    for name in file:
        if name in report.reused or name in report.renamed:
            parts.setdefault(report.renamed.get(name, name), []).append(file[name])
    joined = {len(tensors) for tensors in parts.values()}
    assert joined == {1, 3}
    for name, tensors in parts.items():
        # The projections of queries, keys and values stand in the file in the order k, q, v.
        rows = {tensor.numpy().tobytes() for tensor in tensors}
        assert {part.numpy().tobytes() for part in state[name].chunk(len(tensors))} == rows, name


def test_a_model_without_heads_gives_the_same(hugging_face: Any, folder: Path, tmp_path: Path) -> None:
    hugging_face.model.save_pretrained(tmp_path)
    assert not any(name.startswith("model.") for name in read_checkpoint(tmp_path).tensors)
    models = [a_model(), a_model()]
    for model, source in zip(models, (folder, tmp_path), strict=True):
        load_pretrained(model, source, verbose=False)
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items() if "_dsct" not in name)


@pytest.mark.parametrize(
    ("theirs", "original"),
    [
        ("model.query_position_embeddings.weight", "query_embed.weight"),
        ("model.level_embed", "transformer.level_embed"),
        ("model.reference_points.bias", "transformer.reference_points.bias"),
        ("model.input_proj.3.1.weight", "input_proj.3.1.weight"),
        ("model.encoder.layers.5.self_attn.sampling_offsets.bias",
         "transformer.encoder.layers.5.self_attn.sampling_offsets.bias"),
        ("model.encoder.layers.0.self_attn_layer_norm.weight", "transformer.encoder.layers.0.norm1.weight"),
        ("model.encoder.layers.0.fc1.weight", "transformer.encoder.layers.0.linear1.weight"),
        ("model.encoder.layers.0.final_layer_norm.bias", "transformer.encoder.layers.0.norm2.bias"),
        ("model.decoder.layers.1.encoder_attn.value_proj.bias",
         "transformer.decoder.layers.1.cross_attn.value_proj.bias"),
        ("model.decoder.layers.1.encoder_attn_layer_norm.bias", "transformer.decoder.layers.1.norm1.bias"),
        ("model.decoder.layers.1.self_attn_layer_norm.bias", "transformer.decoder.layers.1.norm2.bias"),
        ("model.decoder.layers.1.final_layer_norm.bias", "transformer.decoder.layers.1.norm3.bias"),
        ("model.decoder.layers.1.self_attn.out_proj.weight", "transformer.decoder.layers.1.self_attn.out_proj.weight"),
        ("model.decoder.layers.1.fc2.bias", "transformer.decoder.layers.1.linear2.bias"),
        ("model.backbone.conv_encoder.model.layer3.5.bn2.running_var", "backbone.0.body.layer3.5.bn2.running_var"),
        ("model.backbone.conv_encoder.model.layer1.0.downsample.0.weight",
         "backbone.0.body.layer1.0.downsample.0.weight"),
        ("class_embed.0.weight", "class_embed.0.weight"),
    ],
)  # fmt: skip
def test_names_of_published_files(theirs: str, original: str) -> None:
    """The published files have a ResNet-50 of timm, fc1, fc2 and out_proj: older names than what is saved today."""
    assert original_name(theirs) == original


@pytest.mark.parametrize("form", ["safetensors", "bin", "sharded", "state dict"])
def test_every_form_gives_the_same_tensors(form: str, hugging_face: Any, folder: Path, tmp_path: Path) -> None:
    expected = a_model()
    load_pretrained(expected, folder, verbose=False)
    source: Any = tmp_path
    if form == "safetensors":
        source = folder / "model.safetensors"
    elif form == "bin":
        torch.save(hugging_face.state_dict(), tmp_path / "pytorch_model.bin")
        source = tmp_path / "pytorch_model.bin"
    elif form == "sharded":
        hugging_face.save_pretrained(tmp_path, max_shard_size="10MB")
        assert (tmp_path / "model.safetensors.index.json").is_file()
    else:
        source = hugging_face.state_dict()
    model = a_model()
    load_pretrained(model, source, verbose=False)
    filled = {name: tensor for name, tensor in model.state_dict().items() if "_dsct" not in name}
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in filled.items())


def test_the_box_head_is_an_option(hugging_face: Any, folder: Path) -> None:
    model = a_model()
    report = load_pretrained(model, folder, reuse_box_head=True, verbose=False)
    assert all(name.startswith(("query_embed_dsct", "class_embed_dsct")) for name in report.missing)
    theirs = hugging_face.state_dict()["bbox_embed.0.layers.2.weight"]
    assert torch.equal(model.bbox_embed_dsct[0].layers[2].weight, theirs)


def test_convert_reads_sizes_from_the_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    result = CliRunner().invoke(app, ["convert", str(folder), str(out), "--preset", "paper_caer_s"])
    assert result.exit_code == 0, result.output
    model = dsct.load_model(out)
    assert {name: getattr(model.config, name) for name in SIZES} == SIZES
    assert model.config.num_context_queries == QUERIES
    expected = a_model()
    load_pretrained(expected, folder, verbose=False)
    assert torch.equal(model.query_embed.weight, expected.query_embed.weight)


def test_broken_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder without model\.safetensors"):
        read_checkpoint(tmp_path)
    index = {"weight_map": {"a": "../secret.bin"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="must name files of its own folder"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"names part\.safetensors, which is not there"):
        read_checkpoint(tmp_path)
