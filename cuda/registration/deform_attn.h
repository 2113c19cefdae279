// C entry points between the registration of operators (C++) and their kernels (Rust on the CPU, CUDA on a GPU).
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

// Tensors of one call, all contiguous. The arithmetic type is float64 where `dtype` is float64, float32 otherwise.
//
//   reference_size 0 (ms_deform_attn):        points  = sampling locations (B,Q,M,L,P,2), weights = attention weights
//   reference_size 2 or 4 (the fused operator): points  = sampling offsets   (B,Q,M,L,P,2), weights = logits, whose
//     softmax over L*P are the attention weights; reference (B,Q,L,reference_size) holds (x, y) or (cx, cy, w, h).
struct DsctDeformAttnInputs {
  int32_t dtype;           // of value, out and grad_out
  int32_t points_dtype;    // of points and weights: the arithmetic type or, in the fused operator, `dtype`
  int32_t reference_size;  // 0, 2 or 4
  const void* value;       // (B,S,M,D)
  const void* reference;   // (B,Q,L,reference_size), arithmetic type; null when reference_size is 0
  const void* points;
  const void* weights;     // (B,Q,M,L,P)
};

// Results of the backward pass, null where nobody needs the gradient; points and weights in the arithmetic type.
struct DsctDeformAttnGradients {
  void* value;    // (B,S,M,D): on a CPU in `dtype`; on a GPU in the arithmetic type, and zero on entry
  void* points;   // (B,Q,M,L,P,2): with respect to the sampling locations when reference_size is 0, otherwise to the
                  // cell coordinates (x, y) in units of cells, from which the registration derives the rest
  void* weights;  // (B,Q,M,L,P): with respect to `weights` as given (attention weights, or logits)
};

// Status 0 is success; otherwise dsct_last_error() holds the reason (valid until the thread's next call).
const char* dsct_last_error();

int32_t dsct_deform_attn_cpu_forward(const DsctDeformAttnShape* shape, const DsctDeformAttnInputs* inputs, void* out,
                                     int32_t threads);
int32_t dsct_deform_attn_cpu_backward(const DsctDeformAttnShape* shape, const DsctDeformAttnInputs* inputs,
                                      const void* grad_out, const DsctDeformAttnGradients* grads, int32_t threads);

// `count` numbers of `dtype`, each zeroed with probability p by a hash of (seed, index), the others divided by 1 - p;
// before that a relu where asked for. `from` and `to` do not overlap.
int32_t dsct_dropout_cpu(int32_t dtype, int64_t count, double p, int64_t seed, bool relu, const void* from, void* to,
                         int32_t threads);

// 1 when there is a CUDA kernel for these sizes and dtypes, else 0 (then the composite formulation runs).
int32_t dsct_deform_attn_cuda_supports(const DsctDeformAttnShape* shape, const DsctDeformAttnInputs* inputs);

// `stream` is a CUstream of `device`. Pointers are device memory, aligned to 16 bytes.
int32_t dsct_deform_attn_cuda_forward(const DsctDeformAttnShape* shape, const DsctDeformAttnInputs* inputs, void* out,
                                      int32_t device, void* stream);

// Without `fixed_point` gradients of value are summed with atomics, in any order. With it (deterministic): B*S*M*D
// int64 zeros as scratch, and `bound`, one float64 on the device: the largest |attention weight * grad_out|.
int32_t dsct_deform_attn_cuda_backward(const DsctDeformAttnShape* shape, const DsctDeformAttnInputs* inputs,
                                       const void* grad_out, const DsctDeformAttnGradients* grads, void* fixed_point,
                                       const double* bound, int32_t device, void* stream);
}
