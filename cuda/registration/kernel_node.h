// The operators' nodes in torch's graph of gradients. Not torch::autograd::Function: torch.func refuses that, and its
// header asks libtorch for functions that differ from version to version.
#pragma once
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/version.h>

namespace dsct {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Torch 2.13 counts references of nodes in another way than the versions before.
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
using NodePointer = std::shared_ptr<torch::autograd::Node>;

template <class Node, class... Arguments>
NodePointer make_node(Arguments&&... arguments) {
  return NodePointer(new Node(std::forward<Arguments>(arguments)...), torch::autograd::deleteNode);
}

inline NodePointer pointer_to(torch::autograd::Node& node) { return node.getptr(); }
#else
using NodePointer = c10::intrusive_ptr<torch::autograd::Node>;

template <class Node, class... Arguments>
NodePointer make_node(Arguments&&... arguments) {
  return c10::make_intrusive<Node>(std::forward<Arguments>(arguments)...);
}

inline NodePointer pointer_to(torch::autograd::Node& node) { return NodePointer::reclaim_copy(&node); }
#endif

// What a backward pass needs of the forward pass. Sizes may be symbolic.
struct Kept {
  variable_list tensors;
  std::vector<c10::SymInt> sizes = {};
  std::vector<double> numbers = {};
};

// `Rule::backward(grads, kept, needed)` gives one gradient for each input; of those that nobody needs, an undefined
// tensor. `Rule::name` is what the node is called in messages and graphs.
template <class Rule>
class KernelNode : public torch::autograd::Node {
  std::vector<SavedVariable> saved;
  std::vector<c10::SymInt> sizes;
  std::vector<double> numbers;

 public:
  // A result of its own is kept in another way than an input: the node would hold on to itself.
  KernelNode(const Kept& kept, const variable_list& outputs) : sizes(kept.sizes), numbers(kept.numbers) {
    for (const auto& tensor : kept.tensors) {
      const auto is_it = [&](const at::Tensor& output) { return output.defined() && output.is_same(tensor); };
      saved.emplace_back(tensor, /*is_output=*/std::any_of(outputs.begin(), outputs.end(), is_it));
    }
  }

  std::string name() const override { return Rule::name; }

  variable_list apply(variable_list&& grads) override {
    if (std::none_of(grads.begin(), grads.end(), [](const auto& grad) { return grad.defined(); }))
      return variable_list(num_outputs());
    return Rule::backward(grads, {unpacked(), sizes, numbers}, needed());
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& variable : saved) variable.reset_data();
  }

  // The two halves of compiled autograd: what a compiled graph depends on, and the call of the rule as one of its nodes.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    args.collect(std::string(Rule::name));
    args.collect(saved, /*is_output=*/true);
    args.collect(sizes);
    args.collect(numbers);
  }

  variable_list apply_with_saved(const variable_list& grads, torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using namespace torch::dynamo::autograd;
    swap.before(saved);
    swap.before(sizes);
    PackedArgs packed;
    packed.pack(unpacked());
    packed.pack(sizes);
    packed.pack(numbers);
    packed.pack(needed());
    std::vector<at::TypePtr> schema;
    for (const auto& value : packed.vec()) schema.push_back(value.isTensor() ? at::TensorType::get() : value.type());
    const auto rule = [](const variable_list& grads, const std::vector<c10::IValue>& values) {
      PackedArgs packed(values);
      Kept kept{packed.unpack<variable_list>(), packed.unpack<std::vector<c10::SymInt>>(),
                packed.unpack<std::vector<double>>()};
      return Rule::backward(grads, kept, packed.unpack<std::vector<bool>>());
    };
    const auto metadata =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(get_input_metadata(next_edges()));
    const auto& compiler = getPyCompilerInterface();
    const auto name = compiler->bind_function(swap.get_py_compiler(), Rule::name, rule, schema,
                                              /*is_custom_function=*/true, /*is_traceable=*/true);
    auto found = compiler->call_function(swap.get_py_compiler(), "apply_functional", name, grads, packed.vec(), metadata);
    swap.after(saved);
    swap.after(sizes);
    return found;
  }

 private:
  variable_list unpacked() {
    const std::lock_guard<std::mutex> lock(mutex_);
    variable_list tensors;
    for (const auto& variable : saved) tensors.push_back(variable.unpack(pointer_to(*this)));
    return tensors;
  }

  std::vector<bool> needed() const {
    std::vector<bool> all;
    for (size_t i = 0; i < num_outputs(); i++) all.push_back(task_should_compute_output(i));
    return all;
  }
};

// Makes `outputs`, which were computed below the autograd keys, results of `inputs` in the graph of gradients.
template <class Rule>
void record(const variable_list& outputs, const variable_list& inputs, const Kept& kept) {
  const auto node = make_node<KernelNode<Rule>>(kept, outputs);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  for (const auto& output : outputs) set_history(output, node);
}

}  // namespace dsct
