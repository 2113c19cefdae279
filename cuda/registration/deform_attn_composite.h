// The operators written with differentiable ATen operators. They serve two purposes: second derivatives, and calls for
// which there is no kernel. They materialise (B, M, Q*P, D) gathers, so they are slow and memory-hungry.
#pragma once
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "deform_attn_arguments.h"

namespace dsct {

// One corner (dx, dy) of the bilinear sample of one level: Σ_p weight · value, zero outside the map.
// `cells` (B,M,H*W,D); x0, y0 (floor), fx, fy (fraction) and `attention` (B,Q,M,P).
inline at::Tensor composite_corner(const at::Tensor& cells, const c10::SymInt& h, const c10::SymInt& w,
                                   const at::Tensor& x0, const at::Tensor& y0, const at::Tensor& fx,
                                   const at::Tensor& fy, const at::Tensor& attention, int dx, int dy) {
  const auto x = x0 + dx, y = y0 + dy;
  const auto inside = x.ge(0).logical_and(x.lt(w)).logical_and(y.ge(0)).logical_and(y.lt(h));
  const auto weight = (dx ? fx : 1 - fx) * (dy ? fy : 1 - fy) * attention;
  const auto zero = at::zeros({}, weight.options());
  const auto b = cells.sym_size(0), m = cells.sym_size(1), d = cells.sym_size(3);
  const auto q = x.sym_size(1), p = x.sym_size(3);
  const auto flat = [&](const at::Tensor& t) { return t.permute({0, 2, 1, 3}).reshape_symint({b, m, q * p, 1}); };
  const auto index = flat(at::where(inside, y * w + x, zero).to(at::kLong)).expand_symint({b, m, q * p, d});
  const auto sampled = cells.gather(2, index) * flat(at::where(inside, weight, zero));
  return sampled.reshape_symint({b, m, q, p, d}).sum(3);
}

inline at::Tensor composite_samples(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                                    const at::Tensor& weights) {
  const auto b = value.sym_size(0), m = value.sym_size(2), d = value.sym_size(3), q = locations.sym_size(1);
  auto out = value.new_zeros_symint({b, m, q, d});
  c10::SymInt start = 0;
  for (size_t level = 0; level < shapes.size() / 2; level++) {
    const auto h = shapes[2 * level], w = shapes[2 * level + 1];
    const auto cells = value.narrow_symint(1, start, h * w).permute({0, 2, 1, 3});
    start = start + h * w;
    const auto at_level = locations.select(3, level), attention = weights.select(3, level);
    auto x = at_level.select(4, 0) * w - 0.5, y = at_level.select(4, 1) * h - 0.5;
    // A point without a corner in the map, NaN included, becomes a fixed one outside: a gradient of 0 · NaN is not 0.
    const auto near = x.gt(-1).logical_and(x.lt(w)).logical_and(y.gt(-1)).logical_and(y.lt(h));
    const auto outside = at::full({}, -2, x.options());
    x = at::where(near, x, outside), y = at::where(near, y, outside);
    const auto x0 = x.floor(), y0 = y.floor();
    for (int dy = 0; dy < 2; dy++)
      for (int dx = 0; dx < 2; dx++)
        out = out + composite_corner(cells, h, w, x0, y0, x - x0, y - y0, attention, dx, dy);
  }
  return out.permute({0, 2, 1, 3}).reshape_symint({b, q, m * d});
}

// (L, 1, 2) as (width, height) in the dtype and on the device of `like`. Filled there: no copy from the host.
inline at::Tensor level_sizes(c10::SymIntArrayRef shapes, const at::Tensor& like) {
  if (shapes.empty()) return at::empty({0, 1, 2}, like.options());  // torch joins no empty list
  std::vector<at::Tensor> sizes;
  for (size_t level = 0; level < shapes.size(); level += 2)
    for (const auto& n : {shapes[level + 1], shapes[level]})
      sizes.push_back(at::ones({1}, like.options()).mul(at::Scalar(n)));
  return at::cat(sizes).view({-1, 1, 2});
}

// reference (B,Q,L,2): + offset / (W, H). reference (B,Q,L,4): centre + offset / P · size / 2. -> (B,Q,M,L,P,2)
inline at::Tensor composite_locations(c10::SymIntArrayRef shapes, const at::Tensor& reference,
                                      const at::Tensor& offsets) {
  const auto at_points = reference.unsqueeze(2).unsqueeze(4);  // (B,Q,1,L,1,2 or 4)
  if (reference.sym_size(3) == 2) return at_points + offsets / level_sizes(shapes, offsets);
  const auto points = static_cast<double>(offsets.sym_size(4).guard_int(__FILE__, __LINE__));
  // As in composite_samples: no gradient of a size through an offset that is NaN or infinite.
  const auto finite = offsets.isfinite().all(-1, /*keepdim=*/true);
  const auto steps = offsets.masked_fill(finite.logical_not(), 0) * at_points.narrow(-1, 2, 2) * (0.5 / points);
  return (at_points.narrow(-1, 0, 2) + steps).masked_fill(finite.logical_not(), NAN);
}

// Either operator, in the dtypes that it is given.
inline at::Tensor composite(const Arguments& a) {
  if (!a.fused()) return composite_samples(a.value, a.shapes, a.points, a.weights);
  const auto weights = a.weights.flatten(3).softmax(-1).reshape_symint(a.weights.sym_sizes());
  return composite_samples(a.value, a.shapes, composite_locations(a.shapes, a.reference, a.points), weights);
}

// The same in the arithmetic type.
inline at::Tensor composite_forward(const Arguments& a) {
  auto inputs = a.tensors();
  for (auto& input : inputs)
    if (input.defined()) input = input.to(a.arithmetic());
  return composite(a.with(inputs)).to(a.value.scalar_type());
}

// Gradients by way of the arithmetic type, of those inputs that `mask` names; others undefined. Kernels are called
// below the autograd keys; torch's operators need these back to be differentiated.
inline Tensors composite_backward(const at::Tensor& grad_out, const Arguments& a, Mask mask) {
  const auto keys = c10::impl::tls_local_dispatch_key_set();
  const c10::impl::ForceDispatchKeyGuard above(keys.included_,
                                               keys.excluded_ - c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  const at::AutoGradMode enabled(true);
  const auto inputs = a.tensors();
  Tensors leaves, grads;
  std::vector<at::Tensor> wanted;
  for (size_t i = 0; i < inputs.size(); i++) {
    if (inputs[i].defined()) leaves[i] = inputs[i].detach().to(a.arithmetic()).detach().requires_grad_(mask[i]);
    if (mask[i]) wanted.push_back(leaves[i]);
  }
  if (wanted.empty()) return grads;
  const auto found = torch::autograd::grad({composite(a.with(leaves))}, wanted, {grad_out.to(a.arithmetic())});
  for (size_t i = 0, next = 0; i < inputs.size(); i++)
    if (mask[i]) grads[i] = found[next++].to(inputs[i].scalar_type());
  return grads;
}

// Gradients of the backward operator with respect to grad_out and the inputs: the composite differentiated twice.
// `grads` are the gradients that come in for each of the backward operator's outputs; undefined where there is none.
inline std::pair<at::Tensor, Tensors> composite_double_backward(const Tensors& grads, const at::Tensor& grad_out,
                                                                const Arguments& a) {
  const at::AutoGradMode enabled(true);
  // Other tensors than the given ones: where grad_out depends on an input, its share is not the input's own.
  const auto leaf = [](const at::Tensor& t) {
    return t.requires_grad() ? t.alias() : t.detach().requires_grad_(true);
  };
  const auto inputs = a.tensors();
  Tensors computed;
  std::vector<size_t> given;  // all four, or all but the reference
  std::vector<at::Tensor> leaves;
  for (size_t i = 0; i < inputs.size(); i++)
    if (inputs[i].defined()) {
      given.push_back(i);
      leaves.push_back(leaf(inputs[i]));
      computed[i] = leaves.back().to(a.arithmetic());
    }
  const auto seed = leaf(grad_out);
  const auto first = torch::autograd::grad({composite(a.with(computed))}, leaves, {seed.to(a.arithmetic())},
                                           /*retain_graph=*/true, /*create_graph=*/true, /*allow_unused=*/true);
  std::vector<at::Tensor> outputs, seeds;
  for (size_t n = 0; n < given.size(); n++)
    if (first[n].defined() && grads[given[n]].defined() && first[n].requires_grad()) {
      outputs.push_back(first[n]);
      seeds.push_back(grads[given[n]].to(first[n].scalar_type()));
    }
  Tensors second;
  if (outputs.empty()) return {at::Tensor(), second};
  leaves.push_back(seed);
  const auto found = torch::autograd::grad(outputs, leaves, seeds, /*retain_graph=*/true, /*create_graph=*/true,
                                           /*allow_unused=*/true);
  for (size_t n = 0; n < given.size(); n++) second[given[n]] = found[n];
  return {found.back(), second};
}

}  // namespace dsct
