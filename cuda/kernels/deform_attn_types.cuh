// Multi-scale deformable attention on a GPU, part 1: parameters, types, loads and stores.
//
// src/ops/deform_attn_cuda/pass.rs joins the parts (types, stage, forward, backward, tiled backward) to one text,
// which NVRTC compiles for the GPU at hand and g++ for the tests (tests/cuda_host). Hence no #include and no host
// code; inline PTX stands behind DSCT_HOST. Shape letters: B batch, S cells over all levels, M heads, D channels per
// head, Q queries, L levels, P points.
//
// One compilation serves one specialisation:
//   DSCT_DTYPE         of value, out and grad_out: one of the codes below
//   DSCT_POINTS_DTYPE  of points and weights: the arithmetic type or, with a reference, DSCT_DTYPE
//   DSCT_REFERENCE     0: points are locations, weights are given; 2 or 4: points are offsets from reference points
//                      (x, y) or boxes (cx, cy, w, h), weights are logits
//   DSCT_D DSCT_M DSCT_L DSCT_P   sizes
//   DSCT_SPLIT         threads that share the points of one (query, head)
//   DSCT_HASH          a hash of all the above, compared with the one in the parameters
#if !defined(DSCT_DTYPE) || !defined(DSCT_POINTS_DTYPE) || !defined(DSCT_REFERENCE) || !defined(DSCT_D) || \
    !defined(DSCT_M) || !defined(DSCT_L) || !defined(DSCT_P) || !defined(DSCT_SPLIT) || !defined(DSCT_HASH)
#error "a specialisation macro is missing"
#endif

// The codes of deform_attn.h.
#define DSCT_FLOAT32 0
#define DSCT_FLOAT16 1
#define DSCT_BFLOAT16 2
#define DSCT_FLOAT64 3

#ifndef DSCT_HOST
#define DSCT_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#define DSCT_UNROLL _Pragma("unroll")
#define DSCT_UNROLL_POINTS _Pragma("unroll 4")
// The compiler would rather recompute a 64-bit base address for every point than spend two registers on it.
#define DSCT_KEEP_IN_REGISTERS(pointer) asm("" : "+l"(pointer))
#endif

static const int kMaxLevels = 8;

// One struct by value per kernel. params.rs holds its twin.
struct DeformAttnParams {
  const void* value;       // (B,S,M,D) value_t
  const void* reference;   // (B,Q,L,DSCT_REFERENCE) real_t
  const void* points;      // (B,Q,M,L,P,2) points_t
  const void* weights;     // (B,Q,M,L,P) points_t
  const void* grad_out;    // (B,Q,M,D) value_t
  void* out;               // (B,Q,M,D) value_t
  void* grad_value;        // (B,S,M,D) real_t, zero on entry, or null
  void* grad_points;       // (B,Q,M,L,P,2) real_t or null
  void* grad_weights;      // (B,Q,M,L,P) real_t or null
  void* fixed_point;       // (B,S,M,D) int64, zero on entry: the deterministic backward only
  const double* bound;     // the largest |attention weight * grad_out|: the deterministic backward only
  unsigned hash;           // DSCT_HASH of the module that this call was planned for
  int batch, cells, queries;
  int height[kMaxLevels], width[kMaxLevels], start[kMaxLevels];  // of each level; its first cell among the S
  // Tiled backward: extent of each level's window, and its first cell in shared memory.
  int window_height[kMaxLevels], window_width[kMaxLevels], window_start[kMaxLevels];
};

#if DSCT_DTYPE == DSCT_FLOAT64
typedef double real_t;
typedef double value_t;
static const int kVector = 2;  // channels in 16 bytes
#elif DSCT_DTYPE == DSCT_FLOAT32
typedef float real_t;
typedef float value_t;
static const int kVector = 4;
#else
typedef float real_t;
typedef unsigned short value_t;
static const int kVector = 8;
#endif

#if DSCT_POINTS_DTYPE == DSCT_FLOAT16 || DSCT_POINTS_DTYPE == DSCT_BFLOAT16
typedef unsigned short points_t;
struct alignas(4) PointPair { points_t x, y; };
#else
typedef real_t points_t;
struct alignas(2 * sizeof(real_t)) PointPair { points_t x, y; };
#endif

struct alignas(2 * sizeof(real_t)) Real2 { real_t x, y; };
struct alignas(16) Real4 { real_t at[4]; };
struct alignas(16) Word4 { unsigned at[4]; };

// A group of threads works on one (query, head): kLanes of them side by side over the channels, 16 bytes at a time,
// times DSCT_SPLIT over the points. A power of two, at most a warp, so that groups never straddle warps.
static const int kPieces = DSCT_D / kVector;
static const int kPowerOfTwo = kPieces & -kPieces;  // the largest that divides the pieces
static const int kLanes = kPowerOfTwo < 32 ? kPowerOfTwo : 32;
static const int kChunks = kPieces / kLanes;    // 16-byte pieces per thread
static const int kChannels = kChunks * kVector;  // channels per thread
static const int kGroup = kLanes * DSCT_SPLIT;
static const int kPoints = DSCT_L * DSCT_P;
static const int kOwned = (kPoints + kGroup - 1) / kGroup;  // points that one thread locates
static const unsigned kRow = DSCT_M * DSCT_D;               // elements of one cell
static const unsigned kFullWarp = 0xffffffffu;
static const unsigned kNowhere = 0xffffffffu;  // offset of a point that touches no cell

static_assert(DSCT_D % kVector == 0, "a head must be whole 16-byte pieces");
static_assert(32 % kGroup == 0, "a group must divide a warp");
static_assert(DSCT_L <= kMaxLevels, "too many levels");

// A module must never run with the parameters of another specialisation: sizes differ, memory would be corrupted.
__device__ __forceinline__ void refuse_wrong_module(const DeformAttnParams& params) {
#ifdef DSCT_HOST
  if (params.hash != DSCT_HASH) cuda_host::fail("the parameters belong to another specialisation");
#else
  if (params.hash != DSCT_HASH) __trap();
#endif
}

// ---------------------------------------------------------------- arithmetic of real_t

#if DSCT_DTYPE == DSCT_FLOAT64
__device__ __forceinline__ real_t round_down(real_t x) { return floor(x); }
__device__ __forceinline__ real_t exponential(real_t x) { return exp(x); }
#else
__device__ __forceinline__ real_t round_down(real_t x) { return floorf(x); }
__device__ __forceinline__ real_t exponential(real_t x) { return expf(x); }
#endif

// NaN wins, so that it is not lost in a maximum.
__device__ __forceinline__ real_t larger(real_t a, real_t b) { return b > a || b != b ? b : a; }

__device__ __forceinline__ real_t magnitude(real_t x) { return x < 0 ? -x : x; }

__device__ __forceinline__ real_t group_sum(real_t x) {
  DSCT_UNROLL for (int step = 1; step < kGroup; step *= 2) x += __shfl_xor_sync(kFullWarp, x, step);
  return x;
}

__device__ __forceinline__ real_t group_max(real_t x) {
  DSCT_UNROLL for (int step = 1; step < kGroup; step *= 2) x = larger(x, __shfl_xor_sync(kFullWarp, x, step));
  return x;
}

// ---------------------------------------------------------------- 16-bit floats, without the CUDA headers

__device__ __forceinline__ float half_to_float(unsigned short bits) {
#ifdef DSCT_HOST
  return cuda_host::half_to_float(bits);
#else
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
#endif
}

__device__ __forceinline__ unsigned short float_to_half(float x) {
#ifdef DSCT_HOST
  return cuda_host::float_to_half(x);
#else
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#endif
}

__device__ __forceinline__ float bfloat_to_float(unsigned short bits) {
  return __uint_as_float((unsigned)bits << 16);
}

__device__ __forceinline__ unsigned short float_to_bfloat(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fff;  // rounding could carry a NaN over to zero
  return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ real_t point_to_real(points_t x) {
#if DSCT_POINTS_DTYPE == DSCT_FLOAT16
  return half_to_float(x);
#elif DSCT_POINTS_DTYPE == DSCT_BFLOAT16
  return bfloat_to_float(x);
#else
  return x;
#endif
}

// ---------------------------------------------------------------- channels: 16 bytes of value_t <-> kVector reals

// Read-only for the whole kernel. PTX, because a plain load from a base that is kept in registers becomes generic.
__device__ __forceinline__ Word4 load_chunk(const value_t* address) {
#ifdef DSCT_HOST
  return *(const Word4*)address;
#else
  Word4 raw;
  asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(raw.at[0]), "=r"(raw.at[1]), "=r"(raw.at[2]), "=r"(raw.at[3])
      : "l"(address));
  return raw;
#endif
}

__device__ __forceinline__ void unpack(const Word4& raw, real_t channels[kVector]) {
#if DSCT_DTYPE == DSCT_FLOAT32
  DSCT_UNROLL for (int i = 0; i < 4; i++) channels[i] = __uint_as_float(raw.at[i]);
#elif DSCT_DTYPE == DSCT_FLOAT64
  DSCT_UNROLL for (int i = 0; i < 2; i++)
    channels[i] = __hiloint2double((int)raw.at[2 * i + 1], (int)raw.at[2 * i]);
#else
  DSCT_UNROLL for (int i = 0; i < 4; i++) {
#if DSCT_DTYPE == DSCT_FLOAT16
    channels[2 * i] = half_to_float((unsigned short)raw.at[i]);
    channels[2 * i + 1] = half_to_float((unsigned short)(raw.at[i] >> 16));
#else
    channels[2 * i] = __uint_as_float(raw.at[i] << 16);
    channels[2 * i + 1] = __uint_as_float(raw.at[i] & 0xffff0000u);
#endif
  }
#endif
}

__device__ __forceinline__ Word4 pack(const real_t channels[kVector]) {
  Word4 raw;
#if DSCT_DTYPE == DSCT_FLOAT32
  DSCT_UNROLL for (int i = 0; i < 4; i++) raw.at[i] = __float_as_uint(channels[i]);
#elif DSCT_DTYPE == DSCT_FLOAT64
  DSCT_UNROLL for (int i = 0; i < 2; i++) {
    raw.at[2 * i] = (unsigned)__double2loint(channels[i]);
    raw.at[2 * i + 1] = (unsigned)__double2hiint(channels[i]);
  }
#else
  DSCT_UNROLL for (int i = 0; i < 4; i++) {
#if DSCT_DTYPE == DSCT_FLOAT16
    const unsigned low = float_to_half(channels[2 * i]), high = float_to_half(channels[2 * i + 1]);
#else
    const unsigned low = float_to_bfloat(channels[2 * i]), high = float_to_bfloat(channels[2 * i + 1]);
#endif
    raw.at[i] = low | (high << 16);
  }
#endif
  return raw;
}

// PTX, because the compiler splits the store of a struct that it has just put together.
__device__ __forceinline__ void store_chunk(value_t* address, const Word4& raw) {
#ifdef DSCT_HOST
  *(Word4*)address = raw;
#else
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(raw.at[0]), "r"(raw.at[1]),
               "r"(raw.at[2]), "r"(raw.at[3])
               : "memory");
#endif
}
