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

#include "deform_attn_call.h"
#include "function_transforms.h"
#include "kernel_node.h"

namespace dsct {
namespace {

using torch::autograd::compute_requires_grad;

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

// The gradients of the backward operator's inputs.
struct DeformAttnBackward {
  static constexpr auto name = "DeformAttnBackwardBackward";
  static variable_list backward(const variable_list& grads, const Kept& kept, const std::vector<bool>&) {
    const auto& t = kept.tensors;
    const Arguments a{t[1], kept.sizes, t[2], t[3], t[4]};
    const auto [grad_out, second] = composite_double_backward({grads[0], grads[1], grads[2], grads[3]}, t[0], a);
    return {grad_out, second[0], second[1], second[2], second[3]};
  }
};

struct DeformAttn {
  static constexpr auto name = "DeformAttnBackward";
  static variable_list backward(const variable_list& grads, const Kept& kept, const std::vector<bool>& needed) {
    const auto& t = kept.tensors;
    Mask mask;
    for (size_t i = 0; i < mask.size(); i++) mask[i] = t[i].defined() && needed[i];
    const auto found = call_backward(grads[0], {t[0], kept.sizes, t[1], t[2], t[3]}, mask);
    return {found.begin(), found.end()};
  }
};

at::Tensor forward_autograd(const Arguments& a) {
  // In torch.func one derivative comes from the kernels, as outside. Those of derivatives and forward mode come from the
  // composite, which torch differentiates as often as there are transforms.
  if (derivatives() > 1 || has_tangent(a.value, a.reference, a.points, a.weights)) return forward_composite(a);
  const auto wanted = compute_requires_grad(a.value, a.reference, a.points, a.weights);
  const auto out = [&] {
    at::AutoDispatchBelowADInplaceOrView guard;
    return call_forward(a);
  }();
  const variable_list inputs = {a.value, a.reference, a.points, a.weights};
  if (wanted) record<DeformAttn>({out}, inputs, {inputs, a.shapes.vec()});
  return out;
}

Tensors backward_autograd(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  if (mask == Mask{}) return {};
  TORCH_CHECK_NOT_IMPLEMENTED(!has_tangent(grad_out, a.value, a.reference, a.points, a.weights), a.backward_name(),
                              ": has no forward-mode derivative, differentiate ", a.name(), " twice instead");
  const auto wanted = compute_requires_grad(grad_out, a.value, a.reference, a.points, a.weights);
  const auto grads = [&] {
    at::AutoDispatchBelowADInplaceOrView guard;
    return call_backward(grad_out, a, mask);
  }();
  const variable_list inputs = {grad_out, a.value, a.reference, a.points, a.weights};
  if (wanted) record<DeformAttnBackward>({grads.begin(), grads.end()}, inputs, {inputs, a.shapes.vec()});
  return grads;
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
