// C interface to one specialisation of the kernels on the CPU, for ctypes. Compiled with the specialisation's -D flags
// and -DDSCT_KERNEL_TEXT="<file>": the joined kernel text, or another one with a struct DeformAttnParams of its own.
#include "cuda_host.hpp"

#include DSCT_KERNEL_TEXT

#include <exception>

static char last_error[256];

struct KernelCall {
  void (*kernel)(DeformAttnParams);
  const DeformAttnParams* params;
};

static void run_thread(const void* argument) {
  const auto* call = static_cast<const KernelCall*>(argument);
  call->kernel(*call->params);
}

extern "C" {

const char* cuda_host_error() { return last_error; }

long cuda_host_exchanges() { return cuda_host::counts.exchanges; }
long cuda_host_atomics() { return cuda_host::counts.atomics; }

// Runs `kernel`, one of this library's, for every thread of the grid. 0, or 1 with a text in cuda_host_error().
int cuda_host_launch(void (*kernel)(DeformAttnParams), const DeformAttnParams* params, const unsigned grid[3],
                     unsigned block, size_t shared_bytes, int seed) {
  try {
    const KernelCall call = {kernel, params};
    cuda_host::launch(run_thread, &call, {{grid[0], grid[1], grid[2]}, {block, 1, 1}, shared_bytes, seed});
    return 0;
  } catch (const std::exception& e) {
    std::strncpy(last_error, e.what(), sizeof(last_error) - 1);
    return 1;
  }
}
}
