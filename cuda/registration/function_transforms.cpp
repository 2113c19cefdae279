// Batching rules of the operators inside torch.func's transforms, see function_transforms.h.
#include "function_transforms.h"

#include <ATen/functorch/PlumbingHelper.h>

#include "deform_attn_call.h"

namespace dsct {
namespace {

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

int derivatives() {
  using at::functorch::TransformType;
  if (!in_transform()) return 0;
  int count = 0;
  for (const auto& layer : at::functorch::getDynamicLayerStack())
    count += layer.key() == TransformType::Grad || layer.key() == TransformType::Jvp;
  return count;
}

TORCH_LIBRARY_IMPL(dsct, FuncTorchBatched, m) { implement<forward_vmapped, backward_vmapped>(m); }

}  // namespace dsct
