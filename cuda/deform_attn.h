// C entry points between the operator registration (C++) and the kernels (Rust, CUDA).
// Plain data only; every function returns a status and never unwinds.
#pragma once
#include <cstdint>

extern "C" {

// Sizes of one call. Shape letters as in the README: B batch, S cells over all levels, M heads, D channels per
// head, Q queries, L levels, P points. `spatial_shapes` holds L (height, width) pairs that sum up to S.
struct DsctDeformAttnShape {
  int64_t b, s, m, d, q, l, p;
  const int64_t* spatial_shapes;
};

enum DsctDType : int32_t { kDsctFloat32 = 0, kDsctFloat16 = 1, kDsctBFloat16 = 2, kDsctFloat64 = 3 };

// Status 0 is success; otherwise dsct_last_error() holds the reason (valid until the thread's next call).
const char* dsct_last_error();

// value (B,S,M,D) and out (B,Q,M,D) in `dtype`; sampling_locations (B,Q,M,L,P,2) and attention_weights (B,Q,M,L,P)
// in the arithmetic type: float64 where dtype is float64, float32 otherwise. All contiguous.
int32_t dsct_deform_attn_cpu_forward(DsctDType dtype, const DsctDeformAttnShape* shape, const void* value,
                                     const void* sampling_locations, const void* attention_weights, void* out,
                                     int32_t threads);

// grad_out in `dtype`; grad_value (B,S,M,D, zero on entry), grad_locations and grad_weights in the arithmetic type.
// A null gradient pointer means that nobody needs that gradient.
int32_t dsct_deform_attn_cpu_backward(DsctDType dtype, const DsctDeformAttnShape* shape, const void* grad_out,
                                      const void* value, const void* sampling_locations,
                                      const void* attention_weights, void* grad_value, void* grad_locations,
                                      void* grad_weights, int32_t threads);
}
