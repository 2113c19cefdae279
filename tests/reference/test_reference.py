"""The reference itself is held to account: two forms of the op, Hugging Face's model, and the equations by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsct.config import DSCTConfig
from tests.reference import DSCT, HungarianMatcher, MSDeformAttn, SetCriterion, ms_deform_attn, ms_deform_attn_gather
from tests.reference.dsct import Transformer
from tests.reference.hugging_face import Features, translated
from tests.reference.position_encoding import level_mask, sine_position_encoding, valid_ratio
from tests.reference.relational_aggregation import first_k, relational_aggregation, spatial_distance

FORMS = (ms_deform_attn, ms_deform_attn_gather)
Form = Callable[[Tensor, list[tuple[int, int]], Tensor, Tensor], Tensor]


def randomise(module: nn.Module, scale: float = 0.2) -> None:
    """Give every parameter a random value: zeros and symmetries of the initialisation hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# --- deformable attention ---------------------------------------------------------------------------------------------


def op_inputs(shapes: list[tuple[int, int]], queries: int = 3, points: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """float64 value, locations (some outside the map) and weights, B 2, M 3, D 5, that require gradients."""
    size = sum(h * w for h, w in shapes)
    value = torch.randn(2, size, 3, 5, dtype=torch.float64, requires_grad=True)
    locations = torch.rand(2, queries, 3, len(shapes), points, 2, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.randn(2, queries, 3, len(shapes), points, dtype=torch.float64, requires_grad=True)
    return value, locations.requires_grad_(), weights


@pytest.mark.parametrize("shapes", [[(1, 1)], [(7, 3)], [(5, 4), (3, 2), (1, 2)]])
def test_two_forms_of_the_op_agree(shapes: list[tuple[int, int]]) -> None:
    value, locations, weights = op_inputs(shapes, queries=9)
    first, second = (form(value, shapes, locations, weights) for form in FORMS)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    seed = torch.randn_like(first)
    gradients = [torch.autograd.grad(out, (value, locations, weights), seed) for out in (first, second)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_op_gradients_are_those_of_finite_differences(form: Form) -> None:
    shapes = [(3, 4), (2, 1)]
    value, locations, weights = op_inputs(shapes)
    assert torch.autograd.gradcheck(lambda v, p, a: form(v, shapes, p, a), (value, locations, weights))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("point", "expected"),
    [((0.25, 0.5), 3.0), ((0.5, 0.5), 4.0), ((0.0, 0.0), 0.75), ((0.75, 1.0), 2.5), ((1.5, 0.5), 0.0)],
)
def test_op_on_two_cells_by_hand(form: Form, point: tuple[float, float], expected: float) -> None:
    value = torch.tensor([3.0, 5.0], dtype=torch.float64).reshape(1, 2, 1, 1)  # one row: centres at x = 1/4 and 3/4
    locations = torch.tensor(point, dtype=torch.float64).reshape(1, 1, 1, 1, 1, 2)
    out = form(value, [(1, 2)], locations, torch.ones(1, 1, 1, 1, 1, dtype=torch.float64))
    assert out.item() == pytest.approx(expected)


# --- against Hugging Face ---------------------------------------------------------------------------------------------


@pytest.fixture
def twins() -> tuple[Any, DSCT]:
    """Hugging Face's Deformable DETR of two layers and five levels, and the reference with the same random weights."""
    transformers = pytest.importorskip("transformers")
    cfg = DSCTConfig(
        num_classes=7, multi_label=False, num_subject_queries=6, num_context_queries=0, hidden_dim=32, nheads=4,
        enc_layers=2, dec_layers=3, dim_feedforward=40, dropout=0.0, num_feature_levels=5, enc_n_points=3,
        dec_n_points=2,
    )  # fmt: skip
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone, num_labels=7, num_queries=6, d_model=32, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=40, decoder_ffn_dim=40,
        dropout=0.0, num_feature_levels=5, encoder_n_points=3, decoder_n_points=2, auxiliary_loss=True,
        class_cost=2, disable_custom_kernels=True,
    )  # fmt: skip
    hf = transformers.DeformableDetrForObjectDetection(config)
    randomise(hf)
    model = DSCT(cfg, Features(hf.model.backbone.model))
    report = model.load_state_dict(translated(hf.state_dict()), strict=False)
    assert not report.unexpected_keys
    assert all(name.startswith("backbone.") for name in report.missing_keys)
    return hf, model


def scene() -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    """Two float64 images, the second padded right and below by no whole number of cells, and their subjects."""
    images = torch.randn(2, 3, 100, 132, dtype=torch.float64)
    mask = torch.zeros(2, 100, 132, dtype=torch.bool)
    mask[1, 71:], mask[1, :, 93:] = True, True
    targets = [
        {"labels": torch.randint(0, 7, (n,)), "boxes": torch.rand(n, 4, dtype=torch.float64) * 0.4 + 0.2}
        for n in (3, 1)
    ]
    return images, mask, targets


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_without_context_equals_hugging_face(twins: tuple[Any, DSCT], dtype: torch.dtype, tolerance: float) -> None:
    hf, model = (m.to(dtype) for m in twins)
    images, mask, _ = scene()
    theirs = hf(images.to(dtype), pixel_mask=(~mask).long())
    ours = model(images.to(dtype), mask)
    torch.testing.assert_close(ours["pred_logits"], theirs.logits, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours["pred_boxes"], theirs.pred_boxes, rtol=tolerance, atol=tolerance)
    assert len(ours["aux_outputs"]) == 2
    for layer, aux in enumerate(ours["aux_outputs"]):
        logits = hf.class_embed[layer](theirs.intermediate_hidden_states[:, layer])
        torch.testing.assert_close(aux["pred_logits"], logits, rtol=tolerance, atol=tolerance)
    assert theirs.logits.std() > 0.1


def test_losses_and_their_gradients_equal_hugging_face(twins: tuple[Any, DSCT]) -> None:
    hf, model = (m.double() for m in twins)
    images, mask, targets = scene()
    labels = [{"class_labels": t["labels"], "boxes": t["boxes"]} for t in targets]
    theirs = hf(images, pixel_mask=(~mask).long(), labels=labels).loss_dict
    ours = SetCriterion(model.cfg)(model(images, mask), targets)
    assert set(ours) == {name for name in theirs if name.startswith("loss")}
    for name, loss in ours.items():
        torch.testing.assert_close(loss, theirs[name], rtol=1e-9, atol=1e-9)
    weight = SetCriterion(model.cfg).weight_dict
    sum(weight[name] * theirs[name] for name in ours).backward()
    expected = translated({name: p.grad for name, p in hf.named_parameters() if p.grad is not None})
    model.zero_grad()
    SetCriterion(model.cfg).total(ours).backward()
    compared = [name for name, _ in model.named_parameters() if not name.startswith("backbone.")]
    for name in compared:
        torch.testing.assert_close(model.get_parameter(name).grad, expected[name], rtol=1e-7, atol=1e-9, msg=name)
    assert len(compared) > 80


# --- relational aggregation -------------------------------------------------------------------------------------------

SMALL = DSCTConfig.tiny(num_context_queries=9, num_subject_queries=4, k_spatial=4, k_semantic=3)


def queries() -> tuple[Tensor, Tensor, Tensor]:
    """float64 subjects (2, 4, 6), context (2, 9, 6) and distances (2, 4, 9)."""
    subject, context = (torch.randn(2, n, 6, dtype=torch.float64) for n in (4, 9))
    points = torch.rand(2, 13, 2, dtype=torch.float64)
    return subject, context, spatial_distance(points[:, :4], points[:, 4:])


def by_hand(cfg: DSCTConfig, subject: Tensor, context: Tensor, distance: Tensor, logits: Tensor) -> Tensor:
    """Eq. 6-8 and their variants with loops over numbers, one image: (N, E), (M_c, E), (N, M_c) to (N, E)."""
    fused = []
    for n, row in enumerate(subject):
        relevance = [float(row @ other) for other in context]
        sign = 1 if cfg.semantic_order == "lowest" else -1
        nearest = [m for _, m in sorted((float(d), m) for m, d in enumerate(distance[n]))][: cfg.k_spatial]
        meaning = [m for _, m in sorted((sign * r, m) for m, r in enumerate(relevance))][: cfg.k_semantic]
        chosen = {"spatial": nearest, "semantic": meaning}
        everyone = list(range(len(context)))
        sets = [chosen[name] for name in ("spatial", "semantic") if name in cfg.selection] or [everyone]
        if cfg.aggregation == "union":
            sets = [list(itertools.chain(*sets))]
        score = {
            "semantic": relevance,
            "equal": [0.0] * len(context),
            "spatial": [-float(d) for d in distance[n]],
            "attentive": logits[n].tolist(),
        }[cfg.reweighting]
        result = row.clone()
        for members in sets:
            total = sum(math.exp(score[m]) for m in members)
            for m in members:
                result += math.exp(score[m]) / total * context[m]
        if cfg.aggregation == "split":
            similarity = [math.exp(float(row @ other)) for other in subject]
            for weight, other in zip(similarity, subject, strict=True):
                result += weight / sum(similarity) * other
        fused.append(result)
    return torch.stack(fused)


@pytest.mark.parametrize("aggregation", ["union", "split"])
@pytest.mark.parametrize("reweighting", ["semantic", "equal", "spatial", "attentive"])
@pytest.mark.parametrize("selection", [(), ("spatial",), ("semantic",), ("spatial", "semantic")])
@pytest.mark.parametrize("order", ["lowest", "highest"])
def test_aggregation_by_hand(aggregation: str, reweighting: str, selection: tuple[str, ...], order: str) -> None:
    cfg = dataclasses.replace(
        SMALL, aggregation=aggregation, reweighting=reweighting, selection=selection, semantic_order=order
    )
    subject, context, distance = queries()
    logits = torch.randn_like(distance)
    fused, _ = relational_aggregation(subject, context, distance, cfg, logits)
    for image in range(2):
        expected = by_hand(cfg, subject[image], context[image], distance[image], logits[image])
        torch.testing.assert_close(fused[image], expected, rtol=1e-12, atol=1e-12)


def test_aggregation_does_not_depend_on_the_order_of_context() -> None:
    subject, context, distance = queries()
    order = torch.randperm(9)
    expected, _ = relational_aggregation(subject, context, distance, SMALL)
    permuted, _ = relational_aggregation(subject, context[:, order], distance[:, :, order], SMALL)
    torch.testing.assert_close(permuted, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("aggregation", ["union", "split"])
def test_aggregation_gradients_are_those_of_finite_differences(aggregation: str) -> None:
    cfg = dataclasses.replace(SMALL, aggregation=aggregation)
    subject, context, distance = queries()
    inputs = (subject[:1].requires_grad_(), context[:1].requires_grad_())
    assert torch.autograd.gradcheck(lambda s, c: relational_aggregation(s, c, distance[:1], cfg)[0], inputs)


def test_sets_are_clipped_and_ties_go_to_the_lower_index() -> None:
    assert first_k(torch.tensor([2.0, 1.0, 1.0, 1.0]), 2).tolist() == [1, 2]
    assert first_k(torch.tensor([1.0, 2.0, 2.0]), 2, descending=True).tolist() == [1, 2]
    subject, context, distance = queries()
    cfg = dataclasses.replace(SMALL, k_spatial=100, k_semantic=0)
    _, trace = relational_aggregation(subject, context, distance, cfg)
    assert torch.equal(trace["spatial_indices"].sort(dim=-1).values, torch.arange(9).expand(2, 4, 9))
    assert trace["semantic_indices"].shape == (2, 4, 0)


def test_distance_zero_has_a_gradient() -> None:
    points = torch.full((1, 2, 2), 0.5, requires_grad=True)
    spatial_distance(points[:, :1], points[:, 1:]).sum().backward()
    assert torch.equal(points.grad, torch.zeros(1, 2, 2))


@pytest.mark.parametrize(
    "empty", [{"num_context_queries": 0}, {"fusion_layers": ()}, {"k_spatial": 0, "k_semantic": 0}]
)
@pytest.mark.parametrize("aggregation", ["union", "split"])
def test_without_context_the_subjects_are_left_alone(empty: dict[str, Any], aggregation: str) -> None:
    model = DSCT(DSCTConfig.tiny(aggregation=aggregation, **empty))
    tgt = torch.randn(2, 11 + model.cfg.num_context_queries, 64)
    distance = torch.rand(2, 11, model.cfg.num_context_queries)
    for layer in model.transformer.decoder.layers:
        assert torch.equal(layer.aggregate(tgt, distance)[0], tgt)


# --- masks, positions, whole model ------------------------------------------------------------------------------------


def test_aggregation_stands_between_norm1_and_the_feed_forward_network() -> None:
    model = DSCT(DSCTConfig.tiny(reweighting="attentive", fusion_layers=(1,))).double()
    randomise(model)
    seen: dict[str, Tensor] = {}
    for i, layer in enumerate(model.transformer.decoder.layers):
        layer.norm1.register_forward_hook(lambda _m, _i, output, i=i: seen.update({f"norm1.{i}": output}))
        layer.linear1.register_forward_pre_hook(lambda _m, inputs, i=i: seen.update({f"linear1.{i}": inputs[0]}))
    images, mask, _ = scene()
    _, traces = model(images, mask, return_trace=True)
    assert torch.equal(seen["linear1.0"], seen["norm1.0"])
    context, subject = seen["norm1.1"].split((32, 8), dim=1)
    points = traces[1]["reference_points"]
    logits = model.transformer.decoder.layers[1].context_weights(subject)
    distance = spatial_distance(points[:, 32:], points[:, :32])
    fused, _ = relational_aggregation(subject, context, distance, model.cfg, logits)
    torch.testing.assert_close(seen["linear1.1"], torch.cat((context, fused), dim=1), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(fused, subject)


def test_without_fusion_context_queries_are_plain_queries_that_predict_nothing() -> None:
    cfg = DSCTConfig.tiny(fusion_layers=())
    model, plain = DSCT(cfg), DSCT(dataclasses.replace(cfg, num_context_queries=0, num_subject_queries=40))
    randomise(model)
    state = model.state_dict()
    state["query_embed_dsct.weight"] = torch.cat((state.pop("query_embed.weight"), state["query_embed_dsct.weight"]))
    plain.load_state_dict(state)
    images, mask, _ = scene()
    ours, theirs = (m.double()(images, mask) for m in (model, plain))
    for a, b in zip((ours, *ours["aux_outputs"]), (theirs, *theirs["aux_outputs"]), strict=True):
        torch.testing.assert_close(a["pred_logits"], b["pred_logits"][:, 32:], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(a["pred_boxes"], b["pred_boxes"][:, 32:], rtol=1e-10, atol=1e-10)


def test_level_mask_position_and_valid_ratio_by_hand() -> None:
    mask = torch.zeros(1, 10, 12, dtype=torch.bool)
    mask[:, 7:], mask[:, :, 9:] = True, True
    small = level_mask(mask, 4, 5)  # rows 0 2 5 7, columns 0 2 4 7 9
    assert (~small[0]).long().tolist() == [[1, 1, 1, 1, 0]] * 3 + [[0] * 5]
    assert valid_ratio(small, torch.float64).tolist() == [[4 / 5, 3 / 4]]
    code = sine_position_encoding(small, 32, torch.float64)
    y, x = (2 - 0.5) / (3 + 1e-6) * 2 * math.pi, (3 - 0.5) / (4 + 1e-6) * 2 * math.pi  # of cell (row 1, column 2)
    for channel in range(16):
        wave = math.cos if channel % 2 else math.sin
        period = 10000 ** (2 * (channel // 2) / 16)
        assert code[0, channel, 1, 2].item() == pytest.approx(wave(y / period), abs=1e-14)
        assert code[0, channel + 16, 1, 2].item() == pytest.approx(wave(x / period), abs=1e-14)


def test_padding_by_whole_cells_changes_nothing() -> None:
    cfg = DSCTConfig.tiny(num_feature_levels=2)
    transformer = Transformer(cfg).double()
    randomise(transformer)
    embeddings = torch.randn(40, 128, dtype=torch.float64)
    maps = [torch.randn(2, 64, h, w, dtype=torch.float64) for h, w in ((6, 8), (3, 4))]
    masks = [torch.zeros(2, m.shape[2], m.shape[3], dtype=torch.bool) for m in maps]
    expected, _, _ = transformer(maps, masks, embeddings)
    padded = [nn.functional.pad(m, (0, 3, 0, 2), value=7.0) for m in maps]
    padded_masks = [nn.functional.pad(m, (0, 3, 0, 2), value=True) for m in masks]
    actual, _, traces = transformer(padded, padded_masks, embeddings)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    assert traces[0]["sampling_locations"].shape == (2, 40, 4, 2, 4, 2)


@pytest.mark.parametrize("frame", ["valid", "padded"])
def test_spatial_frame(frame: str) -> None:
    model = DSCT(DSCTConfig.tiny(spatial_frame=frame)).double()
    images, mask, _ = scene()
    _, traces = model(images, mask, return_trace=True)
    scale = torch.ones(2, 2, dtype=torch.float64)
    if frame == "padded":  # level 0 is 13 rows by 17 columns, of which the second image fills 10 by 12
        scale[1] = torch.tensor([12 / 17, 10 / 13], dtype=torch.float64)
    points = traces[0]["reference_points"] * scale[:, None]
    distance = (points[:, 32:, None] - points[:, None, :32]).square().sum(-1).sqrt()
    for trace in traces:
        assert torch.equal(trace["spatial_indices"], distance.topk(12, largest=False).indices)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 6])
def test_any_number_of_levels_and_dtype(levels: int) -> None:
    model = DSCT(DSCTConfig.tiny(num_feature_levels=levels, multi_label=True, num_classes=26, person_class=True))
    images, mask, _ = scene()
    out = model(images.float(), mask)
    assert out["pred_logits"].shape == (2, 8, 27)
    assert out["pred_boxes"].shape == (2, 8, 4)
    wide = model.double()(images, mask)
    torch.testing.assert_close(out["pred_logits"].double(), wide["pred_logits"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out["pred_boxes"].double(), wide["pred_boxes"], rtol=1e-4, atol=1e-4)


def test_empty_batch_and_bad_input() -> None:
    model = DSCT(DSCTConfig.tiny())
    out = model(torch.zeros(0, 3, 64, 64))
    assert out["pred_logits"].shape == (0, 8, 7)
    assert all(loss == 0 for loss in SetCriterion(model.cfg)(out, []).values())
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got \(3, 8, 8\)"):
        model(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="mask must be"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 64, 32, dtype=torch.bool))


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        ("resnet18", 23), ("resnet34", 33), ("resnet50", 39), ("resnet101", 58), ("resnet152", 74),
        ("wide_resnet50_2", 82), ("wide_resnet101_2", 140),
    ],
)  # fmt: skip
def test_trainable_parameters_of_table_9(backbone: str, millions: int) -> None:
    """Millions as printed, but for ResNet-18: 22 there does not fit the 33 of ResNet-34, which has 10.03 more."""
    with torch.device("meta"):
        model = DSCT(DSCTConfig.paper_emotic(backbone=backbone))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) // 10**6 == millions


def test_checkpoint_names() -> None:
    with torch.device("meta"):
        model = DSCT(DSCTConfig.official_emotic(reweighting="attentive", fusion_layers=(1, 5)))
    names = set(model.state_dict())
    expected = {
        "backbone.0.body.conv1.weight", "backbone.0.body.layer4.2.bn3.running_var", "input_proj.3.1.weight",
        "backbone.0.body.layer2.0.downsample.1.bias", "transformer.level_embed", "transformer.reference_points.bias",
        "transformer.encoder.layers.5.self_attn.sampling_offsets.weight", "transformer.encoder.layers.0.linear2.bias",
        "transformer.decoder.layers.5.cross_attn.output_proj.bias", "transformer.decoder.layers.0.norm3.weight",
        "transformer.decoder.layers.0.self_attn.in_proj_weight", "transformer.decoder.layers.5.context_weights.weight",
        "transformer.decoder.layers.0.self_attn.out_proj.bias", "query_embed.weight", "query_embed_dsct.weight",
        "class_embed_dsct.5.bias", "bbox_embed_dsct.5.layers.2.weight",
    }  # fmt: skip
    assert expected <= names
    absent = ("num_batches_tracked", ".fc.", "decoder.layers.0.context_weights")
    assert not [name for name in names if any(part in name for part in absent)]
    heads = {name for name, _ in model.named_parameters() if name.startswith(("class_embed", "bbox_embed"))}
    assert {name.split(".")[1] for name in heads} == {"0"}
    assert not DSCT(DSCTConfig.tiny(num_context_queries=0)).state_dict().keys() & {"query_embed.weight"}


def test_initialisation() -> None:
    model = DSCT(DSCTConfig.tiny())
    assert model.query_embed.weight.std().item() == pytest.approx(1, abs=0.1)
    assert torch.allclose(model.class_embed_dsct[0].bias, torch.tensor(-math.log(99.0)))
    out, traces = model(torch.randn(1, 3, 64, 64), return_trace=True)
    # The box head starts at the reference point with logits -2 for the size, and attention starts uniform.
    points = traces[0]["reference_points"][:, 32:]
    torch.testing.assert_close(out["pred_boxes"][..., :2], points, rtol=0, atol=1e-5)
    torch.testing.assert_close(out["pred_boxes"][..., 2:], torch.full((1, 8, 2), 1 / (1 + math.exp(2))))
    torch.testing.assert_close(traces[0]["attention_weights"], torch.full((1, 40, 4, 4, 4), 1 / 16))
    bias = MSDeformAttn(64, n_levels=2, n_heads=8, n_points=3).sampling_offsets.bias.reshape(8, 2, 3, 2)
    # Head 1 of 8 looks at 45 degrees: (1, 1), then twice and three times as far, in both levels.
    torch.testing.assert_close(bias[1, :], torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]).expand(2, 3, 2))


# --- matching and loss ------------------------------------------------------------------------------------------------


def predictions(cfg: DSCTConfig, images: int = 2) -> dict[str, Any]:
    """Random float64 outputs of one layer."""
    shape = (images, cfg.num_subject_queries)
    logits = torch.randn(*shape, cfg.num_logits, dtype=torch.float64, requires_grad=True)
    boxes = (torch.rand(*shape, 4, dtype=torch.float64) * 0.4 + 0.1).requires_grad_()
    return {"pred_logits": logits, "pred_boxes": boxes, "aux_outputs": []}


def subjects(cfg: DSCTConfig, *counts: int) -> list[dict[str, Tensor]]:
    """Random targets, ``counts`` subjects per image."""
    labels = [
        torch.randint(0, 2, (n, cfg.num_classes)) if cfg.multi_label else torch.randint(0, cfg.num_classes, (n,))
        for n in counts
    ]
    return [{"labels": label, "boxes": torch.rand(n, 4) * 0.4 + 0.1} for n, label in zip(counts, labels, strict=True)]


EMOTIC = DSCTConfig.tiny(
    multi_label=True,
    num_classes=26,
    person_class=True,
    class_names=None,
    num_subject_queries=4,
    focal_alpha=0.25,
    focal_gamma=2.0,
)
CAER_S = DSCTConfig.tiny(person_class=True, num_subject_queries=4, focal_alpha=0.25, focal_gamma=2.0)


@pytest.mark.parametrize("cfg", [EMOTIC, CAER_S])
def test_matching_is_the_cheapest_of_all(cfg: DSCTConfig) -> None:
    matcher, outputs, targets = HungarianMatcher(cfg), predictions(cfg), subjects(cfg, 3, 2)
    for image, (query, subject) in enumerate(matcher(outputs, targets)):
        logits, boxes = outputs["pred_logits"][image].detach(), outputs["pred_boxes"][image].detach()
        cost = matcher.cost(logits, boxes, targets[image])
        best = min(sum(cost[q, n] for n, q in enumerate(p)) for p in itertools.permutations(range(4), cost.shape[1]))
        assert cost[query, subject].sum().item() == pytest.approx(float(best))
        assert query.tolist() == sorted(query.tolist())
        assert query.dtype == subject.dtype == torch.int64


@pytest.mark.parametrize("cfg", [EMOTIC, CAER_S])
def test_cost_and_losses_by_hand(cfg: DSCTConfig) -> None:
    outputs, targets = predictions(cfg, images=1), subjects(cfg, 1)
    logits, boxes = outputs["pred_logits"][0].detach(), outputs["pred_boxes"][0].detach()
    label, box = targets[0]["labels"][0], targets[0]["boxes"][0].double()
    ones = label.nonzero().flatten().tolist() if cfg.multi_label else [int(label)]

    def giou(q: Tensor) -> float:
        inter, hull = 1.0, 1.0
        for axis in (0, 1):
            low = [float(b[axis] - b[axis + 2] / 2) for b in (q, box)]
            high = [float(b[axis] + b[axis + 2] / 2) for b in (q, box)]
            inter *= max(0.0, min(high) - max(low))
            hull *= max(high) - min(low)
        union = float(q[2] * q[3] + box[2] * box[3]) - inter
        return inter / union - (hull - union) / hull

    costs = []
    for z, q in zip(logits, boxes, strict=True):
        gain = 0.0
        for c in ones:
            p = 1 / (1 + math.exp(-z[c]))
            gain += 0.25 * (1 - p) ** 2 * -math.log(p + 1e-8) - 0.75 * p**2 * -math.log(1 - p + 1e-8)
        gain /= cfg.num_classes if cfg.multi_label else 1
        costs.append(2 * gain + 5 * float((q - box).abs().sum()) - 2 * giou(q))
    matched = costs.index(min(costs))
    criterion = SetCriterion(cfg)
    torch.testing.assert_close(
        criterion.matcher.cost(logits, boxes, targets[0])[:, 0], torch.tensor(costs, dtype=torch.float64)
    )

    focal = 0.0
    for n, z in enumerate(logits):
        for c in range(cfg.num_logits if cfg.multi_label else cfg.num_classes):
            p = 1 / (1 + math.exp(-z[c]))
            positive = n == matched and (c in ones or c == cfg.num_classes)
            focal += 0.25 * (1 - p) ** 2 * -math.log(p) if positive else 0.75 * p**2 * -math.log(1 - p)
    losses = criterion(outputs, targets)
    assert losses["loss_ce"].item() == pytest.approx(focal)
    assert losses["loss_bbox"].item() == pytest.approx(float((boxes[matched] - box).abs().sum()))
    assert losses["loss_giou"].item() == pytest.approx(1 - giou(boxes[matched]))


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    cfg = dataclasses.replace(EMOTIC, focal_gamma=0.0, focal_alpha=0.5)
    outputs, targets = predictions(cfg), subjects(cfg, 0, 0)
    expected = 0.5 * nn.functional.softplus(outputs["pred_logits"]).sum()
    torch.testing.assert_close(SetCriterion(cfg)(outputs, targets)["loss_ce"], expected)


@pytest.mark.parametrize("cfg", [EMOTIC, CAER_S])
def test_no_subject_and_too_many_subjects(cfg: DSCTConfig) -> None:
    criterion, outputs = SetCriterion(cfg), predictions(cfg)
    outputs["aux_outputs"] = [predictions(cfg)]
    targets = subjects(cfg, 0, 7)
    (empty, _), (query, subject) = criterion.matcher(outputs, targets)
    assert empty.tolist() == []
    assert query.tolist() == [0, 1, 2, 3]
    assert len(set(subject.tolist())) == 4
    assert SetCriterion.num_boxes(outputs["pred_boxes"], targets) == 7  # the unmatched three count, too

    losses = criterion(outputs, subjects(cfg, 0, 0))
    names = {name + suffix for name in ("loss_ce", "loss_bbox", "loss_giou") for suffix in ("", "_0")}
    assert set(losses) == set(criterion.weight_dict) == names
    assert losses["loss_bbox"] == losses["loss_giou"] == 0
    assert losses["loss_ce"] > 0
    criterion.total(losses).backward()
    assert torch.isfinite(outputs["pred_boxes"].grad).all()
    assert outputs["pred_logits"].grad.abs().sum() > 0
