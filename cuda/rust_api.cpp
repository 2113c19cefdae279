// The operators for callers in Rust, through the dispatcher: autograd, autocast, tracing and every device apply to
// them as to callers in Python. No exception crosses.
#include <cstring>

#include "deform_attn_call.h"

extern "C" {

void dsct_plain_ops_anchor();
void dsct_fused_ops_anchor();
void dsct_cuda_ops_anchor();

// Referenced from Rust. A linker drops an object of an archive that nobody refers to, registrations included.
void dsct_ops_anchor() {
  dsct_plain_ops_anchor();
  dsct_fused_ops_anchor();
  dsct_cuda_ops_anchor();
}

enum DsctErrorKind : int32_t { kDsctOther = 0, kDsctValue, kDsctType, kDsctNotImplemented, kDsctOutOfMemory };

// Why a call failed; `message` is to be freed with free().
struct DsctFailure {
  char* message;
  int32_t kind;
};
}

namespace {

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

// A new tensor, or null with `failure` filled.
at::Tensor* dsct_ms_deform_attn(const at::Tensor* value, const int64_t* shapes, size_t len,
                                const at::Tensor* locations, const at::Tensor* weights, DsctFailure* failure) {
  return guarded(
      [&] {
        const std::vector<c10::SymInt> sizes(shapes, shapes + len);
        return dsct::call_forward(*value, sizes, *locations, *weights);
      },
      failure);
}

at::Tensor* dsct_ms_deform_attn_fused(const at::Tensor* value, const int64_t* shapes, size_t len,
                                      const at::Tensor* reference, const at::Tensor* offsets,
                                      const at::Tensor* logits, DsctFailure* failure) {
  return guarded(
      [&] {
        const std::vector<c10::SymInt> sizes(shapes, shapes + len);
        return dsct::call_fused_forward(*value, sizes, *reference, *offsets, *logits);
      },
      failure);
}
}
