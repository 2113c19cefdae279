// Argument checks of the operators: every way in (Python, Rust, traced graphs) passes here before memory is touched.
#pragma once
#include <ATen/ATen.h>

namespace dsct {

// Half types compute in float32.
inline at::ScalarType arithmetic_type(const at::Tensor& value) {
  return value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

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

inline void check_arguments(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                            const at::Tensor& weights) {
  constexpr auto op = "ms_deform_attn";
  const NamedTensor points{"sampling_locations", locations}, attention{"attention_weights", weights};
  check_points(op, value, shapes, points, attention);
  check_kinds(op, value, {points, attention});
  check_levels(op, value.sym_size(1), shapes);
}

inline void check_fused_arguments(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& reference,
                                  const at::Tensor& offsets, const at::Tensor& logits) {
  constexpr auto op = "ms_deform_attn_fused";
  const NamedTensor points{"sampling_offsets", offsets}, weights{"logits", logits};
  check_points(op, value, shapes, points, weights);
  const auto b = value.sym_size(0), q = offsets.sym_size(1), l = offsets.sym_size(3);
  TORCH_CHECK_VALUE(reference.dim() == 4 && reference.sym_size(0) == b && reference.sym_size(1) == q &&
                        reference.sym_size(2) == l && (reference.sym_size(3) == 2 || reference.sym_size(3) == 4),
                    op, ": reference_points must be (B, Q, L, 2 or 4) = (", b, ", ", q, ", ", l,
                    ", 2 or 4), got ", reference.sym_sizes());
  check_kinds(op, value, {{"reference_points", reference}, points, weights});
  check_levels(op, value.sym_size(1), shapes);
}

inline void check_grad_out(const char* op, const at::Tensor& grad_out, const at::Tensor& value,
                           const at::Tensor& points) {
  const auto b = value.sym_size(0), q = points.sym_size(1), e = value.sym_size(2) * value.sym_size(3);
  TORCH_CHECK_VALUE(grad_out.dim() == 3 && grad_out.sym_size(0) == b && grad_out.sym_size(1) == q &&
                        grad_out.sym_size(2) == e,
                    op, ": grad_output must be (B, Q, M*D) = (", b, ", ", q, ", ", e, "), got ",
                    grad_out.sym_sizes());
  TORCH_CHECK_TYPE(at::isFloatingType(grad_out.scalar_type()), op, ": grad_output must be floating point, got ",
                   grad_out.scalar_type());
  TORCH_CHECK_VALUE(grad_out.device() == value.device(), op, ": grad_output must be on ", value.device(),
                    " like value, got ", grad_out.device());
}

}  // namespace dsct
