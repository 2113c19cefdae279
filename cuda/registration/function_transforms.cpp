// Autograd and batching rules of the operators inside torch.func's transforms, see function_transforms.h.
#include "function_transforms.h"

#include <ATen/functorch/PlumbingHelper.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/version.h>

#include "deform_attn_call.h"

namespace dsct {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Torch 2.13 counts references of nodes in another way than the versions before.
template <class N, class... Arguments>
auto make_node(Arguments&&... arguments) {
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
  return std::shared_ptr<N>(new N(std::forward<Arguments>(arguments)...), torch::autograd::deleteNode);
#else
  return c10::make_intrusive<N>(std::forward<Arguments>(arguments)...);
#endif
}

// ---------------------------------------------------------------- grad, vjp, jacrev

struct DeformAttnInTransform : Node {
  std::array<SavedVariable, 4> saved;
  std::vector<c10::SymInt> shapes;

  explicit DeformAttnInTransform(const Arguments& a) : shapes(a.shapes.vec()) {
    const auto inputs = a.tensors();
    for (size_t i = 0; i < inputs.size(); i++) saved[i] = SavedVariable(inputs[i], /*is_output=*/false);
  }

  variable_list apply(variable_list&& grads) override {
    if (!grads[0].defined()) return variable_list(saved.size());
    Tensors inputs;
    Mask mask;
    for (size_t i = 0; i < inputs.size(); i++) {
      inputs[i] = saved[i].unpack();
      mask[i] = inputs[i].defined() && task_should_compute_output(i);
    }
    const auto found = call_backward(grads[0], {inputs[0], shapes, inputs[1], inputs[2], inputs[3]}, mask);
    return {found.begin(), found.end()};
  }

  void release_variables() override {
    for (auto& variable : saved) variable.reset_data();
  }
};

// Transforms on the stack that differentiate.
int derivatives() {
  using at::functorch::TransformType;
  int count = 0;
  for (const auto& layer : at::functorch::getDynamicLayerStack())
    count += layer.key() == TransformType::Grad || layer.key() == TransformType::Jvp;
  return count;
}

// ---------------------------------------------------------------- vmap

// The calls of a vmap as one call of a larger batch: every tensor's first dimension is that of the images.
class Vmapped {
  int64_t level;
  c10::SymInt size = 0, images;
  bool is_batched = false;

 public:
  Vmapped(const at::Tensor& value, std::initializer_list<at::Tensor> others)
      : level(at::functorch::maybeCurrentDynamicLayer()->layerId()), images(value.sym_size(0)) {
    look_at(value);
    for (const auto& tensor : others) look_at(tensor);
  }

  // Not where only an outer vmap batches the tensors.
  bool any() const { return is_batched; }

  at::Tensor fold(const at::Tensor& tensor) const {
    if (!tensor.defined()) return tensor;
    auto [plain, dim] = at::functorch::unwrapTensorAtLevel(tensor, level);
    if (dim) return plain.movedim(*dim, 0).flatten(0, 1);
    auto sizes = plain.sym_sizes().vec();
    sizes.insert(sizes.begin(), size);
    return plain.unsqueeze(0).expand_symint(sizes).flatten(0, 1);
  }

  Arguments fold(const Arguments& a) const {
    return {fold(a.value), a.shapes, fold(a.reference), fold(a.points), fold(a.weights)};
  }

  at::Tensor unfold(const at::Tensor& tensor) const {
    if (!tensor.defined()) return tensor;
    const std::vector<c10::SymInt> sizes = {size, images};
    return at::functorch::makeBatched(tensor.unflatten_symint(0, sizes), 0, level);
  }

 private:
  void look_at(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    const auto [plain, dim] = at::functorch::unwrapTensorAtLevel(tensor, level);
    if (dim) size = plain.sym_size(*dim), is_batched = true;
  }
};

at::Tensor forward_vmapped(const Arguments& a) {
  check_arguments(a);
  const Vmapped batch(a.value, {a.reference, a.points, a.weights});
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  return batch.any() ? batch.unfold(call_forward(batch.fold(a))) : call_forward(a);
}

Tensors backward_vmapped(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  check_arguments(a);
  check_grad_out(grad_out, a);
  const Vmapped batch(a.value, {grad_out, a.reference, a.points, a.weights});
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  if (!batch.any()) return call_backward(grad_out, a, mask);
  auto grads = call_backward(batch.fold(grad_out), batch.fold(a), mask);
  for (auto& grad : grads) grad = batch.unfold(grad);
  return grads;
}

}  // namespace

// One derivative comes from the kernels. Those of derivatives and forward mode come from the composite, which torch
// differentiates as often as there are transforms.
at::Tensor forward_in_transform(const Arguments& a) {
  check_arguments(a);
  if (has_tangent(a.value, a.reference, a.points, a.weights) || derivatives() != 1) return composite_forward(a);
  const auto wanted = compute_requires_grad(a.value, a.reference, a.points, a.weights);
  at::Tensor out;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    out = call_forward(a);
  }
  if (wanted) {
    const auto node = make_node<DeformAttnInTransform>(a);
    node->set_next_edges(collect_next_edges(a.value, a.reference, a.points, a.weights));
    set_history(out, node);
  }
  return out;
}

Tensors backward_in_transform(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  TORCH_CHECK_NOT_IMPLEMENTED(!has_tangent(grad_out, a.value, a.reference, a.points, a.weights), a.backward_name(),
                              ": has no forward-mode derivative, differentiate ", a.name(), " twice instead");
  const auto wanted = compute_requires_grad(grad_out, a.value, a.reference, a.points, a.weights);
  Tensors grads;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    grads = call_backward(grad_out, a, mask);
  }
  if (wanted) {
    // torch.func.grad asks for a graph of its gradients in any case; it is an error only to use it.
    const auto node = make_node<torch::autograd::NotImplemented>(std::string(a.backward_name()) + " in torch.func");
    node->set_next_edges(collect_next_edges(grad_out, a.value, a.reference, a.points, a.weights));
    for (const auto& grad : grads) set_history(grad, node);
  }
  return grads;
}

TORCH_LIBRARY_IMPL(dsct, FuncTorchBatched, m) { implement<forward_vmapped, backward_vmapped>(m); }

}  // namespace dsct
