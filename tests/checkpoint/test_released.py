"""Weights for the released code, and files that mean harm or are half there."""

from __future__ import annotations

import argparse
import errno
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import dsct
from dsct.checkpoint import config_digest, load_model, read_checkpoint, save_model, save_released
from dsct.checkpoint.seal import WEIGHTS_KEY
from dsct.complete_files import replaced_when_complete
from dsct.config import DSCTConfig

SMALL: dict[str, Any] = {"num_context_queries": 6, "k_spatial": 3, "k_semantic": 2}


def a_model(**changes: Any) -> dsct.DSCT:
    torch.manual_seed(3)
    return dsct.DSCT(DSCTConfig.tiny(**{**SMALL, **changes}))


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_round_trip_through_every_format_is_equal_to_the_bit(tmp_path: Path) -> None:
    model = a_model(person_class=True)
    save_released(model, tmp_path / "a.pth", epoch=7)
    save_model(load_model(tmp_path / "a.pth"), tmp_path / "b.safetensors")
    save_released(load_model(tmp_path / "b.safetensors"), tmp_path / "c.pth", epoch=7)
    first, last = (torch.load(tmp_path / name, weights_only=False) for name in ("a.pth", "c.pth"))
    assert_same(first["model"], model.state_dict())
    assert_same(last["model"], first["model"])
    assert last["args"] == first["args"]
    assert load_model(tmp_path / "c.pth").config == model.config


def test_the_released_code_finds_what_it_reads(tmp_path: Path) -> None:
    save_released(a_model(person_class=True, num_subject_queries=5), tmp_path / "model.pth", epoch=3)
    content = torch.load(tmp_path / "model.pth", weights_only=False)
    options = content["args"]
    assert isinstance(options, argparse.Namespace)
    assert (content["epoch"], options.num_queries, options.dec_n_sp, options.dec_n_sm) == (3, 5, 3, 2)
    assert options.num_classes == 8
    heads = [name for name in content["model"] if name.startswith("class_embed_dsct.") and name.endswith(".weight")]
    assert heads == ["class_embed_dsct.0.weight", "class_embed_dsct.1.weight"]
    save_released(a_model(fusion_layers=()), tmp_path / "plain.pth")
    assert torch.load(tmp_path / "plain.pth", weights_only=False)["args"].dec_n_sp == 0


def test_parameters_that_the_released_code_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attentive"):
        save_released(a_model(reweighting="attentive"), tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("form", ["archive", "legacy", "bare pickle"])
def test_hostile_files_are_refused_and_run_nothing(form: str, tmp_path: Path) -> None:
    content = {"model": {"a": torch.ones(1)}, "args": Harm(tmp_path / "harm")}
    path = tmp_path / "model.pth"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"model": {}, "args": Harm(tmp_path / "harm")}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "archive")
    with pytest.raises(ValueError, match=r"model\.pth is no readable PyTorch file of plain tensors"):
        read_checkpoint(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_torn_files_are_named(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    (save_released if suffix == ".pth" else save_model)(a_model(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"model\{suffix} is no readable"):
        read_checkpoint(path)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    model = a_model()
    save_model(model, tmp_path / "model.pth")
    assert_same(load_model(tmp_path / "model.pth").state_dict(), model.state_dict())


@pytest.mark.parametrize(("code", "expected"), [(errno.EINVAL, ValueError), (errno.EIO, OSError)])
def test_a_seek_out_of_a_torn_file_is_told_from_a_failing_disk(
    code: int, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise OSError(code, os.strerror(code))

    save_released(a_model(), tmp_path / "model.pth")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(expected, match=os.strerror(code)) as caught:
        read_checkpoint(tmp_path / "model.pth")
    assert isinstance(caught.value, ValueError) == ("is no readable PyTorch file" in str(caught.value))


@pytest.mark.parametrize("name", ["empty.pth", "empty.safetensors", "empty.bin"])
def test_empty_files_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is no readable"):
        read_checkpoint(tmp_path / name)


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth must be a file or a folder"):
        read_checkpoint(tmp_path / "model.pth")


def test_tensors_that_claim_more_than_they_hold_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1).expand(2**40)}}, tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match="claims shape"):
        read_checkpoint(tmp_path / "bomb.pth")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}).encode()
    (tmp_path / "bomb.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="no readable safetensors file"):
        read_checkpoint(tmp_path / "bomb.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_full_disk_leaves_the_file_before(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"model{suffix}"
    save = save_released if suffix == ".pth" else save_model
    save(a_model(), path)
    before = path.read_bytes()

    def full(self: Path, content: Any) -> int:
        with self.open("wb") as file:
            file.write(bytes(content)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(a_model(num_subject_queries=3), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_swept_later(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.bin.1.partial", tmp_path / ".a.bin.2.partial"
    for partial in (old, young):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))
    with replaced_when_complete(tmp_path / "a.bin") as partial:
        partial.write_bytes(b"whole")
    assert not old.exists()
    assert young.exists()
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_a_configuration_is_tied_to_its_weights(tmp_path: Path) -> None:
    model = a_model()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    metadata = read_checkpoint(path).metadata
    assert metadata["dsct_config_sha256"] == config_digest(model.config.to_json())
    changed = metadata["dsct_config"].replace('"nheads": 4', '"nheads": 2')
    assert changed != metadata["dsct_config"]
    tensors = {name: tensor.contiguous() for name, tensor in read_checkpoint(path).tensors.items()}
    safetensors.torch.save_file(tensors, path, {**metadata, "dsct_config": changed})
    with pytest.raises(ValueError, match="does not have the digest stored with it"):
        load_model(path)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("dsct_config", "{", "dsct_config: not JSON"),
        ("dsct_config", "[" * 100_000, "dsct_config: not JSON"),
        ("dsct_preprocess", "[800, 1333]", "dsct_preprocess must be a dictionary, got list"),
        ("dsct_thresholds", "[0.5", "dsct_thresholds: not JSON"),
        (
            "dsct_thresholds",
            "[0.5, 0.5]",
            r"dsct_thresholds must be 7 finite numbers, one per class, got \[0\.5, 0\.5\]",
        ),
        ("dsct_thresholds", '["a", "b", "c", "d", "e", "f", "g"]', "dsct_thresholds must be 7 finite numbers"),
    ],
)
def test_metadata_that_cannot_be_used_are_named(key: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(a_model(), path)
    checkpoint = read_checkpoint(path)
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    metadata = {name: value for name, value in checkpoint.metadata.items() if name != WEIGHTS_KEY}
    safetensors.torch.save_file(tensors, path, {**metadata, key: text})
    with pytest.raises(ValueError, match=rf"model\.safetensors: {message}"):
        load_model(path)


@pytest.mark.parametrize("field", ["hidden_dim", "num_subject_queries", "num_context_queries", "dim_feedforward"])
def test_a_configuration_cannot_ask_for_more_than_the_tensors_have(field: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(a_model(), path)
    checkpoint = read_checkpoint(path)
    claim = {**json.loads(checkpoint.metadata["dsct_config"]), field: 2**40}
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    safetensors.torch.save_file(tensors, path, {"dsct_config": json.dumps(claim)})
    with pytest.raises(ValueError, match=f"does not fit its own configuration: {field} is {2**40}, its tensors have"):
        load_model(path)


def test_thresholds_of_other_classes_are_not_written(tmp_path: Path) -> None:
    model = a_model()
    model.thresholds = [0.5] * 26
    for save in (save_model, save_released):
        with pytest.raises(ValueError, match=r"model\.thresholds must be 7 finite numbers, one per class"):
            save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": torch.ones(1)}, r"missing none, unknown extra"),
        ({"query_embed.weight": None}, r"missing query_embed\.weight, unknown none"),
        ({"query_embed.weight": torch.ones(1)}, r"query_embed\.weight: got \(1,\), the model has \(6, 128\)"),
        ({"class_embed_dsct.1.bias": torch.full((7,), 9.0)}, r"dsct\.1\.bias is not class_embed_dsct\.0\.bias"),
    ],
)  # fmt: skip
def test_tensors_of_another_model_are_not_written(
    changes: dict[str, torch.Tensor | None], message: str, tmp_path: Path
) -> None:
    model = a_model()
    tensors = {name: tensor for name, tensor in {**model.state_dict(), **changes}.items() if tensor is not None}
    with pytest.raises(ValueError, match=rf"save_model: tensors must .*{message}"):
        save_model(model, tmp_path / "model.safetensors", tensors)
    assert not list(tmp_path.iterdir())


def test_whole_tensors_can_be_handed_in(tmp_path: Path) -> None:
    model = a_model()
    doubled = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    save_model(model, tmp_path / "model.safetensors", doubled)
    assert_same(load_model(tmp_path / "model.safetensors").state_dict(), doubled)


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(OSError, match=r"a\.bin") as caught, replaced_when_complete(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
