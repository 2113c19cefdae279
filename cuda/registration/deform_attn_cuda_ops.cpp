// Deformable attention on CUDA: tensors made ready, kernels launched on torch's current stream.
//
// No CUDA header is needed: device guard, stream and allocator are reached through c10, the kernels through
// src/ops/deform_attn_cuda/. Outputs and temporaries are allocated under the stream that the kernels run on, so that the
// caching allocator knows when they are free. Calls for which there is no kernel, and all calls under
// DSCT_CUDA_KERNELS=off, run the composite formulation.
#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>
#include <cstring>

#include "deform_attn_call.h"

namespace dsct {
namespace {

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

at::Tensor forward_cuda(const Arguments& a) {
  check_arguments(a);
  const c10::DeviceGuard guard(a.value.device());
  const KernelCall call(a, aligned);
  if (!has_kernel(call)) return composite_forward(a);
  auto out = call.new_output();
  const Place place(out.device());
  check_status(a.name(), dsct_deform_attn_cuda_forward(&call.shape, &call.inputs, out.mutable_data_ptr(),
                                                       place.device, place.stream));
  return out;
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

Tensors backward_cuda(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  check_arguments(a);
  check_grad_out(grad_out, a);
  const c10::DeviceGuard guard(a.value.device());
  const KernelCall call(a, aligned);
  if (!has_kernel(call)) return composite_backward(grad_out, a, mask);
  const KernelGradients grads(call, a.arithmetic(), mask);
  run_backward(a.backward_name(), call, grad_out, grads);
  return input_gradients(grads, a, mask);
}

}  // namespace

TORCH_LIBRARY_IMPL(dsct, CUDA, m) { implement<forward_cuda, backward_cuda>(m); }

}  // namespace dsct
