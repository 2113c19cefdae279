// Prints what Rust and C++ must agree on, as this compiler sees it: where the fields of their structs lie, and the
// codes of the dtypes. Lines "struct field number"; Rust's numbers are the "layouts" of plans.json.
#include <cstddef>
#include <cstdio>

#include "../../cuda/registration/deform_attn.h"
#include "cuda_host.hpp"

#include DSCT_KERNEL_TEXT

#define FIELD(type, field) std::printf(#type " " #field " %zu\n", offsetof(type, field));
#define BYTES(type) std::printf(#type " bytes %zu\n", sizeof(type));

static_assert(DSCT_FLOAT32 == kDsctFloat32 && DSCT_FLOAT16 == kDsctFloat16 && DSCT_BFLOAT16 == kDsctBFloat16 &&
              DSCT_FLOAT64 == kDsctFloat64);

int main() {
  FIELD(DeformAttnParams, value)
  FIELD(DeformAttnParams, reference)
  FIELD(DeformAttnParams, points)
  FIELD(DeformAttnParams, weights)
  FIELD(DeformAttnParams, grad_out)
  FIELD(DeformAttnParams, out)
  FIELD(DeformAttnParams, grad_value)
  FIELD(DeformAttnParams, grad_points)
  FIELD(DeformAttnParams, grad_weights)
  FIELD(DeformAttnParams, fixed_point)
  FIELD(DeformAttnParams, bound)
  FIELD(DeformAttnParams, hash)
  FIELD(DeformAttnParams, batch)
  FIELD(DeformAttnParams, cells)
  FIELD(DeformAttnParams, queries)
  FIELD(DeformAttnParams, height)
  FIELD(DeformAttnParams, width)
  FIELD(DeformAttnParams, start)
  FIELD(DeformAttnParams, window_height)
  FIELD(DeformAttnParams, window_width)
  FIELD(DeformAttnParams, window_start)
  BYTES(DeformAttnParams)
  FIELD(DsctDeformAttnShape, b)
  FIELD(DsctDeformAttnShape, s)
  FIELD(DsctDeformAttnShape, m)
  FIELD(DsctDeformAttnShape, d)
  FIELD(DsctDeformAttnShape, q)
  FIELD(DsctDeformAttnShape, l)
  FIELD(DsctDeformAttnShape, p)
  FIELD(DsctDeformAttnShape, spatial_shapes)
  BYTES(DsctDeformAttnShape)
  FIELD(DsctDeformAttnInputs, dtype)
  FIELD(DsctDeformAttnInputs, points_dtype)
  FIELD(DsctDeformAttnInputs, reference_size)
  FIELD(DsctDeformAttnInputs, value)
  FIELD(DsctDeformAttnInputs, reference)
  FIELD(DsctDeformAttnInputs, points)
  FIELD(DsctDeformAttnInputs, weights)
  BYTES(DsctDeformAttnInputs)
  FIELD(DsctDeformAttnGradients, value)
  FIELD(DsctDeformAttnGradients, points)
  FIELD(DsctDeformAttnGradients, weights)
  BYTES(DsctDeformAttnGradients)
  std::printf("DsctDType float32 %d\n", kDsctFloat32);
  std::printf("DsctDType float16 %d\n", kDsctFloat16);
  std::printf("DsctDType bfloat16 %d\n", kDsctBFloat16);
  std::printf("DsctDType float64 %d\n", kDsctFloat64);
}
