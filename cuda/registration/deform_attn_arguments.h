// One call of either operator, ms_deform_attn or ms_deform_attn_fused: behind the dispatcher they are one.
#pragma once
#include <ATen/ATen.h>

#include <array>

namespace dsct {

// Half types compute in float32.
inline at::ScalarType arithmetic_type(const at::Tensor& value) {
  return value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Something of value, reference, points and weights, in this order: their gradients, or whether these are wanted.
using Tensors = std::array<at::Tensor, 4>;
using Mask = std::array<bool, 4>;

struct Arguments {
  at::Tensor value;
  c10::SymIntArrayRef shapes;
  at::Tensor reference;  // undefined in ms_deform_attn
  at::Tensor points;     // sampling locations, or sampling offsets from the reference
  at::Tensor weights;    // attention weights, or their logits

  bool fused() const { return reference.defined(); }
  const char* name() const { return fused() ? "ms_deform_attn_fused" : "ms_deform_attn"; }
  const char* backward_name() const { return fused() ? "ms_deform_attn_fused_backward" : "ms_deform_attn_backward"; }
  at::ScalarType arithmetic() const { return arithmetic_type(value); }
  Tensors tensors() const { return {value, reference, points, weights}; }
  Arguments with(const Tensors& t) const { return {t[0], shapes, t[1], t[2], t[3]}; }
};

}  // namespace dsct
