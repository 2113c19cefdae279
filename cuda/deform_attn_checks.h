// Argument checks of ms_deform_attn: every way in (Python, Rust, traced graphs) passes here before memory is touched.
#pragma once
#include <ATen/ATen.h>

namespace dsct {

// Half types compute in float32.
inline at::ScalarType arithmetic_type(const at::Tensor& value) {
  return value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

inline void check_dtypes(const at::Tensor& value, const at::Tensor& locations, const at::Tensor& weights) {
  const auto type = value.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16,
                   "ms_deform_attn: value must be float32, float64, float16 or bfloat16, got ", type);
  const auto check = [&](const char* name, const at::Tensor& t) {
    TORCH_CHECK_TYPE(t.scalar_type() == type || t.scalar_type() == arithmetic_type(value), "ms_deform_attn: ", name,
                     " must be ", type, " like value", type == arithmetic_type(value) ? "" : " or Float", ", got ",
                     t.scalar_type());
  };
  check("sampling_locations", locations);
  check("attention_weights", weights);
}

// Sum of height * width, each product bounded by S before it is formed: no overflow however large the numbers are.
inline void check_levels(const c10::SymInt& cells, c10::SymIntArrayRef shapes) {
  c10::SymInt total = 0;
  for (size_t i = 0; i < shapes.size(); i += 2) {
    const auto &h = shapes[i], &w = shapes[i + 1];
    TORCH_CHECK_VALUE(h >= 1 && w >= 1, "ms_deform_attn: spatial_shapes must hold positive (height, width) pairs, got (",
                      h, ", ", w, ") for level ", i / 2);
    TORCH_CHECK_VALUE(h <= cells && w <= cells / h, "ms_deform_attn: spatial_shapes level ", i / 2, " is (", h, ", ",
                      w, "), more than the ", cells, " cells of value");
    total = total + h * w;
    TORCH_CHECK_VALUE(total <= cells, "ms_deform_attn: spatial_shapes cover more than the ", cells, " cells of value");
  }
  TORCH_CHECK_VALUE(total == cells, "ms_deform_attn: spatial_shapes cover ", total, " cells, value has ", cells);
}

inline void check_arguments(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                            const at::Tensor& weights) {
  TORCH_CHECK_VALUE(value.dim() == 4, "ms_deform_attn: value must be (B, S, M, D), got ", value.sym_sizes());
  TORCH_CHECK_VALUE(locations.dim() == 6 && locations.sym_size(5) == 2,
                    "ms_deform_attn: sampling_locations must be (B, Q, M, L, P, 2), got ", locations.sym_sizes());
  TORCH_CHECK_VALUE(locations.sym_size(0) == value.sym_size(0) && locations.sym_size(2) == value.sym_size(2),
                    "ms_deform_attn: sampling_locations must have B = ", value.sym_size(0), " and M = ",
                    value.sym_size(2), " like value, got ", locations.sym_sizes());
  TORCH_CHECK_VALUE(weights.dim() == 5 && weights.sym_sizes() == locations.sym_sizes().slice(0, 5),
                    "ms_deform_attn: attention_weights must be (B, Q, M, L, P) = ",
                    locations.sym_sizes().slice(0, 5), " like sampling_locations, got ", weights.sym_sizes());
  TORCH_CHECK_VALUE(locations.sym_size(3) * 2 == static_cast<int64_t>(shapes.size()),
                    "ms_deform_attn: spatial_shapes must hold a (height, width) pair for each of the ",
                    locations.sym_size(3), " levels of sampling_locations, got ", shapes.size(), " numbers");
  check_dtypes(value, locations, weights);
  for (const auto* t : {&locations, &weights})
    TORCH_CHECK_VALUE(t->device() == value.device(), "ms_deform_attn: ",
                      t == &locations ? "sampling_locations" : "attention_weights", " must be on ", value.device(),
                      " like value, got ", t->device());
  check_levels(value.sym_size(1), shapes);
}

inline void check_grad_out(const at::Tensor& grad_out, const at::Tensor& value, const at::Tensor& locations) {
  TORCH_CHECK_VALUE(grad_out.dim() == 3 && grad_out.sym_size(0) == value.sym_size(0) &&
                        grad_out.sym_size(1) == locations.sym_size(1) &&
                        grad_out.sym_size(2) == value.sym_size(2) * value.sym_size(3),
                    "ms_deform_attn_backward: grad_output must be (B, Q, M*D) = (", value.sym_size(0), ", ",
                    locations.sym_size(1), ", ", value.sym_size(2) * value.sym_size(3), "), got ",
                    grad_out.sym_sizes());
  TORCH_CHECK_VALUE(grad_out.device() == value.device(), "ms_deform_attn_backward: grad_output must be on ",
                    value.device(), " like value, got ", grad_out.device());
}

}  // namespace dsct
