// CUDA device code on the CPU, for tests: what a kernel text without host code and without #include needs. Every
// specialisation compiles this file: no heavy headers.
//
// Every CUDA thread is a fiber of one operating-system thread; blocks run one after the other. Between two points of
// synchronisation the fibers run in turn, in order or in a random order, all warps side by side or one warp as far as
// it can before the next. This finds wrong numbers, missing barriers that such an order exposes, uninitialised or
// overrun shared memory, divergent barriers and shuffles from absent lanes. It knows no real concurrency, no memory
// model and not the GPU's rounding.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace cuda_host {

struct Index3 { unsigned x, y, z; };

// Of the running fiber.
extern Index3 thread_index, block_index, block_size, grid_size;

enum class Exchange { kBarrier, kXor, kIndex, kUp, kDown, kBallot };

// A warp operation: returns when every live lane of `mask` has called it.
uint64_t exchange(Exchange kind, unsigned mask, uint64_t value, int argument, int width);
void block_barrier();
unsigned char* shared_memory();

// Ends the launch: it throws, and launch() throws the same.
[[noreturn]] void fail(const char* reason);

struct LaunchShape {
  Index3 grid, block;
  size_t shared_bytes;
  int seed;  // of the random thread order: even side by side, odd one warp ahead of the others; negative: in order
};

// Runs `body(argument)` once per CUDA thread. Throws std::runtime_error on any of the errors above.
void launch(void (*body)(const void* argument), const void* argument, const LaunchShape& shape);

// Of the last launch: warp operations and atomic additions of single threads.
struct Counts { long exchanges, atomics; };
extern Counts counts;

template <class T>
T exchange_as(Exchange kind, unsigned mask, T value, int argument, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(kind, mask, bits, argument, width);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class To, class From>
To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

inline float half_to_float(unsigned short bits) { return static_cast<float>(reinterpret<_Float16>(bits)); }
inline unsigned short float_to_half(float x) { return reinterpret<unsigned short>(static_cast<_Float16>(x)); }

}  // namespace cuda_host

#define DSCT_HOST 1
#define DSCT_SHARED_MEMORY(name) unsigned char* name = cuda_host::shared_memory()
#define DSCT_UNROLL
#define DSCT_UNROLL_POINTS
#define DSCT_KEEP_IN_REGISTERS(pointer)

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// Static shared variables share one section, which is poisoned before every block.
#define __shared__ static __attribute__((section("cuda_host_shared")))
#define threadIdx cuda_host::thread_index
#define blockIdx cuda_host::block_index
#define blockDim cuda_host::block_size
#define gridDim cuda_host::grid_size

inline void __syncthreads() { cuda_host::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  cuda_host::exchange(cuda_host::Exchange::kBarrier, mask, 0, 0, 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return cuda_host::exchange_as(cuda_host::Exchange::kXor, mask, value, lanes, width);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return cuda_host::exchange_as(cuda_host::Exchange::kIndex, mask, value, lane, width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  return cuda_host::exchange_as(cuda_host::Exchange::kUp, mask, value, static_cast<int>(lanes), width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  return cuda_host::exchange_as(cuda_host::Exchange::kDown, mask, value, static_cast<int>(lanes), width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(cuda_host::exchange(cuda_host::Exchange::kBallot, mask, predicate != 0, 0, 32));
}

// float, double, int, unsigned long long: fibers never interleave inside.
template <class T>
T atomicAdd(T* address, T value) {
  cuda_host::counts.atomics++;
  const T old = *address;
  *address = old + value;
  return old;
}

inline float __uint_as_float(unsigned bits) { return cuda_host::reinterpret<float>(bits); }
inline unsigned __float_as_uint(float x) { return cuda_host::reinterpret<unsigned>(x); }
inline double __hiloint2double(int high, int low) {
  return cuda_host::reinterpret<double>(static_cast<uint64_t>(static_cast<unsigned>(high)) << 32 |
                                        static_cast<unsigned>(low));
}
inline int __double2hiint(double x) { return static_cast<int>(cuda_host::reinterpret<uint64_t>(x) >> 32); }
inline int __double2loint(double x) { return static_cast<int>(cuda_host::reinterpret<uint64_t>(x)); }
// Round to nearest even; NaN and numbers out of range do what the GPU does closely enough for tests that avoid them.
inline int __float2int_rn(float x) { return static_cast<int>(lrintf(x)); }
inline long long __double2ll_rn(double x) { return llrint(x); }
