// ms_deform_attn_fused: reference points + offsets and the softmax inside the kernel, one registration per dispatch
// key. Neither sampling locations nor attention weights exist in memory, forward or backward.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "deform_attn_call.h"

namespace dsct {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kBackward = "ms_deform_attn_fused_backward";

CompositeForward composite(std::vector<c10::SymInt> shapes) {
  return [shapes = std::move(shapes)](const std::vector<at::Tensor>& in) {
    return composite_fused_forward(in[0], shapes, in[1], in[2], in[3]);
  };
}

// ---------------------------------------------------------------- CPU

at::Tensor forward_cpu(const at::Tensor& value, at::IntArrayRef shapes, const at::Tensor& reference,
                       const at::Tensor& offsets, const at::Tensor& logits) {
  check_fused_arguments(value, c10::fromIntArrayRefSlow(shapes), reference, offsets, logits);
  const KernelCall call(value, shapes, reference, offsets, logits, contiguous);
  auto out = call.new_output();
  const auto status =
      dsct_deform_attn_cpu_forward(&call.shape, &call.inputs, out.mutable_data_ptr(), at::get_num_threads());
  TORCH_CHECK(status == 0, "ms_deform_attn_fused: ", dsct_last_error());
  return out;
}

FusedGradients backward_cpu(const at::Tensor& grad_out, const at::Tensor& value, at::IntArrayRef shapes,
                            const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                            std::array<bool, 4> mask) {
  const auto symbolic = c10::fromIntArrayRefSlow(shapes);
  check_fused_arguments(value, symbolic, reference, offsets, logits);
  check_grad_out(kBackward, grad_out, value, offsets);
  const KernelCall call(value, shapes, reference, offsets, logits, contiguous);
  const KernelGradients grads(call, value.scalar_type(), mask[0], mask[1] || mask[2], mask[3]);
  const auto g = contiguous(grad_out, value.scalar_type());
  const auto pointers = grads.pointers();
  const auto status = dsct_deform_attn_cpu_backward(&call.shape, &call.inputs, g.const_data_ptr(), &pointers,
                                                    at::get_num_threads());
  TORCH_CHECK(status == 0, kBackward, ": ", dsct_last_error());
  return fused_gradients(grads, symbolic, value, reference, offsets, logits, mask);
}

// ---------------------------------------------------------------- Meta: shapes for FakeTensor, export, compile

at::Tensor forward_meta(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                        const at::Tensor& offsets, const at::Tensor& logits) {
  check_fused_arguments(value, shapes, reference, offsets, logits);
  return value.new_empty_symint({value.sym_size(0), offsets.sym_size(1), value.sym_size(2) * value.sym_size(3)});
}

FusedGradients backward_meta(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                             const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                             std::array<bool, 4> mask) {
  check_fused_arguments(value, shapes, reference, offsets, logits);
  check_grad_out(kBackward, grad_out, value, offsets);
  const auto like = [](bool needed, const at::Tensor& t) {
    return needed ? t.new_empty_symint(t.sym_sizes()) : at::Tensor();
  };
  return {like(mask[0], value), like(mask[1], reference), like(mask[2], offsets), like(mask[3], logits)};
}

// ---------------------------------------------------------------- devices without a kernel of their own

at::Tensor forward_composite(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                             const at::Tensor& offsets, const at::Tensor& logits) {
  check_fused_arguments(value, shapes, reference, offsets, logits);
  const auto type = arithmetic_type(value);
  return composite_fused_forward(value.to(type), shapes, reference.to(type), offsets.to(type), logits.to(type))
      .to(value.scalar_type());
}

FusedGradients backward_composite(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                                  const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                                  std::array<bool, 4> mask) {
  check_fused_arguments(value, shapes, reference, offsets, logits);
  check_grad_out(kBackward, grad_out, value, offsets);
  const auto grads = composite_backward(composite(shapes.vec()), grad_out, {value, reference, offsets, logits},
                                        std::vector<bool>(mask.begin(), mask.end()), arithmetic_type(value));
  return {grads[0], grads[1], grads[2], grads[3]};
}

// ---------------------------------------------------------------- Autograd

// Outputs that `mask` leaves out do not exist for autograd either: a Function cannot return an undefined tensor.
struct FusedBackward : torch::autograd::Function<FusedBackward> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& grad_out, const at::Tensor& value,
                               std::vector<c10::SymInt> shapes, const at::Tensor& reference,
                               const at::Tensor& offsets, const at::Tensor& logits, std::vector<bool> mask) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto [gv, gr, go, gl] = call_fused_backward(grad_out, value, shapes, reference, offsets, logits,
                                                      {mask[0], mask[1], mask[2], mask[3]});
    ctx->save_for_backward({grad_out, value, reference, offsets, logits});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    ctx->saved_data["mask"] = c10::IValue(c10::List<bool>({mask[0], mask[1], mask[2], mask[3]}));
    variable_list needed;
    for (const auto& grad : {gv, gr, go, gl})
      if (grad.defined()) needed.push_back(grad);
    return needed;
  }
  static variable_list backward(AutogradContext* ctx, variable_list needed) {
    const auto saved = ctx->get_saved_variables();
    const auto mask = ctx->saved_data["mask"].toBoolList();
    variable_list grads(4);
    for (size_t i = 0, next = 0; i < 4; i++)
      if (mask.get(i)) grads[i] = needed[next++];
    const auto second =
        composite_double_backward(composite(ctx->saved_data["spatial_shapes"].toSymIntVector()), grads, saved[0],
                                  {saved[1], saved[2], saved[3], saved[4]}, arithmetic_type(saved[1]));
    return {second[0], second[1], at::Tensor(), second[2], second[3], second[4], at::Tensor()};
  }
};

struct Fused : torch::autograd::Function<Fused> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& value, std::vector<c10::SymInt> shapes,
                            const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({value, reference, offsets, logits});
    ctx->saved_data["spatial_shapes"] = c10::IValue(shapes);
    return call_fused_forward(value, shapes, reference, offsets, logits);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto shapes = ctx->saved_data["spatial_shapes"].toSymIntVector();
    // Numbered over the tensor arguments only.
    std::array<bool, 4> mask;
    for (size_t i = 0; i < 4; i++) mask[i] = ctx->needs_input_grad(i);
    auto [gv, gr, go, gl] = call_fused_backward(grads[0], saved[0], shapes, saved[1], saved[2], saved[3], mask);
    return {gv, at::Tensor(), gr, go, gl};
  }
};

at::Tensor forward_autograd(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                            const at::Tensor& offsets, const at::Tensor& logits) {
  return Fused::apply(value, shapes.vec(), reference, offsets, logits);
}

FusedGradients backward_autograd(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                                 const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                                 std::array<bool, 4> mask) {
  if (!mask[0] && !mask[1] && !mask[2] && !mask[3]) return {};
  const auto needed = FusedBackward::apply(grad_out, value, shapes.vec(), reference, offsets, logits,
                                           std::vector<bool>(mask.begin(), mask.end()));
  variable_list grads(4);
  for (size_t i = 0, next = 0; i < 4; i++)
    if (mask[i]) grads[i] = needed[next++];
  return {grads[0], grads[1], grads[2], grads[3]};
}

// ---------------------------------------------------------------- Autocast

// The value goes to the low type and reference points stay in float32. Offsets and logits come from linear layers in
// the low type already, which is precise enough for a distance of a few cells: they stay as they are.
template <c10::DeviceType device>
at::Tensor forward_autocast(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                            const at::Tensor& offsets, const at::Tensor& logits) {
  const c10::impl::ExcludeDispatchKeyGuard below(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const auto low = at::autocast::get_lower_precision_fp_from_device_type(device);
  const auto keep = [low](const at::Tensor& t) {
    return t.scalar_type() == low ? t : at::autocast::cached_cast(at::kFloat, t, device);
  };
  return call_fused_forward(at::autocast::cached_cast(low, value, device), shapes,
                            at::autocast::cached_cast(at::kFloat, reference, device), keep(offsets), keep(logits));
}

}  // namespace

TORCH_LIBRARY_IMPL(dsct, CPU, m) {
  m.impl("ms_deform_attn_fused", forward_cpu);
  m.impl("ms_deform_attn_fused_backward", backward_cpu);
}
TORCH_LIBRARY_IMPL(dsct, CompositeExplicitAutograd, m) {
  m.impl("ms_deform_attn_fused", forward_composite);
  m.impl("ms_deform_attn_fused_backward", backward_composite);
}
TORCH_LIBRARY_IMPL(dsct, Meta, m) {
  m.impl("ms_deform_attn_fused", forward_meta);
  m.impl("ms_deform_attn_fused_backward", backward_meta);
}
TORCH_LIBRARY_IMPL(dsct, Autograd, m) {
  m.impl("ms_deform_attn_fused", forward_autograd);
  m.impl("ms_deform_attn_fused_backward", backward_autograd);
}
TORCH_LIBRARY_IMPL(dsct, AutocastCPU, m) {
  m.impl("ms_deform_attn_fused", forward_autocast<c10::DeviceType::CPU>);
}
TORCH_LIBRARY_IMPL(dsct, AutocastCUDA, m) {
  m.impl("ms_deform_attn_fused", forward_autocast<c10::DeviceType::CUDA>);
}

}  // namespace dsct

// See dsct_ops_anchor.
extern "C" void dsct_fused_ops_anchor() {}
