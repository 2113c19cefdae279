"""Every model of transformers with deformable attention is exchanged or named, as the documentation says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

import dsct
from dsct.interop.attention import accelerate_attention, exchanged_modules
from dsct.interop.transformers import accelerate
from tests.interop.hugging_face_models import BUILDERS, models_with_deformable_attention, small_model

PAGE = Path(__file__).parents[2] / "docs/how-to/drop_in.md"


def test_the_documentation_lists_what_there_is() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \| (yes|no)\b", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: answer == "yes" for names, answer in rows for name in re.findall(r"`(\w+)`", names)}
    found = models_with_deformable_attention()
    assert {name: listed.get(name) for name in found} == found
    assert set(BUILDERS) == set(listed)


@pytest.mark.parametrize("folder", BUILDERS)
def test_a_small_random_model(folder: str) -> None:
    samples_in_a_module = models_with_deformable_attention().get(folder)
    if samples_in_a_module is None:
        pytest.skip(f"the installed transformers has no {folder}")
    model, trial = small_model(folder)
    classes = [type(module) for module in model.modules()]
    if samples_in_a_module:
        result = accelerate(model, trial=trial, verbose=False)
        assert len(result.exchanged) >= 2
        assert result.difference < 1e-4
        assert len(exchanged_modules(model)) == len(result.exchanged)
    else:
        with pytest.raises(
            ValueError, match=r"found none in .*; nothing exchanged: .* a function .* can call dsct\.ops\."
        ):
            accelerate(model, trial=trial, verbose=False)
        with pytest.warns(UserWarning, match=r"DeformableAttention\) left as it was: .* by a function"):
            assert accelerate_attention(model) == {}
        assert [type(module) for module in model.modules()] == classes


@pytest.mark.parametrize("folder", ["lw_detr", "omdet_turbo"])
def test_the_size_of_the_image_is_the_models_own(folder: str) -> None:
    model, trial = small_model(folder)
    images = {"pixel_values": trial.pop("pixel_values")}
    seen: list[torch.Size] = []
    model.register_forward_pre_hook(
        lambda _m, args, kwargs: seen.append((*args, *kwargs.values())[0].shape), with_kwargs=True
    )
    if trial:  # it needs words, too, and says so
        with pytest.raises(ValueError, match=r"must run on the trial: give its inputs as trial=\{\.\.\.\}"):
            accelerate(model, verbose=False)
    else:
        accelerate(model, verbose=False)
    assert seen[0] == images["pixel_values"].shape


@pytest.mark.parametrize("folder", ["mask2former", "oneformer"])
def test_a_function_that_calls_the_operator_as_the_documentation_says(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, trial = small_model(folder)
    modeling = sys.modules[type(model).__module__]
    with torch.no_grad():
        expected = model(**trial)
        monkeypatch.setattr(
            modeling, "multi_scale_deformable_attention",
            lambda value, shapes, locations, weights: dsct.ops.ms_deform_attn(value, shapes, None, locations, weights),
        )  # fmt: skip
        found = model(**trial)
    names = ("class_queries_logits", "masks_queries_logits")
    torch.testing.assert_close([found[name] for name in names], [expected[name] for name in names],
                               rtol=1e-3, atol=1e-4)  # fmt: skip
    assert not all(torch.equal(found[name], expected[name]) for name in names)
