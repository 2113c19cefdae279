"""The native file, and safe reading of foreign ones."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import dsct
from dsct.checkpoint import distinct_tensors, load_model, read_checkpoint, save_model, shared_names
from dsct.complete_files import replaced_when_complete
from dsct.config import DSCTConfig

CONFIG = DSCTConfig.tiny(num_context_queries=6, k_spatial=3, k_semantic=2, enc_layers=1, dec_layers=3, dropout=0.1)


def a_model() -> Any:
    torch.manual_seed(1)
    return dsct.DSCT(CONFIG)


def test_the_folder_of_a_run_stands_for_its_best_weights(tmp_path: Path) -> None:
    model = a_model()
    save_model(model, tmp_path / "best.safetensors")
    (tmp_path / "config.json").write_text('{"data": {}}')  # not that of a Hugging Face model
    assert torch.equal(load_model(tmp_path).query_embed_dsct.weight, model.query_embed_dsct.weight)
    other = dsct.DSCT(CONFIG)
    assert not dsct.load_pretrained(other, tmp_path, verbose=False).missing
    assert torch.equal(other.query_embed_dsct.weight, model.query_embed_dsct.weight)


def test_round_trip(tmp_path: Path) -> None:
    model = a_model()
    save_model(model, tmp_path / "new" / "model.safetensors")
    loaded = load_model(tmp_path / "new" / "model.safetensors")
    assert loaded.config == CONFIG
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    images = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images)["pred_logits"], model.eval()(images)["pred_logits"])


def test_shared_heads_are_written_once(tmp_path: Path) -> None:
    model = a_model()
    save_model(model, tmp_path / "model.safetensors")
    names = set(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert "class_embed_dsct.0.weight" in names
    assert "class_embed_dsct.1.weight" not in names
    assert names == set(distinct_tensors(model))
    assert shared_names(model)["bbox_embed_dsct.2.layers.1.bias"] == "bbox_embed_dsct.0.layers.1.bias"
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.state_dict(keep_vars=True)["class_embed_dsct.2.bias"] is loaded.class_embed_dsct[0].bias


def test_input_size_and_thresholds_travel_along(tmp_path: Path) -> None:
    model = a_model()
    save_model(model, tmp_path / "plain.safetensors")
    assert getattr(load_model(tmp_path / "plain.safetensors"), "thresholds", None) is None
    model.preprocess = {"short_side": 240, "long_side": 1333}
    model.thresholds = [0.1 * i for i in range(7)]
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.preprocess == model.preprocess
    assert loaded.thresholds == model.thresholds


def test_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with replaced_when_complete(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    with replaced_when_complete(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("wrapper", ["model", "state_dict", None])
def test_reads_pytorch_files(wrapper: str | None, tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in a_model().state_dict().items()}
    content = {wrapper: state, "epoch": 3, "args": argparse.Namespace(lr=2e-4)} if wrapper else state
    torch.save(content, tmp_path / "file.pth")
    checkpoint = read_checkpoint(tmp_path / "file.pth")
    assert checkpoint.config is None
    assert checkpoint.tensors.keys() == a_model().state_dict().keys()
    with pytest.raises(ValueError, match="without a dsct configuration"):
        load_model(tmp_path / "file.pth")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": Malicious(tmp_path / "pwned")}, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"no readable PyTorch file of plain tensors: it would call \S*mkdir$"):
        read_checkpoint(tmp_path / "file.pth")
    assert not (tmp_path / "pwned").exists()


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        load_model(tmp_path / "absent.safetensors")
    for name in ("noise.safetensors", "noise.pth"):
        (tmp_path / name).write_bytes(b"0123456789" * 10)
        with pytest.raises(ValueError, match="no readable"):
            load_model(tmp_path / name)
    for content in (
        b"",
        b"root:x:0:0:root:/root:/bin/bash\n",
        b"q\x00.",
        b"\x80\x02K\x05.",
        b"PK\x03\x04" + b"\0" * 40,
    ):
        (tmp_path / "noise.pth").write_bytes(content)
        with pytest.raises(ValueError, match="no readable"):
            load_model(tmp_path / "noise.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold a dictionary"):
        load_model(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_model(tmp_path / "empty.pth")


def test_tensors_that_contradict_the_configuration_are_named(tmp_path: Path) -> None:
    model = a_model()
    tensors = distinct_tensors(model)
    metadata = {"dsct_config": CONFIG.to_json()}
    absent = {name: tensor.detach() for name, tensor in tensors.items() if name != "query_embed.weight"}
    safetensors.torch.save_file({**absent, "extra": torch.ones(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match=r"missing \['query_embed.weight'\], unknown \['extra'\]"):
        load_model(tmp_path / "a.safetensors")
    safetensors.torch.save_file({**absent, "query_embed.weight": torch.ones(1)}, tmp_path / "b.safetensors", metadata)
    with pytest.raises(ValueError, match=r"does not fit.*\n.*size mismatch for query_embed.weight"):
        load_model(tmp_path / "b.safetensors")


@pytest.mark.parametrize("text", ["nope", "[]", '{"num_classes": "x"}', '{"num_classes": 0}'])
@pytest.mark.parametrize("digest", [{}, {"dsct_config_sha256": "0"}])
def test_a_broken_configuration_names_the_file(text: str, digest: dict[str, str], tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"dsct_config": text, **digest})
    with pytest.raises(
        ValueError, match=r"a\.safetensors(: dsct_config: not JSON| holds no valid dsct configuration): "
    ):
        read_checkpoint(tmp_path / "a.safetensors")
