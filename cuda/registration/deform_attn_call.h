// What the registrations of all devices share: calls through the dispatcher, tensors made ready for kernels, and one
// kernel registered under both operators' names.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "deform_attn.h"
#include "deform_attn_checks.h"
#include "deform_attn_composite.h"

namespace dsct {

using PlainGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using FusedGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

template <class Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

inline at::Tensor call_forward(const Arguments& a) {
  using T = const at::Tensor&;
  static const auto plain = find_operator<at::Tensor(T, c10::SymIntArrayRef, T, T)>("dsct::ms_deform_attn");
  static const auto fused = find_operator<at::Tensor(T, c10::SymIntArrayRef, T, T, T)>("dsct::ms_deform_attn_fused");
  return a.fused() ? fused.call(a.value, a.shapes, a.reference, a.points, a.weights)
                   : plain.call(a.value, a.shapes, a.points, a.weights);
}

inline Tensors call_backward(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  using T = const at::Tensor&;
  using S = c10::SymIntArrayRef;
  static const auto plain =
      find_operator<PlainGradients(T, T, S, T, T, std::array<bool, 3>)>("dsct::ms_deform_attn_backward");
  static const auto fused =
      find_operator<FusedGradients(T, T, S, T, T, T, std::array<bool, 4>)>("dsct::ms_deform_attn_fused_backward");
  if (a.fused()) {
    const auto [v, r, p, w] = fused.call(grad_out, a.value, a.shapes, a.reference, a.points, a.weights, mask);
    return {v, r, p, w};
  }
  const auto [v, p, w] =
      plain.call(grad_out, a.value, a.shapes, a.points, a.weights, {mask[0], mask[2], mask[3]});
  return {v, at::Tensor(), p, w};
}

// ---------------------------------------------------------------- one body under both names

using Forward = at::Tensor (*)(const Arguments&);
using Backward = Tensors (*)(const at::Tensor& grad_out, const Arguments&, Mask);

template <Forward body>
at::Tensor plain_forward(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                         const at::Tensor& weights) {
  return body({value, shapes, at::Tensor(), locations, weights});
}

template <Forward body>
at::Tensor fused_forward(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                         const at::Tensor& offsets, const at::Tensor& logits) {
  return body({value, shapes, reference, offsets, logits});
}

template <Backward body>
PlainGradients plain_backward(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                              const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  const Arguments arguments{value, shapes, at::Tensor(), locations, weights};
  const auto grads = body(grad_out, arguments, {mask[0], false, mask[1], mask[2]});
  return {grads[0], grads[2], grads[3]};
}

template <Backward body>
FusedGradients fused_backward(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                              const at::Tensor& reference, const at::Tensor& offsets, const at::Tensor& logits,
                              std::array<bool, 4> mask) {
  const auto grads = body(grad_out, {value, shapes, reference, offsets, logits}, mask);
  return {grads[0], grads[1], grads[2], grads[3]};
}

template <Forward body>
void implement_forward(torch::Library& library) {
  library.impl("ms_deform_attn", plain_forward<body>);
  library.impl("ms_deform_attn_fused", fused_forward<body>);
}

template <Forward forward, Backward backward>
void implement(torch::Library& library) {
  implement_forward<forward>(library);
  library.impl("ms_deform_attn_backward", plain_backward<backward>);
  library.impl("ms_deform_attn_fused_backward", fused_backward<backward>);
}

// ---------------------------------------------------------------- tensors for kernels

inline DsctDType dtype_code(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return kDsctFloat32;
    case at::kHalf: return kDsctFloat16;
    case at::kBFloat16: return kDsctBFloat16;
    default: return kDsctFloat64;  // the checks have refused everything else
  }
}

// Contiguous inputs of one kernel call, and the plain structures that describe them to it. `ready` makes a tensor of
// a dtype contiguous and, on a GPU, aligned.
struct KernelCall {
  at::Tensor value, reference, points, weights;
  DsctDeformAttnShape shape;
  DsctDeformAttnInputs inputs;

  template <class Ready>
  KernelCall(const Arguments& a, Ready ready) : value(ready(a.value, a.value.scalar_type())) {
    // The fused kernels read offsets and logits in the dtype of value too, which spares a pass over them.
    const auto low = a.fused() && a.points.scalar_type() == value.scalar_type() &&
                     a.weights.scalar_type() == value.scalar_type();
    const auto points_type = low ? value.scalar_type() : a.arithmetic();
    points = ready(a.points, points_type);
    weights = ready(a.weights, points_type);
    if (a.fused()) reference = ready(a.reference, a.arithmetic());
    shape = {value.size(0),  value.size(1),  value.size(2),  value.size(3),
             points.size(1), points.size(3), points.size(4), C10_AS_INTARRAYREF_SLOW(a.shapes).data()};
    inputs = {dtype_code(value.scalar_type()),
              dtype_code(points_type),
              a.fused() ? static_cast<int32_t>(reference.size(3)) : 0,
              value.const_data_ptr(),
              a.fused() ? reference.const_data_ptr() : nullptr,
              points.const_data_ptr(),
              weights.const_data_ptr()};
  }

  at::Tensor new_output() const { return at::empty({shape.b, shape.q, shape.m * shape.d}, value.options()); }
};

// Gradients that the kernels fill; undefined where nobody needs them. `value_type` is that of the gradient of value:
// the CPU kernels write all of it in the dtype of value, the CUDA kernels add to it in the arithmetic type.
struct KernelGradients {
  at::Tensor value, points, weights;

  KernelGradients(const KernelCall& call, at::ScalarType value_type, Mask mask) {
    const auto like = [](bool wanted, const at::Tensor& t, at::ScalarType type) {
      return wanted ? at::empty(t.sizes(), t.options().dtype(type)) : at::Tensor();
    };
    const auto arithmetic = arithmetic_type(call.value);
    value = like(mask[0], call.value, value_type);
    points = like(mask[1] || mask[2], call.points, arithmetic);
    weights = like(mask[3], call.weights, arithmetic);
  }

  DsctDeformAttnGradients pointers() const {
    const auto data = [](const at::Tensor& t) { return t.defined() ? t.mutable_data_ptr() : nullptr; };
    return {data(value), data(points), data(weights)};
  }
};

// What the CPU kernels ask of their inputs.
inline at::Tensor contiguous(const at::Tensor& t, at::ScalarType type) { return t.to(type).contiguous(); }

inline at::Tensor cast_like(const at::Tensor& gradient, const at::Tensor& input) {
  return gradient.defined() ? gradient.to(input.scalar_type()) : gradient;
}

// The gradients of the inputs. Beside a reference, that of `kernel.points` is with respect to cell coordinates, where
// x = reference · W + offset − ½, or x = (centre + offset / P · size / 2) · W − ½.
inline Tensors input_gradients(const KernelGradients& kernel, const Arguments& a, Mask mask) {
  at::Tensor grad_reference, grad_points = kernel.points;
  const auto boxes = a.fused() && a.reference.size(3) == 4;
  if (kernel.points.defined() && (boxes || mask[1])) {
    const auto at_locations = kernel.points * level_sizes(a.shapes, kernel.points);
    const auto half_step = 0.5 / static_cast<double>(a.points.size(4));
    if (mask[1]) grad_reference = at_locations.sum({2, 4});
    if (mask[1] && boxes) {
      // A point that lies nowhere has no gradient, also where its offset is infinite or NaN: 0 · inf is not 0.
      const auto products = (at_locations * a.points).masked_fill(at_locations.eq(0), 0);
      grad_reference = at::cat({grad_reference, products.sum({2, 4}) * half_step}, -1);
    }
    if (boxes && mask[2])
      grad_points = at_locations * (a.reference.narrow(3, 2, 2) * half_step).unsqueeze(2).unsqueeze(4);
  }
  return {cast_like(kernel.value, a.value), cast_like(grad_reference, a.reference),
          mask[2] ? cast_like(grad_points, a.points) : at::Tensor(), cast_like(kernel.weights, a.weights)};
}

}  // namespace dsct
