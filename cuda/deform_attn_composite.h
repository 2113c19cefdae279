// ms_deform_attn written with differentiable ATen operators. It serves two purposes: the second derivative, and
// devices for which there is no kernel. It materialises (B, M, Q*P, D) gathers, so it is slow and memory-hungry.
#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

namespace dsct {

using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

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

inline at::Tensor composite_forward(const at::Tensor& value, c10::SymIntArrayRef shapes, const at::Tensor& locations,
                                    const at::Tensor& weights) {
  const auto b = value.sym_size(0), m = value.sym_size(2), d = value.sym_size(3), q = locations.sym_size(1);
  auto out = value.new_zeros_symint({b, m, q, d});
  c10::SymInt start = 0;
  for (size_t level = 0; level < shapes.size() / 2; level++) {
    const auto h = shapes[2 * level], w = shapes[2 * level + 1];
    const auto cells = value.narrow_symint(1, start, h * w).permute({0, 2, 1, 3});
    start = start + h * w;
    const auto at_level = locations.select(3, level), attention = weights.select(3, level);
    const auto x = at_level.select(4, 0) * w - 0.5, y = at_level.select(4, 1) * h - 0.5;
    const auto x0 = x.floor(), y0 = y.floor();
    for (int dy = 0; dy < 2; dy++)
      for (int dx = 0; dx < 2; dx++)
        out = out + composite_corner(cells, h, w, x0, y0, x - x0, y - y0, attention, dx, dy);
  }
  return out.permute({0, 2, 1, 3}).reshape_symint({b, q, m * d});
}

// Gradients of the backward operator with respect to (grad_out, value, locations, weights): the composite
// differentiated twice.
inline std::vector<at::Tensor> composite_double_backward(const std::vector<at::Tensor>& grads,
                                                         const at::Tensor& grad_out, const at::Tensor& value,
                                                         c10::SymIntArrayRef shapes, const at::Tensor& locations,
                                                         const at::Tensor& weights) {
  const at::AutoGradMode enabled(true);
  std::vector<at::Tensor> inputs;
  for (const auto& t : {grad_out, value, locations, weights})
    inputs.push_back(t.requires_grad() ? t : t.detach().requires_grad_(true));
  const auto arithmetic = value.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto out = composite_forward(inputs[1].to(arithmetic), shapes, inputs[2].to(arithmetic),
                                     inputs[3].to(arithmetic));
  const auto first = torch::autograd::grad({out}, {inputs[1], inputs[2], inputs[3]}, {inputs[0].to(arithmetic)},
                                           /*retain_graph=*/true, /*create_graph=*/true, /*allow_unused=*/true);
  std::vector<at::Tensor> outputs, seeds;
  for (size_t i = 0; i < 3; i++)
    if (first[i].defined() && grads[i].defined() && first[i].requires_grad()) {
      outputs.push_back(first[i]);
      seeds.push_back(grads[i].to(first[i].scalar_type()));
    }
  if (outputs.empty()) return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  return torch::autograd::grad(outputs, inputs, seeds, /*retain_graph=*/true, /*create_graph=*/true,
                               /*allow_unused=*/true);
}

}  // namespace dsct
