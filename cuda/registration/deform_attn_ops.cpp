// torch.ops.dsct.ms_deform_attn and ms_deform_attn_fused: their schemas, and one registration per dispatch key.
//
// Needs g++ and torch's headers only. The arithmetic is elsewhere: CPU in src/ops/deform_attn_cpu/, CUDA in
// deform_attn_cuda_ops.cpp, every other device in the composite formulation of deform_attn_composite.h. tch cannot
// define an operator with its own backward, hence this file. Backward and double backward are registered too: without
// an Autograd kernel on the backward operator a second derivative would be silently wrong.
//
// The fused operator takes reference points + offsets and the softmax into the kernel: neither sampling locations nor
// attention weights exist in memory, forward or backward.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "deform_attn_call.h"
#include "function_transforms.h"

namespace dsct {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// ---------------------------------------------------------------- CPU

at::Tensor forward_cpu(const Arguments& a) {
  check_arguments(a);
  const KernelCall call(a, contiguous);
  auto out = call.new_output();
  const auto status =
      dsct_deform_attn_cpu_forward(&call.shape, &call.inputs, out.mutable_data_ptr(), at::get_num_threads());
  TORCH_CHECK(status == 0, a.name(), ": ", dsct_last_error());
  return out;
}

Tensors backward_cpu(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  check_arguments(a);
  check_grad_out(grad_out, a);
  const KernelCall call(a, contiguous);
  const KernelGradients grads(call, a.value.scalar_type(), mask);
  const auto g = contiguous(grad_out, a.value.scalar_type());
  const auto pointers = grads.pointers();
  const auto status = dsct_deform_attn_cpu_backward(&call.shape, &call.inputs, g.const_data_ptr(), &pointers,
                                                    at::get_num_threads());
  TORCH_CHECK(status == 0, a.backward_name(), ": ", dsct_last_error());
  return input_gradients(grads, a, mask);
}

// ---------------------------------------------------------------- Meta: shapes for FakeTensor, export, compile

at::Tensor forward_meta(const Arguments& a) {
  check_arguments(a);
  const auto &value = a.value, &points = a.points;
  return value.new_empty_symint({value.sym_size(0), points.sym_size(1), value.sym_size(2) * value.sym_size(3)});
}

Tensors backward_meta(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  check_arguments(a);
  check_grad_out(grad_out, a);
  auto grads = a.tensors();
  for (size_t i = 0; i < grads.size(); i++)
    grads[i] = mask[i] ? grads[i].new_empty_symint(grads[i].sym_sizes()) : at::Tensor();
  return grads;
}

// ---------------------------------------------------------------- devices without a kernel of their own

at::Tensor forward_composite(const Arguments& a) {
  check_arguments(a);
  return composite_forward(a);
}

Tensors backward_composite(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  check_arguments(a);
  check_grad_out(grad_out, a);
  return composite_backward(grad_out, a, mask);
}

// ---------------------------------------------------------------- Autograd

using Optional = std::optional<at::Tensor>;  // what a Function leaves out when it counts its inputs

Optional optional(const at::Tensor& t) { return t.defined() ? Optional(t) : std::nullopt; }

// One entry for each that `mask` names: a Function cannot return an undefined tensor.
variable_list packed(const Tensors& all, Mask mask) {
  variable_list needed;
  for (size_t i = 0; i < all.size(); i++)
    if (mask[i]) needed.push_back(all[i]);
  return needed;
}

Tensors unpacked(const variable_list& needed, Mask mask) {
  Tensors all;
  for (size_t i = 0, next = 0; i < all.size(); i++)
    if (mask[i]) all[i] = needed[next++];
  return all;
}

struct DeformAttnBackward : torch::autograd::Function<DeformAttnBackward> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& grad_out, const at::Tensor& value,
                               std::vector<c10::SymInt> shapes, const Optional& reference, const at::Tensor& points,
                               const at::Tensor& weights, Mask mask) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Arguments a{value, shapes, reference.value_or(at::Tensor()), points, weights};
    ctx->save_for_backward({grad_out, a.value, a.reference, a.points, a.weights});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    ctx->saved_data["mask"] = c10::IValue(c10::List<bool>({mask[0], mask[1], mask[2], mask[3]}));
    return packed(call_backward(grad_out, a, mask), mask);
  }
  static variable_list backward(AutogradContext* ctx, variable_list needed) {
    const auto saved = ctx->get_saved_variables();
    const auto shapes = ctx->saved_data["spatial_shapes"].toSymIntVector();
    const auto list = ctx->saved_data["mask"].toBoolList();
    const auto grads = unpacked(needed, {list.get(0), list.get(1), list.get(2), list.get(3)});
    const auto [grad_out, second] =
        composite_double_backward(grads, saved[0], {saved[1], shapes, saved[2], saved[3], saved[4]});
    return {grad_out, second[0], at::Tensor(), second[1], second[2], second[3], at::Tensor()};
  }
};

struct DeformAttn : torch::autograd::Function<DeformAttn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& value, std::vector<c10::SymInt> shapes,
                            const Optional& reference, const at::Tensor& points, const at::Tensor& weights) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Arguments a{value, shapes, reference.value_or(at::Tensor()), points, weights};
    ctx->save_for_backward({a.value, a.reference, a.points, a.weights});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    return call_forward(a);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto shapes = ctx->saved_data["spatial_shapes"].toSymIntVector();
    // Numbered over the tensors that there are.
    Mask mask;
    for (size_t i = 0, next = 0; i < mask.size(); i++) mask[i] = saved[i].defined() && ctx->needs_input_grad(next++);
    auto [v, r, p, w] = call_backward(grads[0], {saved[0], shapes, saved[1], saved[2], saved[3]}, mask);
    return {v, at::Tensor(), r, p, w};
  }
};

at::Tensor forward_autograd(const Arguments& a) {
  if (in_transform()) return forward_in_transform(a);
  if (has_tangent(a.value, a.reference, a.points, a.weights)) return composite_forward(a);
  return DeformAttn::apply(a.value, a.shapes.vec(), optional(a.reference), a.points, a.weights);
}

Tensors backward_autograd(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  if (mask == Mask{}) return {};
  if (in_transform()) return backward_in_transform(grad_out, a, mask);
  return unpacked(DeformAttnBackward::apply(grad_out, a.value, a.shapes.vec(), optional(a.reference), a.points,
                                            a.weights, mask),
                  mask);
}

// ---------------------------------------------------------------- Autocast

// The value goes to the low type, coordinates stay in float32: at a map width of 134 one bfloat16 step of a coordinate
// is half a cell. Offsets and logits come from linear layers in the low type already, which is precise enough for a
// distance of a few cells: they stay as they are.
template <c10::DeviceType device>
at::Tensor forward_autocast(const Arguments& a) {
  using at::autocast::cached_cast;
  const c10::impl::ExcludeDispatchKeyGuard below(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const auto low = at::autocast::get_lower_precision_fp_from_device_type(device);
  const auto high = [](const at::Tensor& t) { return cached_cast(at::kFloat, t, device); };
  const auto keep = [&](const at::Tensor& t) { return a.fused() && t.scalar_type() == low ? t : high(t); };
  return call_forward({cached_cast(low, a.value, device), a.shapes, a.fused() ? high(a.reference) : a.reference,
                       keep(a.points), keep(a.weights)});
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

TORCH_LIBRARY_IMPL(dsct, CPU, m) { implement<forward_cpu, backward_cpu>(m); }
TORCH_LIBRARY_IMPL(dsct, CompositeExplicitAutograd, m) { implement<forward_composite, backward_composite>(m); }
TORCH_LIBRARY_IMPL(dsct, Meta, m) { implement<forward_meta, backward_meta>(m); }
TORCH_LIBRARY_IMPL(dsct, Autograd, m) { implement<forward_autograd, backward_autograd>(m); }
TORCH_LIBRARY_IMPL(dsct, AutocastCPU, m) { implement_forward<forward_autocast<c10::DeviceType::CPU>>(m); }
TORCH_LIBRARY_IMPL(dsct, AutocastCUDA, m) { implement_forward<forward_autocast<c10::DeviceType::CUDA>>(m); }

}  // namespace dsct

// See dsct_ops_anchor.
extern "C" void dsct_deform_attn_anchor() {}
