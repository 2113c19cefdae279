// torch.ops.dsct.*: the schemas, and ms_deform_attn with one registration per dispatch key.
//
// Needs g++ and torch's headers only. The arithmetic is elsewhere: CPU in src/ops/deform_attn_cpu/, CUDA in
// deform_attn_cuda_ops.cpp, every other device in the composite formulation of deform_attn_composite.h. tch cannot
// define an operator with its own backward, hence this file. Backward and double backward are registered too: without
// an Autograd kernel on the backward operator a second derivative would be silently wrong.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "deform_attn_call.h"

namespace dsct {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

CompositeForward composite(std::vector<c10::SymInt> shapes) {
  return [shapes = std::move(shapes)](const std::vector<at::Tensor>& in) {
    return composite_forward(in[0], shapes, in[1], in[2]);
  };
}

// ---------------------------------------------------------------- CPU

at::Tensor forward_cpu(const at::Tensor& value, at::IntArrayRef shapes, const at::Tensor& locations,
                       const at::Tensor& weights) {
  check_arguments(value, c10::fromIntArrayRefSlow(shapes), locations, weights);
  const KernelCall call(value, shapes, {}, locations, weights, contiguous);
  auto out = call.new_output();
  const auto status =
      dsct_deform_attn_cpu_forward(&call.shape, &call.inputs, out.mutable_data_ptr(), at::get_num_threads());
  TORCH_CHECK(status == 0, "ms_deform_attn: ", dsct_last_error());
  return out;
}

Gradients backward_cpu(const at::Tensor& grad_out, const at::Tensor& value, at::IntArrayRef shapes,
                       const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  check_arguments(value, c10::fromIntArrayRefSlow(shapes), locations, weights);
  check_grad_out("ms_deform_attn_backward", grad_out, value, locations);
  const KernelCall call(value, shapes, {}, locations, weights, contiguous);
  const KernelGradients grads(call, value.scalar_type(), mask[0], mask[1], mask[2]);
  const auto g = contiguous(grad_out, value.scalar_type());
  const auto pointers = grads.pointers();
  const auto status = dsct_deform_attn_cpu_backward(&call.shape, &call.inputs, g.const_data_ptr(), &pointers,
                                                    at::get_num_threads());
  TORCH_CHECK(status == 0, "ms_deform_attn_backward: ", dsct_last_error());
  return {cast_like(grads.value, value), cast_like(grads.points, locations), cast_like(grads.weights, weights)};
}

// ---------------------------------------------------------------- Meta: shapes for FakeTensor, export, compile

at::Tensor forward_meta(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                        const at::Tensor& weights) {
  check_arguments(value, shapes, locations, weights);
  return value.new_empty_symint({value.sym_size(0), locations.sym_size(1), value.sym_size(2) * value.sym_size(3)});
}

Gradients backward_meta(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                        const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  check_arguments(value, shapes, locations, weights);
  check_grad_out("ms_deform_attn_backward", grad_out, value, locations);
  const auto like = [](bool needed, const at::Tensor& t) {
    return needed ? t.new_empty_symint(t.sym_sizes()) : at::Tensor();
  };
  return {like(mask[0], value), like(mask[1], locations), like(mask[2], weights)};
}

// ---------------------------------------------------------------- devices without a kernel of their own

at::Tensor forward_composite(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                             const at::Tensor& weights) {
  check_arguments(value, shapes, locations, weights);
  const auto arithmetic = arithmetic_type(value);
  return composite_forward(value.to(arithmetic), shapes, locations.to(arithmetic), weights.to(arithmetic))
      .to(value.scalar_type());
}

Gradients backward_composite(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                             const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  check_arguments(value, shapes, locations, weights);
  check_grad_out("ms_deform_attn_backward", grad_out, value, locations);
  const auto grads = composite_backward(composite(shapes.vec()), grad_out, {value, locations, weights},
                                        std::vector<bool>(mask.begin(), mask.end()), arithmetic_type(value));
  return {grads[0], grads[1], grads[2]};
}

// ---------------------------------------------------------------- Autograd

// Outputs that `mask` leaves out do not exist for autograd either: a Function cannot return an undefined tensor.
struct DeformAttnBackward : torch::autograd::Function<DeformAttnBackward> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& grad_out, const at::Tensor& value,
                               std::vector<c10::SymInt> shapes, const at::Tensor& locations,
                               const at::Tensor& weights, std::vector<bool> mask) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto [gv, gl, gw] =
        call_backward(grad_out, value, shapes, locations, weights, {mask[0], mask[1], mask[2]});
    ctx->save_for_backward({grad_out, value, locations, weights});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    ctx->saved_data["mask"] = c10::IValue(c10::List<bool>({mask[0], mask[1], mask[2]}));
    variable_list needed;
    for (const auto& grad : {gv, gl, gw})
      if (grad.defined()) needed.push_back(grad);
    return needed;
  }
  static variable_list backward(AutogradContext* ctx, variable_list needed) {
    const auto saved = ctx->get_saved_variables();
    const auto mask = ctx->saved_data["mask"].toBoolList();
    variable_list grads(3);
    for (size_t i = 0, next = 0; i < 3; i++)
      if (mask.get(i)) grads[i] = needed[next++];
    const auto second =
        composite_double_backward(composite(ctx->saved_data["spatial_shapes"].toSymIntVector()), grads, saved[0],
                                  {saved[1], saved[2], saved[3]}, arithmetic_type(saved[1]));
    return {second[0], second[1], at::Tensor(), second[2], second[3], at::Tensor()};
  }
};

struct DeformAttn : torch::autograd::Function<DeformAttn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& value, std::vector<c10::SymInt> shapes,
                            const at::Tensor& locations, const at::Tensor& weights) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({value, locations, weights});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    return call_forward(value, shapes, locations, weights);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto shapes = ctx->saved_data["spatial_shapes"].toSymIntVector();
    // Numbered over the tensor arguments only.
    const std::array<bool, 3> mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2)};
    auto [gv, gl, gw] = call_backward(grads[0], saved[0], shapes, saved[1], saved[2], mask);
    return {gv, at::Tensor(), gl, gw};
  }
};

at::Tensor forward_autograd(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                            const at::Tensor& weights) {
  return DeformAttn::apply(value, shapes.vec(), locations, weights);
}

Gradients backward_autograd(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                            const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  if (!mask[0] && !mask[1] && !mask[2]) return {};
  const auto needed = DeformAttnBackward::apply(grad_out, value, shapes.vec(), locations, weights,
                                                std::vector<bool>(mask.begin(), mask.end()));
  variable_list grads(3);
  for (size_t i = 0, next = 0; i < 3; i++)
    if (mask[i]) grads[i] = needed[next++];
  return {grads[0], grads[1], grads[2]};
}

// ---------------------------------------------------------------- Autocast

// The value goes to the low type, coordinates and weights stay in float32: at a map width of 134 one bfloat16 step
// of a coordinate is half a cell.
template <c10::DeviceType device>
at::Tensor forward_autocast(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                            const at::Tensor& weights) {
  const c10::impl::ExcludeDispatchKeyGuard below(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const auto low = at::autocast::get_lower_precision_fp_from_device_type(device);
  return call_forward(at::autocast::cached_cast(low, value, device), shapes,
                      at::autocast::cached_cast(at::kFloat, locations, device),
                      at::autocast::cached_cast(at::kFloat, weights, device));
}

}  // namespace

TORCH_LIBRARY(dsct, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "ms_deform_attn(Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, Tensor attention_weights) "
      "-> Tensor",
      tags);
  m.def(
      "ms_deform_attn_backward(Tensor grad_output, Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, "
      "Tensor attention_weights, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
      tags);
  m.def(
      "ms_deform_attn_fused(Tensor value, SymInt[] spatial_shapes, Tensor reference_points, Tensor sampling_offsets, "
      "Tensor logits) -> Tensor",
      tags);
  m.def(
      "ms_deform_attn_fused_backward(Tensor grad_output, Tensor value, SymInt[] spatial_shapes, "
      "Tensor reference_points, Tensor sampling_offsets, Tensor logits, bool[4] output_mask) "
      "-> (Tensor, Tensor, Tensor, Tensor)",
      tags);
}

TORCH_LIBRARY_IMPL(dsct, CPU, m) {
  m.impl("ms_deform_attn", forward_cpu);
  m.impl("ms_deform_attn_backward", backward_cpu);
}
TORCH_LIBRARY_IMPL(dsct, CompositeExplicitAutograd, m) {
  m.impl("ms_deform_attn", forward_composite);
  m.impl("ms_deform_attn_backward", backward_composite);
}
TORCH_LIBRARY_IMPL(dsct, Meta, m) {
  m.impl("ms_deform_attn", forward_meta);
  m.impl("ms_deform_attn_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(dsct, Autograd, m) {
  m.impl("ms_deform_attn", forward_autograd);
  m.impl("ms_deform_attn_backward", backward_autograd);
}
TORCH_LIBRARY_IMPL(dsct, AutocastCPU, m) { m.impl("ms_deform_attn", forward_autocast<c10::DeviceType::CPU>); }
TORCH_LIBRARY_IMPL(dsct, AutocastCUDA, m) { m.impl("ms_deform_attn", forward_autocast<c10::DeviceType::CUDA>); }

}  // namespace dsct

// See dsct_ops_anchor.
extern "C" void dsct_plain_ops_anchor() {}
