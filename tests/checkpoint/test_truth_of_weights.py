"""Weights that are not what they say are refused in a sentence that names the file or the tensor."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import dsct
from dsct import _dsct
from dsct.checkpoint import distinct_tensors, load_pretrained, metadata_of, read_checkpoint, save_released
from dsct.checkpoint.seal import sealed
from tests.comparison import small


@pytest.fixture
def model() -> dsct.DSCT:
    torch.manual_seed(0)
    return dsct.DSCT(small()).eval()


@pytest.fixture
def file(model: dsct.DSCT, tmp_path: Path) -> Path:
    dsct.save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_tensor_must_be_finite(model: dsct.DSCT, tmp_path: Path, value: float) -> None:
    tensors = {name: tensor.clone() for name, tensor in read_checkpoint_of(model, tmp_path).items()}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        kept = tensor.view(-1)[-1].item()
        tensor.view(-1)[-1] = value
        path = tmp_path / "broken.safetensors"
        safetensors.torch.save_file(tensors, path, dsct.checkpoint.native.metadata_of(model))
        message = f"{path}: {name} must be finite, got NaN or infinity"
        with pytest.raises(ValueError, match=message):
            dsct.load_model(path)
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            load_pretrained(dsct.DSCT(small()), tensors, verbose=False)
        tensor.view(-1)[-1] = kept
    assert dsct.load_model(tmp_path / "model.safetensors").config == model.config


def read_checkpoint_of(model: dsct.DSCT, folder: Path) -> dict[str, torch.Tensor]:
    dsct.save_model(model, folder / "model.safetensors")
    return read_checkpoint(folder / "model.safetensors").tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_of_other_sizes_too(model: dsct.DSCT, tmp_path: Path, dtype: torch.dtype) -> None:
    model.to(dtype)
    file, released = tmp_path / "model.safetensors", tmp_path / "released.pth"
    save_released(model, released)
    tensors = {name: each.detach().clone() for name, each in distinct_tensors(model).items()}
    tensors["transformer.level_embed"][0, 0] = math.nan
    safetensors.torch.save_file(tensors, file, metadata_of(model))
    with pytest.raises(ValueError, match="level_embed must be finite, got NaN or infinity in 1 of"):
        dsct.load_model(file)
    torch.save({**torch.load(released, weights_only=False), "model": tensors}, released)
    with pytest.raises(ValueError, match="level_embed must be finite"):
        load_pretrained(dsct.DSCT(small()), released, verbose=False)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_could_not_be_loaded_is_not_written(
    model: dsct.DSCT, tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    model.to(dtype)
    for write in (dsct.save_model, save_released):
        path = tmp_path / write.__name__
        write(model, path)
        before = path.read_bytes()
        broken = copy.deepcopy(model)
        with torch.no_grad():
            broken.transformer.level_embed[0, :2] = value
        said = f"^{path} is not written: transformer.level_embed must be finite, got NaN or infinity in 2 of"
        with pytest.raises(ValueError, match=said):
            write(broken, path)
        assert path.read_bytes() == before
        assert list(tmp_path.glob(f"{path.name}*")) == [path]
        with pytest.raises(ValueError, match="level_embed must be finite"):
            dsct.save_model(model, path, broken.state_dict())


def test_a_refused_file_leaves_the_model_as_it_was(model: dsct.DSCT) -> None:
    other = dsct.DSCT(small())
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    state = model.state_dict()
    state["transformer.decoder.layers.1.linear2.bias"] = state["transformer.decoder.layers.1.linear2.bias"] * math.nan
    with pytest.raises(ValueError, match=r"layers\.1\.linear2\.bias must be finite"):
        load_pretrained(other, state, verbose=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_what_is_not_used_may_be_anything(model: dsct.DSCT) -> None:
    """Official files carry buffers that no model of ours has."""
    state = {
        **model.state_dict(),
        "backbone.0.body.bn1.num_batches_tracked": torch.tensor(3),
        "extra": torch.tensor([math.nan]),
    }
    report = load_pretrained(dsct.DSCT(small()), state, verbose=False)
    assert "extra" in report.skipped


def error_of(file: Path) -> str | None:
    try:
        dsct.load_model(file)
    except ValueError as error:
        return str(error)
    return None


def test_any_flipped_bit_is_noticed(file: Path) -> None:
    """In the length, the header or the values: one sentence that names the file, from Python and from Rust."""
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    places = [
        0,
        3,
        8,
        header - 1,
        header,
        len(content) - 1,
        *random.integers(0, header, 60),
        *random.integers(header, len(content), 60),
    ]
    unnoticed = []
    for place in map(int, places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        file.write_bytes(flipped)
        if (error := error_of(file)) is None:
            unnoticed.append(place)
        else:
            assert str(file) in error
            assert "\n" not in error
        if place >= header:
            with pytest.raises(ValueError, match="digest"):
                _dsct.standalone_model(str(file), torch.zeros(1, 3, 32, 32), None)
    # Only the name of the digest itself may change: then there is none to compare with.
    name = content.index(b"dsct_weights_sha256")
    assert all(name <= place < name + 19 for place in unnoticed), unnoticed


def test_a_digest_that_does_not_fit(file: Path, model: dsct.DSCT) -> None:
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert len(metadata["dsct_weights_sha256"]) == 64
    tensors = dict(read_checkpoint(file).tensors)
    tensors["query_embed.weight"] = tensors["query_embed.weight"] + 1
    safetensors.torch.save_file(tensors, file, metadata)
    for read in (read_checkpoint, dsct.load_model, lambda path: load_pretrained(model, path, verbose=False)):
        with pytest.raises(ValueError, match="its content does not have the digest stored with it"):
            read(file)


def test_files_without_a_digest_are_read(file: Path) -> None:
    """As other programs and earlier versions write them."""
    with safetensors.safe_open(file, "pt") as opened:
        metadata = {key: text for key, text in opened.metadata().items() if key != "dsct_weights_sha256"}
    tensors = read_checkpoint(file).tensors
    safetensors.torch.save_file(tensors, file, metadata)
    loaded = dsct.load_model(file)
    assert torch.equal(loaded.state_dict()["query_embed.weight"], tensors["query_embed.weight"])


def test_safetensors_reads_what_is_sealed() -> None:
    tensors = {
        "b": torch.arange(6.0).view(2, 3),
        "a": torch.tensor([True]),
        "c": torch.zeros(0, 2, dtype=torch.bfloat16),
    }
    content = sealed(tensors, {"key": 'text "quoted" ä'})
    found = safetensors.torch.load(content)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_equal_models_are_equal_files(file: Path, tmp_path: Path) -> None:
    """Also from other processes, whose strings have other hashes."""
    program = (
        "import sys, torch, dsct; from tests.comparison import small; torch.manual_seed(0); "
        "dsct.save_model(dsct.DSCT(small()).eval(), sys.argv[1])"
    )
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True, timeout=120)
        assert path.read_bytes() == file.read_bytes()


def test_thresholds_must_be_finite(model: dsct.DSCT, file: Path) -> None:
    metadata = {
        **dsct.checkpoint.native.metadata_of(model),
        "dsct_thresholds": json.dumps([math.nan] * model.config.num_classes),
    }
    file.write_bytes(sealed(read_checkpoint(file).tensors, metadata))
    with pytest.raises(ValueError, match="dsct_thresholds must be 5 finite numbers"):
        dsct.load_model(file)


def test_a_training_state_with_a_flipped_bit(tmp_path: Path, model: dsct.DSCT) -> None:
    """PyTorch's archive has a checksum of each tensor, which torch itself does not compare."""
    save_released(model, tmp_path / "state.pth")
    content = (tmp_path / "state.pth").read_bytes()
    value = model.state_dict()["transformer.encoder.layers.0.linear1.weight"].numpy().tobytes()
    place = content.index(value) + 5
    flipped = bytearray(content)
    flipped[place] ^= 4
    (tmp_path / "state.pth").write_bytes(flipped)
    with pytest.raises(
        ValueError, match=r"state\.pth is damaged or was changed: .*data/\d+ in it does not have the checksum"
    ):
        dsct.load_model(tmp_path / "state.pth")


def test_a_header_of_any_length_is_known_by_its_content(tmp_path: Path) -> None:
    """One whose length begins with the byte that pickles begin with."""
    for length in range(100, 160):
        path = tmp_path / "weights.bin"
        path.write_bytes(sealed({"weight": torch.zeros(3)}, {"note": "x" * length}))
        assert read_checkpoint(path).tensors["weight"].shape == (3,)


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(tmp_path: Path) -> None:
    """PyTorch stores tensors as they are: a small file that claims much is an attack on memory."""
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "stored.pth")
    with zipfile.ZipFile(tmp_path / "stored.pth") as stored:
        content = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    assert (tmp_path / "packed.pth").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"packed\.pth .*its entries claim 40\d+ bytes, the file has \d+"):
        read_checkpoint(tmp_path / "packed.pth")
