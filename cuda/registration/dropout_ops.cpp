// torch.ops.dsct.dropout: dropout, or relu and dropout in one pass, without a stored mask.
//
// torch's own keeps a mask as large as the activation and draws it one number after the other. Here number i is kept
// or not by a hash of (seed, i), so threads share the work and the backward pass finds the same mask from the seed;
// after a relu the positive outputs are the mask. CPU only: on a GPU torch's dropout is one kernel already.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/functorch/PlumbingHelper.h>
#include <torch/library.h>

#include "deform_attn_call.h"
#include "function_transforms.h"
#include "kernel_node.h"

namespace dsct {

at::Tensor call_dropout(const at::Tensor& input, double p, const at::Tensor& seed, bool relu) {
  using Op = at::Tensor(const at::Tensor&, double, const at::Tensor&, bool);
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("dsct::dropout", "").typed<Op>();
  return op.call(input, p, seed, relu);
}

namespace {

void check(const at::Tensor& input, double p, const at::Tensor& seed) {
  const auto type = input.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16,
                   "dropout: input must be float32, float64, float16 or bfloat16, got ", type);
  TORCH_CHECK_VALUE(p >= 0 && p < 1, "dropout: p must be in [0, 1), got ", p);
  TORCH_CHECK_TYPE(seed.scalar_type() == at::kLong, "dropout: seed must be int64, got ", seed.scalar_type());
  TORCH_CHECK_VALUE(seed.device() == input.device(), "dropout: seed must be on ", input.device(), " like input, got ",
                    seed.device());
  TORCH_CHECK_VALUE(seed.sym_numel() == 1, "dropout: seed must hold one number, got ", seed.sym_sizes());
}

at::Tensor dropout_cpu(const at::Tensor& input, double p, const at::Tensor& seed, bool relu) {
  check(input, p, seed);
  const auto from = input.contiguous();
  auto to = at::empty(from.sizes(), from.options());
  const auto status = dsct_dropout_cpu(dtype_code(from.scalar_type()), from.numel(), p, seed.item<int64_t>(), relu,
                                       from.const_data_ptr(), to.mutable_data_ptr(), at::get_num_threads());
  TORCH_CHECK(status == 0, "dropout: ", dsct_last_error());
  return to;
}

at::Tensor dropout_meta(const at::Tensor& input, double p, const at::Tensor& seed, bool) {
  check(input, p, seed);
  return input.new_empty_symint(input.sym_sizes());
}

struct Dropout {
  static constexpr auto name = "DropoutBackward";
  static variable_list backward(const variable_list& grads, const Kept& kept, const std::vector<bool>&) {
    const auto &grad = grads[0], &saved = kept.tensors[0];
    const auto p = kept.numbers[0];
    const bool relu = kept.numbers[1] != 0;
    // Dropout by a seed is linear: its transpose is itself.
    return {relu ? at::threshold_backward(grad, saved, 0).mul_(1 / (1 - p)) : call_dropout(grad, p, saved, false),
            at::Tensor()};
  }
};

// The same numbers as a product, which torch differentiates in every mode.
at::Tensor scaled(const at::Tensor& input, const at::Tensor& scale, bool relu) {
  return at::where(scale.ne(0), (relu ? input.relu() : input) * scale, 0);
}

at::Tensor dropout_autograd(const at::Tensor& input, double p, const at::Tensor& seed, bool relu) {
  const auto below = [&](const at::Tensor& input, bool relu) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return call_dropout(input, p, seed, relu);
  };
  if (in_transform() || has_tangent(input)) return scaled(input, below(at::ones_like(input), false), relu);
  const auto out = below(input, relu);
  if (torch::autograd::compute_requires_grad(input))
    record<Dropout>({out}, {input, seed}, {{relu ? out : seed}, {}, {p, double(relu)}});
  return out;
}

// A mask for each seed: one for all calls of the vmap, or one for each.
at::Tensor dropout_vmapped(const at::Tensor& input, double p, const at::Tensor& seed, bool relu) {
  const auto level = at::functorch::maybeCurrentDynamicLayer()->layerId();
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const auto [inputs, dim] = at::functorch::unwrapTensorAtLevel(input, level);
  const auto [seeds, seed_dim] = at::functorch::unwrapTensorAtLevel(seed, level);
  if (!dim && !seed_dim) return call_dropout(input, p, seed, relu);
  const auto batch = dim ? inputs.movedim(*dim, 0) : inputs.unsqueeze(0);
  const auto one = at::ones_symint(batch.sym_sizes().slice(1), batch.options());
  std::vector<at::Tensor> scales;
  if (seed_dim)
    for (const auto& each : seeds.unbind(*seed_dim)) scales.push_back(call_dropout(one, p, each, false));
  else
    scales.push_back(call_dropout(one, p, seeds, false));
  const auto scale = scales.empty() ? one.unsqueeze(0).narrow(0, 0, 0) : at::stack(scales);
  return at::functorch::makeBatched(scaled(batch, scale, relu), 0, level);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dsct, m) {
  m.def("dropout(Tensor input, float p, Tensor seed, bool relu) -> Tensor", {at::Tag::pt2_compliant_tag});
}
TORCH_LIBRARY_IMPL(dsct, CPU, m) { m.impl("dropout", dropout_cpu); }
TORCH_LIBRARY_IMPL(dsct, Meta, m) { m.impl("dropout", dropout_meta); }
TORCH_LIBRARY_IMPL(dsct, Autograd, m) { m.impl("dropout", dropout_autograd); }
TORCH_LIBRARY_IMPL(dsct, FuncTorchBatched, m) { m.impl("dropout", dropout_vmapped); }

}  // namespace dsct
