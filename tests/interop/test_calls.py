"""What an exchanged module takes and gives as the original does: broadcasting, sizes, export."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsct.interop.attention import accelerate_attention, restore_attention
from tests.comparison import randomise
from tests.interop.look_alikes import MSDeformAttn, MultiScaleDeformableAttention
from tests.interop.small_model import VALUE, Attention, Small
from tests.interop.test_attention import CELLS, QUERY, SHAPES, Model, call
from tests.reference.deform_attn import ms_deform_attn as reference


class Twice(nn.Module):
    """The same module, as it was and exchanged."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.original, self.exchanged = make(), make()
        randomise(self.original, 0.2)
        self.exchanged.load_state_dict(self.original.state_dict())
        assert len(accelerate_attention(self.exchanged)) == 1

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        return [self.exchanged(*args, **kwargs), self.original(*args, **kwargs)]


@pytest.mark.parametrize("coordinates", [2, 4])
@pytest.mark.parametrize("sizes", [(1, 5, 2), (2, 1, 2), (2, 5, 1), (1, 1, 1)])
def test_one_reference_point_for_all(sizes: tuple[int, ...], coordinates: int) -> None:
    query, points, memory, shapes, starts, padding = call(QUERY, 2, coordinates)
    points = points[tuple(slice(size) for size in sizes)]
    both = Twice(lambda: MSDeformAttn(32, 2, 4, 3))
    torch.testing.assert_close(*both(query, points, memory, shapes, starts, padding), rtol=1e-4, atol=1e-5)
    both = Twice(lambda: MultiScaleDeformableAttention(32, 4, 2, 3, batch_first=True))
    found = both(query, None, memory, reference_points=points, spatial_shapes=shapes, key_padding_mask=padding)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(2, 4, 2), (2, 5, 3)])
def test_reference_points_that_do_not_fit_are_named(sizes: tuple[int, ...]) -> None:
    model = Model()
    accelerate_attention(model)
    query, _, *rest = call(QUERY)
    with pytest.raises(ValueError, match="reference_points"):
        model.attention(query, torch.rand(*sizes, 4), *rest)


@pytest.mark.parametrize(
    "shapes", [torch.tensor(SHAPES).float(), torch.tensor(SHAPES).double(), [(7.0, 9.0), [4, 5.0]]]
)
def test_whole_numbers_in_floating_point_are_sizes(shapes: Any) -> None:
    model = Model()
    accelerate_attention(model)
    query, points, memory, exact, starts, padding = call(QUERY)
    expected = model.attention(query, points, memory, exact, starts, padding)
    assert torch.equal(model.attention(query, points, memory, shapes, starts, padding), expected)
    core = Attention(lambda out: out)
    accelerate_attention(core)
    locations, weights = torch.rand(2, 5, 2, 2, 3, 2), torch.rand(2, 5, 2, 2, 3)
    value = memory.view(2, CELLS, 2, 16)
    found = [core(value, each, None, None, locations, weights, 64) for each in (shapes, exact)]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "shapes", [torch.tensor([(7.5, 9.0), (4.0, 5.0)]), torch.tensor([(torch.nan, 9.0), (4.0, 5.0)]), [(7.5, 9), (4, 5)]]
)
def test_other_numbers_are_no_sizes(shapes: Any) -> None:
    model = Model()
    accelerate_attention(model)
    query, points, memory, _, starts, padding = call(QUERY)
    with pytest.raises(TypeError, match="spatial_shapes must hold integers"):
        model.attention(query, points, memory, shapes, starts, padding)


def test_large_numbers_in_half_precision_are_finite() -> None:
    model = Model().half()
    with torch.no_grad():
        model.attention.get_submodule("sampling_offsets").bias.fill_(30000)
    accelerate_attention(model, compare=False)
    query, points, memory, shapes, starts, _ = call(QUERY)
    assert bool(model.attention(query.half(), points, memory.half(), shapes, starts).isfinite().all())


class KnownSizes(MSDeformAttn):
    """Takes level sizes in a tensor that it does not read, so torch.export knows them."""

    def forward(
        self, query: Any, reference_points: Any, input_flatten: Any, input_spatial_shapes: Any,
        input_level_start_index: Any, input_padding_mask: Any = None,
    ) -> Any:  # fmt: skip
        batch, queries, _ = query.shape
        value = self.value_proj(input_flatten).view(batch, -1, 4, 8)
        offsets = self.sampling_offsets(query).view(batch, queries, 4, 2, 3, 2)
        weights = self.attention_weights(query).view(batch, queries, 4, 6).softmax(-1).view(batch, queries, 4, 2, 3)
        locations = reference_points[:, :, None, :, None, :2] + offsets / input_spatial_shapes.flip(-1)[:, None]
        return self.output_proj(reference(value, SHAPES, locations, weights))


@pytest.mark.filterwarnings("ignore")
def test_export_after_the_exchange_is_undone() -> None:
    pytest.importorskip("onnxscript")
    model = Small().eval()
    expected = model(VALUE)["out"]
    assert accelerate_attention(model) == {"attention": "Hugging Face"}
    with pytest.raises(Exception, match="ONNX"):
        torch.onnx.export(model, (VALUE,), io.BytesIO(), dynamo=True, verbose=False)
    restore_attention(model)
    torch.onnx.export(model, (VALUE,), io.BytesIO(), dynamo=True, verbose=False)
    assert torch.equal(torch.export.export(model, (VALUE,)).module()(VALUE)["out"], expected)


@pytest.mark.filterwarnings("ignore")
def test_export_with_level_sizes_in_a_tensor_after_the_exchange_is_undone() -> None:
    attention = Model(KnownSizes).attention
    given = call(QUERY, 2, 2)[:-1]
    expected = attention(*given)
    assert accelerate_attention(attention) == {"": "Deformable DETR"}
    with pytest.raises(Exception, match=r"data-dependent|dsct"):
        torch.export.export(attention, given)
    restore_attention(attention)
    torch.testing.assert_close(torch.export.export(attention, given).module()(*given), expected)
