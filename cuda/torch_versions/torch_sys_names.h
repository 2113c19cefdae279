// Functions that torch-sys, which is generated for torch 2.13, names and another torch does not have. It compiles with
// this header in front, see .cargo/config.toml. Nothing here calls them; what does is told so.
#pragma once
#if __has_include(<torch/version.h>)
#include <ATen/core/Tensor.h>
#include <torch/version.h>

#include <tuple>

#define DSCT_WITHOUT(type, name)                                                          \
  template <class... Arguments>                                                           \
  type name(Arguments&&...) {                                                             \
    TORCH_CHECK_NOT_IMPLEMENTED(false, "torch ", TORCH_VERSION, " has no function " #name); \
  }

namespace torch {

using TwoTensors = std::tuple<at::Tensor, at::Tensor>;

#if TORCH_VERSION_MINOR >= 14
DSCT_WITHOUT(at::Tensor, cholesky)
DSCT_WITHOUT(at::Tensor, cholesky_out)
DSCT_WITHOUT(TwoTensors, qr)
DSCT_WITHOUT(TwoTensors, qr_out)
#endif

#if TORCH_VERSION_MINOR < 12
DSCT_WITHOUT(at::Tensor, _philox_key_fold_in)
DSCT_WITHOUT(at::Tensor, _philox_key_split)
DSCT_WITHOUT(at::Tensor, _philox_normal)
DSCT_WITHOUT(at::Tensor, _philox_normal_)
DSCT_WITHOUT(at::Tensor, _philox_normal_out)
DSCT_WITHOUT(at::Tensor, _philox_uniform)
DSCT_WITHOUT(at::Tensor, _philox_uniform_)
DSCT_WITHOUT(at::Tensor, _philox_uniform_out)
DSCT_WITHOUT(at::Tensor, _upsample_lanczos2d_aa)
DSCT_WITHOUT(at::Tensor, _upsample_lanczos2d_aa_out)
DSCT_WITHOUT(at::Tensor, _upsample_lanczos2d_aa_backward)
DSCT_WITHOUT(at::Tensor, _upsample_lanczos2d_aa_backward_out)
DSCT_WITHOUT(at::Tensor, _flash_attention_forward_no_dropout_inplace)
DSCT_WITHOUT(TwoTensors, _scaled_dot_product_attention_math_for_mps)
#endif

}  // namespace torch

#undef DSCT_WITHOUT
#endif
