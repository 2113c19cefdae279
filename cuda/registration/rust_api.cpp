// The operators for callers in Rust, through the dispatcher: autograd, autocast, tracing and every device apply to
// them as to callers in Python. No exception crosses.
#include <ATen/TensorIterator.h>

#include <unistd.h>

#include <cstring>
#include <optional>

#include "deform_attn_call.h"

extern "C" {

// Referenced from Rust. A linker drops an object of an archive that nobody refers to, and all files here are one object
// (build.rs), registrations included.
void dsct_ops_anchor() {}

enum DsctErrorKind : int32_t { kDsctOther = 0, kDsctValue, kDsctType, kDsctNotImplemented, kDsctOutOfMemory };

// Why a call failed; `message` is to be freed with free().
struct DsctFailure {
  char* message;
  int32_t kind;
};
}

namespace dsct {
at::Tensor call_dropout(const at::Tensor& input, double p, const at::Tensor& seed, bool relu);
}

namespace {

const auto loaded_by = getpid();

template <class Call>
at::Tensor* guarded(Call call, DsctFailure* failure) {
  const auto fail = [&](DsctErrorKind kind, const char* text) {
    *failure = {strdup(text), kind};
    return nullptr;
  };
  try {
    return new at::Tensor(call());
  } catch (const c10::ValueError& e) {
    return fail(kDsctValue, e.what_without_backtrace());
  } catch (const c10::TypeError& e) {
    return fail(kDsctType, e.what_without_backtrace());
  } catch (const c10::NotImplementedError& e) {
    return fail(kDsctNotImplemented, e.what_without_backtrace());
  } catch (const c10::OutOfMemoryError& e) {
    return fail(kDsctOutOfMemory, e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return fail(kDsctOther, e.what_without_backtrace());
  } catch (const std::exception& e) {
    return fail(kDsctOther, e.what());
  } catch (...) {
    return fail(kDsctOther, "unknown C++ exception");
  }
}

}  // namespace

extern "C" {

// A new tensor, or null with `failure` filled. With `reference` it is the fused operator, with null the plain one.
at::Tensor* dsct_deform_attn(const at::Tensor* value, const int64_t* shapes, size_t len, const at::Tensor* reference,
                             const at::Tensor* points, const at::Tensor* weights, DsctFailure* failure) {
  return guarded(
      [&] {
        const auto sizes = c10::fromIntArrayRefSlow({shapes, len});
        return dsct::call_forward({*value, sizes, reference ? *reference : at::Tensor(), *points, *weights});
      },
      failure);
}

at::Tensor* dsct_dropout(const at::Tensor* input, double p, const at::Tensor* seed, bool relu, DsctFailure* failure) {
  return guarded([&] { return dsct::call_dropout(*input, p, *seed, relu); }, failure);
}

// Whether this process is a child of the one that loaded this library, by a fork.
bool dsct_forked() { return getpid() != loaded_by; }

// body(context, begin, end) for parts of [0, count) on torch's threads. `body` does not throw. at::parallel_for itself
// is OpenMP in a header, which would bring a second pool of threads with it; torch's own loop over the elements of a
// tensor is compiled where the threads are.
void dsct_parallel_for(size_t count, void (*body)(const void*, size_t, size_t), const void* context) {
  std::optional<at::TensorIterator> loop;
  const char* first = nullptr;
  try {
    auto indices = at::empty({static_cast<int64_t>(count)}, at::kByte);
    first = static_cast<const char*>(indices.const_data_ptr());
    loop = at::TensorIterator::nullary_op(indices);
  } catch (const std::exception&) {  // no memory for it: this thread does all
    return body(context, 0, count);
  }
  loop->for_each(
      [&](char** data, const int64_t*, int64_t size, int64_t rows) {
        const auto begin = static_cast<size_t>(data[0] - first);
        body(context, begin, begin + static_cast<size_t>(size * rows));
      },
      /*grain_size=*/1);
}
}
