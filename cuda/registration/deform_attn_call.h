// What the registrations of all devices share: typed calls through the dispatcher, and tensors made ready for kernels.
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "deform_attn.h"
#include "deform_attn_checks.h"
#include "deform_attn_composite.h"

namespace dsct {

using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using FusedGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

inline at::Tensor call_forward(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                               const at::Tensor& weights) {
  using Op = at::Tensor(const at::Tensor&, c10::SymIntArrayRef, const at::Tensor&, const at::Tensor&);
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("dsct::ms_deform_attn", "").typed<Op>();
  return op.call(value, shapes, locations, weights);
}

inline Gradients call_backward(const at::Tensor& grad_out, const at::Tensor& value, c10::SymIntArrayRef shapes,
                               const at::Tensor& locations, const at::Tensor& weights, std::array<bool, 3> mask) {
  using Op = Gradients(const at::Tensor&, const at::Tensor&, c10::SymIntArrayRef, const at::Tensor&,
                       const at::Tensor&, std::array<bool, 3>);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("dsct::ms_deform_attn_backward", "").typed<Op>();
  return op.call(grad_out, value, shapes, locations, weights, mask);
}

inline at::Tensor call_fused_forward(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                                     const at::Tensor& offsets, const at::Tensor& logits) {
  using Op =
      at::Tensor(const at::Tensor&, c10::SymIntArrayRef, const at::Tensor&, const at::Tensor&, const at::Tensor&);
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("dsct::ms_deform_attn_fused", "").typed<Op>();
  return op.call(value, shapes, reference, offsets, logits);
}

inline FusedGradients call_fused_backward(const at::Tensor& grad_out, const at::Tensor& value,
                                          c10::SymIntArrayRef shapes, const at::Tensor& reference,
                                          const at::Tensor& offsets, const at::Tensor& logits,
                                          std::array<bool, 4> mask) {
  using Op = FusedGradients(const at::Tensor&, const at::Tensor&, c10::SymIntArrayRef, const at::Tensor&,
                            const at::Tensor&, const at::Tensor&, std::array<bool, 4>);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("dsct::ms_deform_attn_fused_backward", "").typed<Op>();
  return op.call(grad_out, value, shapes, reference, offsets, logits, mask);
}

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
  KernelCall(const at::Tensor& value_, at::IntArrayRef shapes, const at::Tensor& reference_, const at::Tensor& points_,
             const at::Tensor& weights_, Ready ready)
      : value(ready(value_, value_.scalar_type())) {
    const auto arithmetic = arithmetic_type(value);
    // The fused kernels read offsets and logits in the dtype of value too, which spares a pass over them.
    const auto low = reference_.defined() && points_.scalar_type() == value.scalar_type() &&
                     weights_.scalar_type() == value.scalar_type();
    const auto points_type = low ? value.scalar_type() : arithmetic;
    points = ready(points_, points_type);
    weights = ready(weights_, points_type);
    if (reference_.defined()) reference = ready(reference_, arithmetic);
    shape = {value.size(0),  value.size(1),  value.size(2),  value.size(3),
             points.size(1), points.size(3), points.size(4), shapes.data()};
    inputs = {dtype_code(value.scalar_type()),
              dtype_code(points_type),
              reference.defined() ? static_cast<int32_t>(reference.size(3)) : 0,
              value.const_data_ptr(),
              reference.defined() ? reference.const_data_ptr() : nullptr,
              points.const_data_ptr(),
              weights.const_data_ptr()};
  }

  at::Tensor new_output() const { return at::empty({shape.b, shape.q, shape.m * shape.d}, value.options()); }
};

// Gradients that the kernels fill; undefined where nobody needs them. `value_type` is that of the gradient of value: the
// CPU kernels write all of it in the dtype of value, the CUDA kernels add to it in the arithmetic type.
struct KernelGradients {
  at::Tensor value, points, weights;

  KernelGradients(const KernelCall& call, at::ScalarType value_type, bool wants_value, bool wants_points,
                  bool wants_weights) {
    const auto arithmetic = arithmetic_type(call.value);
    if (wants_value) value = at::empty(call.value.sizes(), call.value.options().dtype(value_type));
    if (wants_points) points = at::empty(call.points.sizes(), call.points.options().dtype(arithmetic));
    if (wants_weights) weights = at::empty(call.weights.sizes(), call.weights.options().dtype(arithmetic));
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

// From the gradient with respect to cell coordinates (B,Q,M,L,P,2) to those of reference points and offsets:
// x = reference · W + offset − ½, or x = (centre + offset / P · size / 2) · W − ½.
inline FusedGradients fused_gradients(const KernelGradients& kernel, c10::SymIntArrayRef shapes,
                                      const at::Tensor& value, const at::Tensor& reference, const at::Tensor& offsets,
                                      const at::Tensor& logits, std::array<bool, 4> mask) {
  at::Tensor grad_reference, grad_offsets = kernel.points;
  const auto boxes = reference.size(3) == 4;
  if (kernel.points.defined() && (boxes || mask[1])) {
    const auto at_locations = kernel.points * level_sizes(shapes, kernel.points);
    const auto half_step = 0.5 / static_cast<double>(offsets.size(4));
    if (mask[1]) grad_reference = at_locations.sum({2, 4});
    if (mask[1] && boxes) {
      // A point that lies nowhere has no gradient, also where its offset is infinite or NaN: 0 · inf is not 0.
      const auto products = (at_locations * offsets).masked_fill(at_locations.eq(0), 0);
      grad_reference = at::cat({grad_reference, products.sum({2, 4}) * half_step}, -1);
    }
    if (boxes && mask[2])
      grad_offsets = at_locations * (reference.narrow(3, 2, 2) * half_step).unsqueeze(2).unsqueeze(4);
  }
  return {cast_like(kernel.value, value), cast_like(grad_reference, reference),
          mask[2] ? cast_like(grad_offsets, offsets) : at::Tensor(), cast_like(kernel.weights, logits)};
}

}  // namespace dsct
