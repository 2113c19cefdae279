// torch.ops.dsct.* on CUDA: tensors made ready, kernels launched on torch's current stream.
//
// No CUDA header is needed: device guard, stream and allocator are reached through c10, the kernels through
// src/ops/deform_attn_cuda/. Outputs and temporaries are allocated under the stream that the kernels run on, so that the
// caching allocator knows when they are free. Calls for which there is no kernel, and all calls under
// DSCT_CUDA_KERNELS=off, run the composite formulation.
#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>

#include "deform_attn_call.h"

namespace dsct {
namespace {

constexpr auto kForward = "ms_deform_attn", kBackward = "ms_deform_attn_backward";
constexpr auto kFusedForward = "ms_deform_attn_fused", kFusedBackward = "ms_deform_attn_fused_backward";

// A contiguous view may start in the middle of its storage, where a 16-byte load would fault.
at::Tensor aligned(const at::Tensor& t, at::ScalarType type) {
  const auto ready = t.to(type).contiguous();
  return reinterpret_cast<uintptr_t>(ready.const_data_ptr()) % 16 == 0 ? ready : ready.clone();
}

// Where the kernels run. The tests hand tensors of the CPU to this file, over a stand-in for the driver that runs the
// kernels on the host: those have no stream.
struct Place {
  int32_t device = 0;
  void* stream = nullptr;

  explicit Place(const at::Device& on) {
    if (!on.is_cuda()) return;
    device = on.index();
    stream = c10::impl::VirtualGuardImpl(on.type()).getStream(on).native_handle();
  }
};

bool has_kernel(const KernelCall& call) {
  const auto* setting = std::getenv("DSCT_CUDA_KERNELS");
  const bool off = setting && std::strcmp(setting, "off") == 0;
  return !off && !at::globalContext().hasROCM() && dsct_deform_attn_cuda_supports(&call.shape, &call.inputs);
}

void check_status(const char* op, int32_t status) {
  TORCH_CHECK(status == 0, op, ": ", dsct_last_error(),
              "\n(DSCT_CUDA_KERNELS=off runs torch's operators instead; `dsct info` says what was found.)");
}

// ---------------------------------------------------------------- forward

at::Tensor run_forward(const char* op, const KernelCall& call) {
  auto out = call.new_output();
  const Place place(out.device());
  check_status(op, dsct_deform_attn_cuda_forward(&call.shape, &call.inputs, out.mutable_data_ptr(), place.device,
                                                 place.stream));
  return out;
}

at::Tensor forward_cuda(const at::Tensor& value, at::IntArrayRef shapes, const at::Tensor& locations,
                        const at::Tensor& weights) {
  const auto symbolic = c10::fromIntArrayRefSlow(shapes);
  check_arguments(value, symbolic, locations, weights);
  const c10::DeviceGuard guard(value.device());
  const KernelCall call(value, shapes, {}, locations, weights, aligned);
  if (has_kernel(call)) return run_forward(kForward, call);
  const auto type = arithmetic_type(value);
  return composite_forward(value.to(type), symbolic, locations.to(type), weights.to(type)).to(value.scalar_type());
}

at::Tensor fused_forward_cuda(const at::Tensor& value, at::IntArrayRef shapes, const at::Tensor& reference,
                              const at::Tensor& offsets, const at::Tensor& logits) {
  const auto symbolic = c10::fromIntArrayRefSlow(shapes);
  check_fused_arguments(value, symbolic, reference, offsets, logits);
  const c10::DeviceGuard guard(value.device());
  const KernelCall call(value, shapes, reference, offsets, logits, aligned);
  if (has_kernel(call)) return run_forward(kFusedForward, call);
  const auto type = arithmetic_type(value);
  return composite_fused_forward(value.to(type), symbolic, reference.to(type), offsets.to(type), logits.to(type))
      .to(value.scalar_type());
}

// ---------------------------------------------------------------- backward

// The largest |attention weight * grad_out| as one float64 on the device: what fixes the unit of the fixed point.
at::Tensor largest_product(const KernelCall& call, const at::Tensor& grad_out) {
  const auto type = arithmetic_type(call.value);
  auto weights = call.weights.to(type).flatten(3);
  if (call.reference.defined()) weights = weights.softmax(-1);
  const auto per_head = grad_out.to(type).view({call.shape.b, call.shape.q, call.shape.m, call.shape.d});
  return (weights.abs().amax(-1) * per_head.abs().amax(-1)).amax().to(at::kDouble);
}

void run_backward(const char* op, const KernelCall& call, const at::Tensor& grad_out, const KernelGradients& grads) {
  const auto g = aligned(grad_out, call.value.scalar_type());
  at::Tensor fixed_point, bound;
  if (grads.value.defined() && at::globalContext().deterministicAlgorithms()) {
    fixed_point = at::zeros(call.value.sizes(), call.value.options().dtype(at::kLong));
    bound = largest_product(call, g);
  } else if (grads.value.defined()) {
    grads.value.zero_();  // the kernels add to it
  }
  const auto pointers = grads.pointers();
  const Place place(g.device());
  check_status(op, dsct_deform_attn_cuda_backward(
                       &call.shape, &call.inputs, g.const_data_ptr(), &pointers,
                       fixed_point.defined() ? fixed_point.mutable_data_ptr() : nullptr,
                       bound.defined() ? bound.const_data_ptr<double>() : nullptr, place.device, place.stream));
}

Gradients backward_cuda(const at::Tensor& grad_out, const at::Tensor& value, at::IntArrayRef shapes,
                        const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  const auto symbolic = c10::fromIntArrayRefSlow(shapes);
  check_arguments(value, symbolic, locations, weights);
  check_grad_out(kBackward, grad_out, value, locations);
  const c10::DeviceGuard guard(value.device());
  const KernelCall call(value, shapes, {}, locations, weights, aligned);
  if (has_kernel(call)) {
    const KernelGradients grads(call, arithmetic_type(value), mask[0], mask[1], mask[2]);
    run_backward(kBackward, call, grad_out, grads);
    return {cast_like(grads.value, value), cast_like(grads.points, locations), cast_like(grads.weights, weights)};
  }
  const auto forward = [&](const std::vector<at::Tensor>& in) {
    return composite_forward(in[0], symbolic, in[1], in[2]);
  };
  const auto grads = composite_backward(forward, grad_out, {value, locations, weights},
                                        std::vector<bool>(mask.begin(), mask.end()), arithmetic_type(value));
  return {grads[0], grads[1], grads[2]};
}

FusedGradients fused_backward_cuda(const at::Tensor& grad_out, const at::Tensor& value, at::IntArrayRef shapes,
                                   const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                                   std::array<bool, 4> mask) {
  const auto symbolic = c10::fromIntArrayRefSlow(shapes);
  check_fused_arguments(value, symbolic, reference, offsets, logits);
  check_grad_out(kFusedBackward, grad_out, value, offsets);
  const c10::DeviceGuard guard(value.device());
  const KernelCall call(value, shapes, reference, offsets, logits, aligned);
  if (has_kernel(call)) {
    const KernelGradients grads(call, arithmetic_type(value), mask[0], mask[1] || mask[2], mask[3]);
    run_backward(kFusedBackward, call, grad_out, grads);
    return fused_gradients(grads, symbolic, value, reference, offsets, logits, mask);
  }
  const auto forward = [&](const std::vector<at::Tensor>& in) {
    return composite_fused_forward(in[0], symbolic, in[1], in[2], in[3]);
  };
  const auto grads = composite_backward(forward, grad_out, {value, reference, offsets, logits},
                                        std::vector<bool>(mask.begin(), mask.end()), arithmetic_type(value));
  return {grads[0], grads[1], grads[2], grads[3]};
}

}  // namespace

TORCH_LIBRARY_IMPL(dsct, CUDA, m) {
  m.impl(kForward, forward_cuda);
  m.impl(kBackward, backward_cuda);
  m.impl(kFusedForward, fused_forward_cuda);
  m.impl(kFusedBackward, fused_backward_cuda);
}

}  // namespace dsct

// See dsct_ops_anchor.
extern "C" void dsct_cuda_ops_anchor() {}
