"""The whole model: equal to the reference, names, sizes, trace, bad input."""

from __future__ import annotations

import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrizations

import dsct
from dsct.config import DSCTConfig
from tests.comparison import assert_same, backward, gradients, padded_images, randomise, small
from tests.reference.dsct import DSCT as ReferenceDSCT

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded", "person_class": True},
    "all context": {"selection": ()},
    "spatial only": {"selection": ("spatial",)},
    "semantic only, split": {"selection": ("semantic",), "aggregation": "split"},
    "attentive": {"reweighting": "attentive"},
    "equal, split": {"reweighting": "equal", "aggregation": "split"},
    "by distance": {"reweighting": "spatial"},
    "late fusion": {"fusion_layers": (1,)},
    "fusion off": {"fusion_layers": ()},
    "no context queries": {"num_context_queries": 0},
    "more than there are": {"k_spatial": 100, "k_semantic": 100},
    "nothing selected": {"k_spatial": 0, "k_semantic": 0},
    "one level": {"num_feature_levels": 1},
    "five levels": {"num_feature_levels": 5},
    "multi-label": {"multi_label": True, "num_classes": 26},
}


def twins(**overrides: Any) -> tuple[dsct.DSCT, ReferenceDSCT]:
    config = small(**overrides)
    model, reference = dsct.DSCT(config).double(), ReferenceDSCT(config).double()
    randomise(model)
    reference.load_state_dict(model.state_dict(), strict=True)
    return model, reference


@pytest.mark.parametrize("padded", [False, True], ids=["no mask", "mask"])
@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_equals_the_reference(overrides: dict[str, Any], padded: bool) -> None:
    model, reference = twins(**overrides)
    images, mask = padded_images()
    ours, trace = model(images, mask if padded else None, return_trace=True)
    theirs, expected_trace = reference(images, mask if padded else None, return_trace=True)
    assert_same(ours, theirs)
    assert_same(trace, expected_trace)
    backward(ours)
    backward(theirs)
    expected = gradients(reference)
    for name, gradient in gradients(model).items():
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if gradient is None else gradient,
            zero if expected[name] is None else expected[name],
            rtol=1e-8, atol=1e-8, msg=name, check_dtype=False,
        )  # fmt: skip


def test_backbone_of_a_resnet() -> None:
    model, reference = twins(backbone="resnet18", train_backbone="layers2-4")
    images, mask = padded_images()
    assert_same(model(images, mask), reference(images, mask), 1e-9)
    model(images, mask)["pred_logits"].sum().backward()
    assert model.backbone[0].body.conv1.weight.grad is None
    assert model.backbone[0].body.layer2[0].conv1.weight.grad is not None


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("resnet18", 22), ("resnet34", 33), ("resnet50", 39), ("resnet101", 58), ("resnet152", 74),
     ("wide_resnet50_2", 82), ("wide_resnet101_2", 140)],
)  # fmt: skip
def test_trainable_parameters_are_those_of_table_9(backbone: str, millions: int) -> None:
    with torch.device("meta"):
        model = dsct.DSCT(DSCTConfig.official_emotic(backbone=backbone))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert abs(int(trainable / 1e6) - millions) <= 1


def test_state_dict_names_are_the_released_ones() -> None:
    with torch.device("meta"):
        names = set(dsct.DSCT(DSCTConfig.official_emotic()).state_dict())
    layer = [f"{n}.{p}" for n in ("norm1", "norm2", "linear1", "linear2") for p in ("weight", "bias")]
    attention = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
    expected = {"query_embed.weight", "query_embed_dsct.weight", "transformer.level_embed"}
    expected |= {f"transformer.reference_points.{p}" for p in ("weight", "bias")}
    expected |= {f"input_proj.{level}.{i}.{p}" for level in range(4) for i in (0, 1) for p in ("weight", "bias")}
    for i in range(6):
        encoder, decoder = f"transformer.encoder.layers.{i}.", f"transformer.decoder.layers.{i}."
        expected |= {encoder + name for name in layer} | {decoder + name for name in layer}
        expected |= {decoder + f"norm3.{p}" for p in ("weight", "bias")}
        for prefix in (encoder + "self_attn.", decoder + "cross_attn."):
            expected |= {f"{prefix}{name}.{p}" for name in attention for p in ("weight", "bias")}
        names_of_mha = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        expected |= {decoder + f"self_attn.{name}" for name in names_of_mha}
        expected |= {f"class_embed_dsct.{i}.{p}" for p in ("weight", "bias")}
        expected |= {f"bbox_embed_dsct.{i}.layers.{j}.{p}" for j in range(3) for p in ("weight", "bias")}
    assert {name for name in names if not name.startswith("backbone.0.body.")} == expected
    assert "backbone.0.body.layer4.2.bn3.running_var" in names
    assert not [name for name in names if "num_batches_tracked" in name or ".fc." in name]


def test_initialisation() -> None:
    model = dsct.DSCT(small(nheads=4))
    probability = model.class_embed_dsct[0].bias.sigmoid()
    torch.testing.assert_close(probability, torch.full_like(probability, 0.01))
    assert model.bbox_embed_dsct[0].layers[2].bias.tolist() == [0.0, 0.0, -2.0, -2.0]
    assert not model.bbox_embed_dsct[0].layers[2].weight.any()
    assert model.class_embed_dsct[0] is model.class_embed_dsct[1]
    attention = model.transformer.encoder.layers[0].self_attn
    assert not attention.sampling_offsets.weight.any()
    offsets = attention.sampling_offsets.bias.view(4, 4, 2, 2)
    torch.testing.assert_close(offsets[0, :, 1], torch.tensor([[2.0, 0.0]] * 4))
    assert not model.transformer.reference_points.bias.any()


def test_padding_by_whole_cells_changes_nothing() -> None:
    """From the projected maps on: the encodings, attention and aggregation only see the unpadded part."""
    model, _ = twins()
    maps = [torch.randn(1, 32, 8 // 2**i, 12 // 2**i, dtype=torch.float64) for i in range(3)]
    model.config = small(num_feature_levels=3)

    def run(pad: int) -> tuple[torch.Tensor, ...]:
        sizes = [(m.shape[2] + pad // 2**i, m.shape[3] + pad // 2**i) for i, m in enumerate(maps)]
        padded = [torch.randn(1, 32, *size, dtype=torch.float64) for size in sizes]
        for target, m in zip(padded, maps, strict=True):
            target[:, :, : m.shape[2], : m.shape[3]] = m
        mask = torch.ones(1, 8 + pad, 12 + pad, dtype=torch.bool)
        mask[:, :8, :12] = False
        from dsct import _dsct

        transformer = model.transformer
        src, pos, padding, shapes, ratios = _dsct.flatten_levels(padded, mask, transformer.level_embed[:3])
        reference = torch.rand(1, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        tgt = torch.randn(1, 12, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        encoder = dsct.DeformableEncoder(model.config).double()
        decoder = dsct.DSCTDecoder(model.config).double()
        for module, seed in ((encoder, 1), (decoder, 2)):
            torch.manual_seed(seed)
            randomise(module, 0.1)
            for parameter in module.parameters():
                parameter.data = torch.randn_like(parameter) * 0.1
        memory = encoder(src, shapes, None, ratios, pos, padding)
        return decoder(tgt, reference, memory, shapes, None, ratios, None, padding)

    assert_same(run(4), run(0), 1e-9)


def test_empty_batch_and_no_subjects() -> None:
    model = dsct.DSCT(small())
    out = model(torch.zeros(0, 3, 64, 96))
    assert out["pred_logits"].shape == (0, 3, 5)
    assert out["pred_boxes"].shape == (0, 3, 4)
    nobody = dsct.DSCT(small(num_subject_queries=0))(torch.randn(1, 3, 64, 96))
    assert nobody["pred_boxes"].shape == (1, 0, 4)


def test_bad_input_is_named() -> None:
    model = dsct.DSCT(small())
    images = torch.randn(1, 3, 64, 96)
    for bad in (images[0], images[:, :2], torch.zeros(1, 3, 2, 64, 96)):
        with pytest.raises(ValueError, match="images must be"):
            model(bad)
    with pytest.raises(ValueError, match="images must be"):
        model(torch.zeros(1, 3, 0, 96))
    with pytest.raises(TypeError, match="images must be a floating-point"):
        model(images.to(torch.uint8))
    with pytest.raises(ValueError, match=r"mask must be \(B, H, W\)"):
        model(images, torch.zeros(1, 64, 95, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be bool"):
        model(images, torch.zeros(1, 64, 96))
    with pytest.raises(TypeError, match="mask must be bool, got list"):
        model(images, [[False]])
    with pytest.raises(ValueError, match="backbone must be a module"):
        dsct.DSCT(small(backbone="custom"))


def test_eval_switches_only_dropout_off() -> None:
    model, _ = twins()
    images, mask = padded_images()
    results = []
    for mode in (True, False):
        model.train(mode).zero_grad()
        out = model(images, mask)
        backward(out)
        results.append((out["pred_logits"], {n: g for n, g in gradients(model).items() if g is not None}))
    assert_same(results[1], results[0], 1e-13)
    noisy = dsct.DSCT(small(dropout=0.5)).train()
    images32 = torch.randn(1, 3, 64, 96)
    assert not torch.equal(noisy(images32)["pred_logits"], noisy(images32)["pred_logits"])
    noisy.eval()
    assert torch.equal(noisy(images32)["pred_logits"], noisy(images32)["pred_logits"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    model = dsct.DSCT(small()).eval()
    images, mask = padded_images(dtype=torch.float32)
    expected = model(images, mask)["pred_boxes"]
    half = copy.deepcopy(model).to(dtype)(images.to(dtype), mask)
    torch.testing.assert_close(half["pred_boxes"].float(), expected, rtol=0, atol=0.05)
    assert half["pred_logits"].dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(images, mask)
    torch.testing.assert_close(mixed["pred_boxes"].float(), expected, rtol=0, atol=0.05)
    mixed["pred_logits"].float().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_copies_compute_the_same() -> None:
    model = dsct.DSCT(small()).eval()
    images, _ = padded_images(dtype=torch.float32)
    expected = model(images)["pred_logits"]
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = dsct.DSCT(small()).eval()
    loaded.load_state_dict(torch.load(file), assign=True)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(other(images)["pred_logits"], expected)


def test_functional_call_uses_the_given_tensors() -> None:
    model = dsct.DSCT(small()).eval()
    images, _ = padded_images(dtype=torch.float32)
    other = dsct.DSCT(small()).eval()
    randomise(other)
    given = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    out = torch.func.functional_call(model, given, (images,))
    assert torch.equal(out["pred_logits"], other(images)["pred_logits"])


def test_parametrizations_hooks_and_swapped_blocks() -> None:
    model = dsct.DSCT(small()).eval()
    images, _ = padded_images(dtype=torch.float32)
    expected = model(images)["pred_logits"]
    projection = model.transformer.encoder.layers[0].self_attn.value_proj
    parametrizations.weight_norm(projection)
    torch.testing.assert_close(model(images)["pred_logits"], expected)
    with torch.no_grad():
        projection.parametrizations.weight.original0.mul_(3.0)
    assert not torch.allclose(model(images)["pred_logits"], expected)

    seen = []
    for block in (model.backbone[0], model.transformer.encoder.layers[0], model.transformer.decoder.layers[1]):
        block.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    model(images)
    assert seen == ["Backbone", "DeformableEncoderLayer", "DSCTDecoderLayer"]

    model.class_embed_dsct[1] = torch.nn.Linear(32, 5)
    swapped = model(images)
    hidden_bias = model.class_embed_dsct[0].bias
    assert (swapped["aux_outputs"][0]["pred_logits"].mean() - hidden_bias.mean()).abs() < 2
    assert swapped["pred_logits"].mean() > -2, "the new head does not start at probability 0.01"


def test_activation_checkpointing_changes_no_gradient() -> None:
    from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

    layer = dsct.DeformableEncoder(small()).layers[0].double()
    randomise(layer)
    shapes = [(3, 4), (2, 2), (1, 1), (1, 1)]
    src = torch.randn(1, 18, 32, dtype=torch.float64, requires_grad=True)
    points = torch.rand(1, 18, 4, 2, dtype=torch.float64)
    plain = torch.autograd.grad(layer(src, None, points, shapes).square().sum(), src)
    with set_checkpoint_early_stop(False):  # it stops by an exception, which cannot cross native code
        saved = checkpoint(layer, src, None, points, shapes, use_reentrant=False)
        assert_same(torch.autograd.grad(saved.square().sum(), src), plain, 1e-12)


def test_threads_and_inference_mode() -> None:
    model = dsct.DSCT(small()).eval()
    images, mask = padded_images(dtype=torch.float32)
    expected = model(images, mask)["pred_logits"]

    def infer(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return model(images, mask)["pred_logits"]

    with ThreadPoolExecutor(4) as executor:
        assert all(torch.equal(logits, expected) for logits in executor.map(infer, range(8)))


def test_frozen_parts_get_no_gradient() -> None:
    model = dsct.DSCT(small())
    model.transformer.encoder.requires_grad_(False)
    model(torch.randn(1, 3, 64, 96))["pred_logits"].sum().backward()
    assert all(p.grad is None for p in model.transformer.encoder.parameters())
    assert model.query_embed_dsct.weight.grad is not None


def test_custom_backbone() -> None:
    class Maps(torch.nn.Module):
        num_channels = (8, 8, 8)

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images.new_ones(images.shape[0], 8, n, n) for n in (8, 4, 2)]

    model = dsct.DSCT(small(backbone="custom"), backbone=Maps())
    assert model(torch.randn(2, 3, 64, 64))["pred_boxes"].shape == (2, 3, 4)


def test_any_decoder_with_deformable_detrs_call_can_stand_in() -> None:
    class Plain(torch.nn.Module):
        def forward(self, tgt: torch.Tensor, reference_points: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
            return torch.stack([tgt, 2 * tgt]), reference_points.expand(2, *reference_points.shape)

    model = dsct.DSCT(small())
    seen: list[str] = []
    model.transformer.decoder.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    images = torch.randn(1, 3, 64, 96)
    model(images)
    assert seen == ["DSCTDecoder"]
    model.transformer.decoder = Plain()
    expected = model.class_embed_dsct[1](2 * model.query_embed_dsct.weight[None, :, 32:])
    torch.testing.assert_close(model(images)["pred_logits"], expected)


@pytest.mark.parametrize(
    "build",
    [dsct.DSCT, dsct.SetCriterion, dsct.HungarianMatcher, dsct.PostProcess, dsct.DSCTDecoder, dsct.DeformableEncoder],
)
def test_another_kind_of_configuration_is_refused(build: Any) -> None:
    with pytest.raises(TypeError, match=f"{build.__name__}: config must be a dsct.DSCTConfig, got dict"):
        build({"hidden_dim": 32})


@pytest.mark.parametrize("training", [False, True])
def test_the_device_meta_computes_shapes(training: bool) -> None:
    """Outputs and gradients have shapes and no data, as from torch's own modules."""
    model = dsct.DSCT(small(dropout=0.1)).train(training)
    images, mask = torch.rand(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.bool)
    expected, output = model(images, mask), model.to("meta")(images.to("meta"), mask.to("meta"))
    assert output["pred_logits"].is_meta
    assert output["pred_boxes"].shape == expected["pred_boxes"].shape
    output["pred_logits"].sum().backward()
    used = model.transformer.encoder.layers[0].linear1.weight
    assert used.grad.is_meta
    assert used.grad.shape == used.shape
