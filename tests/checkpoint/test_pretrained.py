"""Starting from foreign weights: what is copied, renamed, cut, left out, and that the report says so."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

import dsct
from dsct.checkpoint import distinct_tensors, load_pretrained, save_model
from dsct.config import DSCTConfig

SMALL: dict[str, Any] = {"num_context_queries": 6, "k_spatial": 3, "k_semantic": 2, "enc_layers": 1, "dropout": 0.1}
CONFIG = DSCTConfig.tiny(**SMALL)


def a_model(seed: int = 1, **overrides: Any) -> Any:
    torch.manual_seed(seed)
    return dsct.DSCT(DSCTConfig.tiny(**{**SMALL, **overrides}))


def released(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(
        {"model": state, "optimizer": {}, "lr_scheduler": {}, "epoch": 49, "args": argparse.Namespace(lr=1)}, path
    )
    return path


def deformable_detr(model: Any, queries: int) -> dict[str, torch.Tensor]:
    """The state dict of a Deformable DETR with the encoder, decoder and backbone of `model`, for 91 classes."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "_dsct" not in name}
    width = model.config.hidden_dim
    state["query_embed.weight"] = torch.randn(queries, 2 * width)
    for layer in range(model.config.dec_layers):
        state[f"class_embed.{layer}.weight"] = torch.randn(91, width)
        state[f"class_embed.{layer}.bias"] = torch.randn(91)
        for name, tensor in model.bbox_embed_dsct[0].state_dict().items():
            state[f"bbox_embed.{layer}.{name}"] = tensor.clone()
    return state


def test_released_checkpoint_is_reused_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = a_model(seed=1), a_model(seed=2)
    report = load_pretrained(model, released(tmp_path / "dsct.pth", source.state_dict()))
    assert set(report.reused) == set(distinct_tensors(model))
    assert (report.layout, report.renamed, report.reshaped, report.skipped, report.missing) == ("DSCT", {}, {}, {}, ())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert capsys.readouterr().out == f"{report}\n"


def test_native_file_into_another_size_of_the_problem(tmp_path: Path) -> None:
    source = a_model(num_subject_queries=8)
    save_model(source, tmp_path / "model.safetensors")
    model = a_model(seed=2, num_subject_queries=5, num_classes=9)
    untouched = model.class_embed_dsct[0].weight.clone()
    report = load_pretrained(model, tmp_path / "model.safetensors", verbose=False)
    assert report.reshaped == {"query_embed_dsct.weight": ((8, 128), (5, 128))}
    assert torch.equal(model.query_embed_dsct.weight, source.query_embed_dsct.weight[:5])
    reason = "7 logits in the file, 9 in the model (without person)"
    assert report.skipped == {"class_embed_dsct.0.weight": reason, "class_embed_dsct.0.bias": reason}
    assert set(report.missing) == set(report.skipped)
    assert torch.equal(model.class_embed_dsct[0].weight, untouched)


@pytest.mark.parametrize(("old", "new"), [(8, 5), (5, 8), (3, 3)])
def test_rows_of_subject_queries_that_both_have_are_copied(old: int, new: int, tmp_path: Path) -> None:
    source, model = a_model(seed=1, num_subject_queries=old), a_model(seed=2, num_subject_queries=new)
    before = model.query_embed_dsct.weight.detach().clone()
    path = released(tmp_path / "dsct.pth", source.state_dict())
    report = str(load_pretrained(model, path, verbose=False))
    rows = min(old, new)
    assert torch.equal(model.query_embed_dsct.weight[:rows], source.query_embed_dsct.weight[:rows])
    assert torch.equal(model.query_embed_dsct.weight[rows:], before[rows:])
    assert ("reshaped" in report.partition("\n")[2]) == (old != new)
    assert ("rows 5 to 7 left as they were" in report) == (new > old)


@pytest.mark.parametrize("context", [6, 300, 310])
def test_deformable_detr_gives_everything_but_its_heads(context: int, tmp_path: Path) -> None:
    model = a_model(seed=2, num_context_queries=context)
    before = model.query_embed.weight.detach().clone()
    state = deformable_detr(a_model(seed=1), queries=300)
    report = load_pretrained(model, released(tmp_path / "detr.pth", state), verbose=False)
    assert report.layout == "Deformable DETR"
    rows = min(context, 300)
    assert torch.equal(model.query_embed.weight[:rows], state["query_embed.weight"][:rows])
    assert torch.equal(model.query_embed.weight[rows:], before[rows:])
    assert ("query_embed.weight" in report.reused) == (context == 300)
    assert report.reshaped == ({} if context == 300 else {"query_embed.weight": ((300, 128), (context, 128))})
    assert {name.split(".")[0] for name in report.skipped} == {"class_embed", "bbox_embed"}
    assert all("_dsct" in name for name in report.missing)
    assert "query_embed_dsct.weight" in report.missing
    copied = model.transformer.encoder.layers[0].linear1.weight
    assert torch.equal(copied, state["transformer.encoder.layers.0.linear1.weight"])


def test_box_head_of_deformable_detr_is_an_option(tmp_path: Path) -> None:
    state = deformable_detr(a_model(seed=1), queries=6)
    for name in [name for name in state if name.startswith("bbox_embed.")]:
        state[name] = state[name.replace("bbox_embed.1", "bbox_embed.0")] + 1
    model = a_model(seed=2)
    path = released(tmp_path / "detr.pth", state)
    report = load_pretrained(model, path, reuse_box_head=True, verbose=False)
    assert report.renamed["bbox_embed.0.layers.0.weight"] == "bbox_embed_dsct.0.layers.0.weight"
    assert torch.equal(model.bbox_embed_dsct[1].layers[0].weight, state["bbox_embed.0.layers.0.weight"])
    # A head of its own per layer has no place in the model: said, not dropped in silence.
    assert "another value" in report.skipped["bbox_embed.1.layers.0.weight"]


def test_a_shared_head_is_found_under_any_of_its_names() -> None:
    source, model = a_model(seed=1), a_model(seed=2)
    state = {name: tensor for name, tensor in source.state_dict().items() if "class_embed_dsct.0." not in name}
    report = load_pretrained(model, state, verbose=False)
    assert report.renamed["class_embed_dsct.1.weight"] == "class_embed_dsct.0.weight"
    assert (report.skipped, report.missing) == ({}, ())
    assert torch.equal(model.class_embed_dsct[0].weight, source.class_embed_dsct[0].weight)


def test_numbers_of_heads_that_no_shape_shows_are_a_warning(tmp_path: Path) -> None:
    state, model = a_model(seed=1).state_dict(), a_model(seed=2)
    heads = model.config.nheads
    for nheads, expected in (
        (heads, ()),
        (2 * heads, (f"nheads is {2 * heads} in the file and {heads} in the model",)),
    ):
        options = argparse.Namespace(nheads=nheads, enc_n_points=model.config.enc_n_points, lr=1e-4)
        torch.save({"model": state, "args": options}, tmp_path / "dsct.pth")
        assert load_pretrained(model, tmp_path / "dsct.pth", verbose=False).warnings == expected


def test_torchvision_resnet_fills_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    model = a_model(backbone="resnet18")
    report = load_pretrained(model, tmp_path / "resnet18.pth", verbose=False)
    assert report.layout == "torchvision ResNet"
    assert report.renamed["layer4.1.bn2.running_var"] == "backbone.0.body.layer4.1.bn2.running_var"
    assert not [name for name in report.missing if name.startswith("backbone.")]
    reasons = {name: reason for name, reason in report.skipped.items() if "num_batches_tracked" not in name}
    assert reasons == dict.fromkeys(("fc.weight", "fc.bias"), "no such tensor in the model")
    body = model.state_dict()
    assert torch.equal(body["backbone.0.body.conv1.weight"], resnet.conv1.weight)


def test_what_does_not_fit_at_all_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    model = a_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save({"encoder.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"must hold a state dict of DSCT, .* got encoder\.weight"):
        load_pretrained(model, tmp_path / "other.pth")
    torch.save({"conv1.weight": torch.ones(1), "layer1.0.conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"has another backbone \(backbone.*, the model has tiny: .* not loaded$"):
        load_pretrained(model, tmp_path / "resnet.pth")
    torch.save({"query_embed_dsct.weight": torch.ones(2, 2)}, tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match=r"nothing in .* fits the model"):
        load_pretrained(model, tmp_path / "narrow.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_report_reads_well(tmp_path: Path) -> None:
    state = deformable_detr(a_model(seed=1), queries=300)
    report = str(load_pretrained(a_model(), released(tmp_path / "detr.pth", state), verbose=False))
    assert report.startswith("Deformable DETR: ")
    assert "query_embed.weight (300, 128) -> (6, 128): rows 0 to 5 copied" in report
    assert "class_embed.* (4), bbox_embed.* (12): a head for other classes, not reused" in report
    assert "query_embed_dsct.weight, class_embed_dsct.* (2), bbox_embed_dsct.* (6): not filled from the file" in report


def test_class_rows_of_known_names_are_kept(tmp_path: Path) -> None:
    source = a_model(seed=1)
    save_model(source, tmp_path / "model.safetensors")
    model = a_model(seed=2, num_classes=3, class_names=("bored", "Sad", "Anger"))
    untouched = model.class_embed_dsct[0].weight[0].clone()
    report = load_pretrained(model, tmp_path / "model.safetensors", verbose=False)
    rows = [source.config.names.index(name) for name in ("Sad", "Anger")]
    assert torch.equal(model.class_embed_dsct[0].weight[1:], source.class_embed_dsct[0].weight[rows])
    assert torch.equal(model.class_embed_dsct[0].bias[1:], source.class_embed_dsct[0].bias[rows])
    assert torch.equal(model.class_embed_dsct[0].weight[0], untouched)
    assert report.rows_copied["class_embed_dsct.0.weight"] == "copied Sad, Anger; left as they were bored"


@pytest.mark.parametrize("known", ["file", "model"])
def test_class_head_stays_where_names_are_known_on_one_side_only(known: str, tmp_path: Path) -> None:
    named: dict[str, Any] = {"num_classes": 3, "class_names": ("calm", "Sad", "Anger")}
    sizes = [named, {"num_classes": 4}]
    source_size, model_size = sizes if known == "file" else sizes[::-1]
    save_model(a_model(seed=1, **source_size), tmp_path / "model.safetensors")
    model = a_model(seed=2, **model_size)
    before = model.class_embed_dsct[0].weight.clone()
    report = load_pretrained(model, tmp_path / "model.safetensors", verbose=False)
    assert torch.equal(model.class_embed_dsct[0].weight, before)
    numbers = [size["num_classes"] for size in (source_size, model_size)]
    expected = f"{numbers[0]} logits in the file, {numbers[1]} in the model"
    assert report.skipped["class_embed_dsct.0.weight"].startswith(expected)


def test_classes_with_nothing_in_common_are_left_out(tmp_path: Path) -> None:
    save_model(a_model(seed=1), tmp_path / "model.safetensors")
    model = a_model(seed=2, num_classes=7, class_names=tuple("abcdefg"))
    report = load_pretrained(model, tmp_path / "model.safetensors", verbose=False)
    assert report.skipped["class_embed_dsct.0.bias"] == "no class in common: 7 in the file, 7 in the model"


def test_class_rows_follow_names_when_only_their_order_changes(tmp_path: Path) -> None:
    source = a_model(seed=1)
    save_model(source, tmp_path / "model.safetensors")
    names = source.config.names
    model = a_model(seed=2, class_names=names[::-1])
    load_pretrained(model, tmp_path / "model.safetensors", verbose=False)
    assert torch.equal(model.class_embed_dsct[0].weight, source.class_embed_dsct[0].weight.flip(0))


def test_a_state_dict_is_a_source_and_wrappers_leave_its_names() -> None:
    source, model = a_model(seed=1), a_model(seed=2)
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in source.state_dict().items()}
    report = load_pretrained(model, wrapped, verbose=False)
    assert report.missing == ()
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(TypeError, match="source must map names to tensors"):
        load_pretrained(model, {"epoch": 3})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="source must be a path or a state dict, got NoneType"):
        load_pretrained(model, None)  # type: ignore[arg-type]


def test_a_name_with_and_without_its_wrapper_is_refused() -> None:
    state = a_model().state_dict()
    twice = {**state, "_orig_mod.query_embed.weight": state["query_embed.weight"]}
    with pytest.raises(ValueError, match=r"holds tensors twice, with and without '_orig_mod\.'"):
        load_pretrained(a_model(), twice, verbose=False)


def test_a_table_without_rows_gives_none() -> None:
    state = {**a_model(seed=1).state_dict(), "query_embed.weight": torch.ones(0, 128)}
    report = load_pretrained(a_model(seed=2), state, verbose=False)
    assert report.skipped == {"query_embed.weight": "shape (0, 128), the model has (6, 128)"}
    assert report.missing == ("query_embed.weight",)
