// Functions of libtorch that torch's headers call inline and that an older libtorch does not have. With one of our own,
// an extension that was built for the newer torch loads under both. `python -m tests.torch_versions` finds them.
#include <c10/core/SymIntArrayRef.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 15
namespace c10 {

// Of a dispatcher that finds a symbolic number where a kernel takes plain ones.
std::string formatSymIntArrayRefToIntArrayRefError(SymIntArrayRef numbers, const SymInt& symbolic, const char* file,
                                                   int64_t line) {
  return c10::str(file, ":", line, ": expected plain numbers, got ", symbolic, " in ", numbers);
}

}  // namespace c10
#endif
