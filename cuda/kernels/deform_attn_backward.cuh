// Multi-scale deformable attention on a GPU, part 4: backward.
//
// With s_k = <value at corner k, grad_out> and bilinear weights w_k, a point with attention weight a has the gradients
//   weight: sum_k w_k s_k
//   x: a ((1-fy) (s_1 - s_0) + fy (s_3 - s_2))
//   y: a ((1-fx) (s_2 - s_0) + fx (s_3 - s_1))
// and adds a w_k grad_out to the gradient of corner k's cell. Only the last needs atomics. The kernels differ in the
// sink that takes these contributions; what nobody asked for (null) is not computed.

// ---------------------------------------------------------------- sinks of the value gradient

// Four floats in one instruction where the GPU has it (sm_90), one by one elsewhere. The order of additions is open.
__device__ __forceinline__ void add_to_global(real_t* address, const real_t values[kVector]) {
#if !defined(DSCT_HOST) && DSCT_DTYPE != DSCT_FLOAT64 && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  DSCT_UNROLL for (int c = 0; c < kVector; c += 4)
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address + c), "f"(values[c]),
                 "f"(values[c + 1]), "f"(values[c + 2]), "f"(values[c + 3])
                 : "memory");
#else
  DSCT_UNROLL for (int c = 0; c < kVector; c++) atomicAdd(address + c, values[c]);
#endif
}

__device__ __forceinline__ void add_row_to_global(real_t* row, real_t weight, const real_t grad[kChannels]) {
  DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++) {
    real_t scaled[kVector];
    DSCT_UNROLL for (int c = 0; c < kVector; c++) scaled[c] = weight * grad[chunk * kVector + c];
    add_to_global(row + chunk * kLanes * kVector, scaled);
  }
}

// Floating-point atomics in global memory: sums depend on the order, hence on the run, in the last bits.
struct FloatSink {
  real_t* base;  // this thread's first channel of cell 0, or null

  __device__ __forceinline__ bool wanted() const { return base != nullptr; }
  __device__ __forceinline__ void stage(const DeformAttnParams&, int, const Sample&) const {}
  __device__ __forceinline__ void add(int, int, unsigned offset, real_t weight, const real_t grad[kChannels]) const {
    add_row_to_global(base + offset, weight, grad);
  }
};

// Integer atomics in global memory: the sum does not depend on the order.
struct FixedPointSink {
  unsigned long long* base;
  double scale;

  __device__ __forceinline__ bool wanted() const { return base != nullptr; }
  __device__ __forceinline__ void stage(const DeformAttnParams&, int, const Sample&) const {}
  __device__ __forceinline__ void add(int, int, unsigned offset, real_t weight, const real_t grad[kChannels]) const {
    DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++)
      DSCT_UNROLL for (int c = 0; c < kVector; c++) {
        const real_t product = weight * grad[chunk * kVector + c];
        atomicAdd(base + offset + chunk * kLanes * kVector + c,
                  (unsigned long long)__double2ll_rn((double)product * scale));
      }
  }
};

// Units of the fixed point per 1.0, a power of two. At most Q*P points meet in a cell of one head, each with at most
// `bound`: their sum stays below 2^62, which leaves a factor of two for rounding.
__device__ __forceinline__ double fixed_point_scale(const DeformAttnParams& params) {
  const double largest = *params.bound * params.queries * DSCT_P;
  const int exponent = ((__double2hiint(largest) >> 20) & 0x7ff) - 1023;  // largest < 2^(exponent + 1)
  int power = 61 - exponent;
  if (power > 1000) power = 1000;  // bound = 0 among others: nothing to add
  if (power < -1000) power = -1000;
  return __hiloint2double((power + 1023) << 20, 0);
}

// ---------------------------------------------------------------- dot products

// Sums the four dot products of a point over the lanes of the channels and leaves them in shared memory. Halving the
// number of values with every exchange takes 2 + 1 + 1 shuffles for 8 lanes instead of 4 * 3. Every thread of the warp
// must call this.
__device__ __forceinline__ void reduce_dots(real_t dots[4], bool store, Real4* result) {
  const int lane = lane_of_channels();
  if (kLanes < 4) {
    if (kLanes == 2)
      DSCT_UNROLL for (int k = 0; k < 4; k++) dots[k] += __shfl_xor_sync(kFullWarp, dots[k], 1);
    if (store && lane == 0) *result = Real4{{dots[0], dots[1], dots[2], dots[3]}};
    return;
  }
  const bool odd = lane & 1, second = lane & 2;
  real_t first_kept = odd ? dots[2] : dots[0], second_kept = odd ? dots[3] : dots[1];
  first_kept += __shfl_xor_sync(kFullWarp, odd ? dots[0] : dots[2], 1);
  second_kept += __shfl_xor_sync(kFullWarp, odd ? dots[1] : dots[3], 1);
  real_t sum = second ? second_kept : first_kept;
  sum += __shfl_xor_sync(kFullWarp, second ? first_kept : second_kept, 2);
  DSCT_UNROLL for (int step = 4; step < kLanes; step *= 2) sum += __shfl_xor_sync(kFullWarp, sum, step);
  if (store && lane < 4) result->at[2 * odd + second] = sum;
}

// Value loads for the dot products and contributions to the value gradient of one point.
template <class Sink>
__device__ __forceinline__ void visit_corners(const value_t* base, const Staging& staged, int point,
                                                     const real_t grad[kChannels], bool wants_dots, const Sink& sink,
                                                     real_t dots[4]) {
  const Word4 offsets = staged.offsets[point];
  if (offsets.at[0] == kNowhere) return;
  if (wants_dots) {
    DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++) {
      Word4 raw[4];
      DSCT_UNROLL for (int k = 0; k < 4; k++)
        raw[k] = load_chunk(base + offsets.at[k] + chunk * kLanes * kVector);
      DSCT_UNROLL for (int k = 0; k < 4; k++) {
        real_t value[kVector];
        unpack(raw[k], value);
        DSCT_UNROLL for (int c = 0; c < kVector; c++) dots[k] += value[c] * grad[chunk * kVector + c];
      }
    }
  }
  if (sink.wanted()) {
    const Real4 weights = staged.weights[point];
    DSCT_UNROLL for (int k = 0; k < 4; k++)
      if (weights.at[k] != 0) sink.add(point, k, offsets.at[k], weights.at[k], grad);
  }
}

// ---------------------------------------------------------------- gradients of points and weights

// Writes the gradients of the points that this thread owns. Every thread of the warp must call this.
__device__ __forceinline__ void write_point_gradients(const DeformAttnParams& params, const Task& task,
                                                             const Staging& staged, const real_t attention[kOwned]) {
  real_t grad_attention[kOwned];
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
    grad_attention[i] = 0;
    const int point = member() + i * kGroup;
    if (!task.active || point >= kPoints) continue;
    const Sample at = locate_point(params, task, point);
    Real2 grad = {0, 0};
    if (at.inside) {
      Real4 s = staged.dots[point];
      DSCT_UNROLL for (int k = 0; k < 4; k++) {
        if (!corner_inside(at, k)) s.at[k] = 0;
        grad_attention[i] += corner_weight(at, k) * s.at[k];
      }
      grad.x = attention[i] * ((1 - at.fy) * (s.at[1] - s.at[0]) + at.fy * (s.at[3] - s.at[2]));
      grad.y = attention[i] * ((1 - at.fx) * (s.at[2] - s.at[0]) + at.fx * (s.at[3] - s.at[1]));
#if DSCT_REFERENCE == 0
      grad.x *= (real_t)params.width[point / DSCT_P];
      grad.y *= (real_t)params.height[point / DSCT_P];
#endif
    }
    if (params.grad_points) ((Real2*)params.grad_points)[task.item * kPoints + point] = grad;
  }
  if (!params.grad_weights) return;
#if DSCT_REFERENCE != 0
  // Through the softmax: a_i (g_i - sum_j a_j g_j).
  real_t mean = 0;
  DSCT_UNROLL for (int i = 0; i < kOwned; i++)
    if (member() + i * kGroup < kPoints) mean += attention[i] * grad_attention[i];
  mean = group_sum(mean);
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) grad_attention[i] = attention[i] * (grad_attention[i] - mean);
#endif
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
    const int point = member() + i * kGroup;
    if (task.active && point < kPoints)
      ((real_t*)params.grad_weights)[task.item * kPoints + point] = grad_attention[i];
  }
}

// ---------------------------------------------------------------- one (query, head)

__device__ __forceinline__ void load_grad_out(const DeformAttnParams& params, const Task& task,
                                                     real_t grad[kChannels]) {
  DSCT_UNROLL for (int c = 0; c < kChannels; c++) grad[c] = 0;
  if (!task.active) return;
  const value_t* row = (const value_t*)params.grad_out + task.item * DSCT_D + first_channel();
  DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++)
    unpack(load_chunk(row + chunk * kLanes * kVector), grad + chunk * kVector);
}

// All gradients of one (query, head). Every thread of the warp must call this.
template <class Sink>
__device__ __forceinline__ void attend_backward(const DeformAttnParams& params, const Task& task,
                                                       const Staging& staged, const Sink& sink) {
  real_t attention[kOwned];
  load_attention(params, task, attention);
  __syncwarp();  // the group's previous task may still be reading what is now overwritten
  stage_points(params, task, staged, attention);
  if (task.active && sink.wanted())
    DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
      const int point = member() + i * kGroup;
      if (point < kPoints) sink.stage(params, point, locate_point(params, task, point));
    }
  __syncwarp();

  const bool wants_dots = params.grad_points || params.grad_weights;
  const value_t* base = image_base((const value_t*)params.value, params, task);
  real_t grad[kChannels];
  load_grad_out(params, task, grad);
  for (int first = 0; first < kPoints; first += DSCT_SPLIT) {
    const int point = first + share_of_points();
    const bool mine = task.active && point < kPoints;
    real_t dots[4] = {0, 0, 0, 0};
    if (mine) visit_corners(base, staged, point, grad, wants_dots, sink, dots);
    if (wants_dots) reduce_dots(dots, mine, staged.dots + point);
  }
  if (!wants_dots) return;
  __syncwarp();
  write_point_gradients(params, task, staged, attention);
}

// Four blocks of 256 per multiprocessor allow 64 registers; left alone, the compiler aims at 48 and spills a few bytes.

// Any queries.
// Grid and groups as in deform_attn_forward. A thread owns the gradients of points and weights of kOwned points of its
// group's pair and writes them once: the same bits in every run. The value gradient is summed with floating-point
// atomics (16 bytes each on sm_90): its last bits depend on the run.
extern "C" __global__ void __launch_bounds__(256, 4)
    deform_attn_backward(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  DSCT_SHARED_MEMORY(shared);
  const Task task = pair_task(params);
  FloatSink sink = {nullptr};
  if (params.grad_value) sink.base = image_base((real_t*)params.grad_value, params, task);
  attend_backward(params, task, staging_of_group(shared), sink);
}

// Any queries, deterministic.
// As deform_attn_backward, but the value gradient is summed in params.fixed_point with 64-bit integer atomics, whose
// result does not depend on their order. deform_attn_from_fixed_point follows.
extern "C" __global__ void __launch_bounds__(256, 4)
    deform_attn_backward_fixed_point(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  DSCT_SHARED_MEMORY(shared);
  const Task task = pair_task(params);
  FixedPointSink sink = {nullptr, 0};
  if (params.grad_value) {
    sink.base = image_base((unsigned long long*)params.fixed_point, params, task);
    sink.scale = fixed_point_scale(params);
  }
  attend_backward(params, task, staging_of_group(shared), sink);
}

// Fixed point to grad_value. Any grid along x; a thread writes every (number of threads)-th element; no atomics.
// Where the bound is infinite or NaN there is no scale, and the whole gradient is NaN.
extern "C" __global__ void __launch_bounds__(256)
    deform_attn_from_fixed_point(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  const double unit = 1 / fixed_point_scale(params), bound = *params.bound;
  const bool finite = bound - bound == 0;
  const long long* sums = (const long long*)params.fixed_point;
  real_t* grad = (real_t*)params.grad_value;
  const size_t count = (size_t)params.batch * params.cells * kRow;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x)
    grad[i] = finite ? (real_t)((double)sums[i] * unit) : (real_t)(bound - bound);
}
