// Argument checks of the operators: every way in (Python, Rust, traced graphs) passes here before memory is touched.
#pragma once
#include "deform_attn_arguments.h"

namespace dsct {

struct NamedTensor {
  const char* name;
  const at::Tensor& tensor;
};

// `value` first; the others share its device, and its dtype or its arithmetic type.
inline void check_kinds(const char* op, const at::Tensor& value, std::initializer_list<NamedTensor> others) {
  const auto type = value.scalar_type(), arithmetic = arithmetic_type(value);
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16, op,
                   ": value must be float32, float64, float16 or bfloat16, got ", type);
  for (const auto& [name, tensor] : others) {
    TORCH_CHECK_TYPE(tensor.scalar_type() == type || tensor.scalar_type() == arithmetic, op, ": ", name, " must be ",
                     type, " like value", type == arithmetic ? "" : " or Float", ", got ", tensor.scalar_type());
    TORCH_CHECK_VALUE(tensor.device() == value.device(), op, ": ", name, " must be on ", value.device(),
                      " like value, got ", tensor.device());
  }
}

// Sum of height * width, each product bounded by S before it is formed: no overflow however large the numbers are.
inline void check_levels(const char* op, const c10::SymInt& cells, c10::SymIntArrayRef shapes) {
  c10::SymInt total = 0;
  for (size_t i = 0; i < shapes.size(); i += 2) {
    const auto &h = shapes[i], &w = shapes[i + 1];
    TORCH_CHECK_VALUE(h >= 1 && w >= 1, op, ": spatial_shapes must hold positive (height, width) pairs, got (", h,
                      ", ", w, ") for level ", i / 2);
    TORCH_CHECK_VALUE(h <= cells && w <= cells / h, op, ": spatial_shapes level ", i / 2, " is (", h, ", ", w,
                      "), more than the ", cells, " cells of value");
    total = total + h * w;
    TORCH_CHECK_VALUE(total <= cells, op, ": spatial_shapes cover more than the ", cells, " cells of value");
  }
  TORCH_CHECK_VALUE(total == cells, op, ": spatial_shapes cover ", total, " cells, value has ", cells);
}

// `points` (B, Q, M, L, P, 2) and `weights` (B, Q, M, L, P) under the names that the caller knows them by.
inline void check_points(const char* op, const at::Tensor& value, c10::SymIntArrayRef shapes, NamedTensor points,
                         NamedTensor weights) {
  const auto &[points_name, at_points] = points;
  const auto &[weights_name, at_weights] = weights;
  TORCH_CHECK_VALUE(value.dim() == 4, op, ": value must be (B, S, M, D), got ", value.sym_sizes());
  TORCH_CHECK_VALUE(at_points.dim() == 6 && at_points.sym_size(5) == 2, op, ": ", points_name,
                    " must be (B, Q, M, L, P, 2), got ", at_points.sym_sizes());
  TORCH_CHECK_VALUE(at_points.sym_size(0) == value.sym_size(0) && at_points.sym_size(2) == value.sym_size(2), op,
                    ": ", points_name, " must have B = ", value.sym_size(0), " and M = ", value.sym_size(2),
                    " like value, got ", at_points.sym_sizes());
  TORCH_CHECK_VALUE(at_weights.dim() == 5 && at_weights.sym_sizes() == at_points.sym_sizes().slice(0, 5), op, ": ",
                    weights_name, " must be (B, Q, M, L, P) = ", at_points.sym_sizes().slice(0, 5), " like ",
                    points_name, ", got ", at_weights.sym_sizes());
  TORCH_CHECK_VALUE(at_points.sym_size(3) * 2 == static_cast<int64_t>(shapes.size()), op,
                    ": spatial_shapes must hold a (height, width) pair for each of the ", at_points.sym_size(3),
                    " levels of ", points_name, ", got ", shapes.size(), " numbers");
}

// `points` have passed `check_points`.
inline void check_reference(const char* op, const at::Tensor& reference, const at::Tensor& points) {
  const auto b = points.sym_size(0), q = points.sym_size(1), l = points.sym_size(3);
  TORCH_CHECK_VALUE(reference.dim() == 4 && reference.sym_size(0) == b && reference.sym_size(1) == q &&
                        reference.sym_size(2) == l && (reference.sym_size(3) == 2 || reference.sym_size(3) == 4),
                    op, ": reference_points must be (B, Q, L, 2 or 4) = (", b, ", ", q, ", ", l,
                    ", 2 or 4), got ", reference.sym_sizes());
}

inline void check_arguments(const Arguments& a) {
  const auto op = a.name();
  const NamedTensor points{a.fused() ? "sampling_offsets" : "sampling_locations", a.points};
  const NamedTensor weights{a.fused() ? "logits" : "attention_weights", a.weights};
  check_points(op, a.value, a.shapes, points, weights);
  if (a.fused()) {
    check_reference(op, a.reference, a.points);
    check_kinds(op, a.value, {{"reference_points", a.reference}, points, weights});
  } else {
    check_kinds(op, a.value, {points, weights});
  }
  check_levels(op, a.value.sym_size(1), a.shapes);
}

inline void check_grad_out(const at::Tensor& grad_out, const Arguments& a) {
  const auto op = a.backward_name();
  const auto b = a.value.sym_size(0), q = a.points.sym_size(1), e = a.value.sym_size(2) * a.value.sym_size(3);
  TORCH_CHECK_VALUE(grad_out.dim() == 3 && grad_out.sym_size(0) == b && grad_out.sym_size(1) == q &&
                        grad_out.sym_size(2) == e,
                    op, ": grad_output must be (B, Q, M*D) = (", b, ", ", q, ", ", e, "), got ",
                    grad_out.sym_sizes());
  TORCH_CHECK_TYPE(at::isFloatingType(grad_out.scalar_type()), op, ": grad_output must be floating point, got ",
                   grad_out.scalar_type());
  TORCH_CHECK_VALUE(grad_out.device() == a.value.device(), op, ": grad_output must be on ", a.value.device(),
                    " like value, got ", grad_out.device());
}

}  // namespace dsct
