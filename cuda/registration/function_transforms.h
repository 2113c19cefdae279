// torch.func (grad, vmap, jvp and what is made of them). Torch refuses a C++ autograd::Function inside a transform; a
// node of one's own is taken as those of torch's operators are.
#pragma once
#include <ATen/FuncTorchTLS.h>
#include <ATen/functorch/DynamicLayer.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "deform_attn_arguments.h"

namespace dsct {

inline bool in_transform() {
  return at::functorch::functorchTLSAccessor() != nullptr && !at::functorch::getDynamicLayerStack().empty();
}

// Whether a forward-mode derivative comes along with a tensor, inside a transform or not.
template <class... Tensors>
bool has_tangent(const Tensors&... tensors) {
  return (torch::autograd::isFwGradDefined(tensors) || ...);
}

// The operators where the autograd keys are reached inside a transform.
at::Tensor forward_in_transform(const Arguments& a);
Tensors backward_in_transform(const at::Tensor& grad_out, const Arguments& a, Mask mask);

}  // namespace dsct
