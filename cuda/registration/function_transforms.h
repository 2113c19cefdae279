// torch.func (grad, vmap, jvp and what is made of them) and forward mode.
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

// How many transforms on the stack differentiate.
int derivatives();

}  // namespace dsct
