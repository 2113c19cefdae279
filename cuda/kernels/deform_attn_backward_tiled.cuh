// Multi-scale deformable attention on a GPU, part 5: backward for queries that are the cells (Q = S).
//
// The 64 queries of a tile add to nearly the same cells again and again. Their contributions meet in shared memory, in
// one window of cells per level around the tile, and each touched cell goes to global memory once. Shared memory adds
// integers natively but floats in a compare-and-swap loop, hence 32-bit fixed point; its scale comes from a bound on
// what the tile's queries can add to one cell. Contributions outside the windows go to global memory directly.
#if DSCT_DTYPE != DSCT_FLOAT64

// Every query of a tile has its group, up to 512 threads. Shared memory allows one block per multiprocessor anyway, so
// registers are not scarce.
static const int kTiledThreads = kTileQueries * kGroup < 512 ? kTileQueries * kGroup : 512;

static const unsigned short kNoWindow = 0xffff;
struct alignas(8) WindowCells { unsigned short at[4]; };  // each corner's cell in the windows

// A block's shared memory:
//
//   weights | offsets | dots |   cells    | bounds | origins |        windows
//     staging of the groups  | as staging |   64   |  8 x 2  | level 0 | level 1 | ...
struct TileMemory {
  Staging staged;
  WindowCells* cells;  // of this group, one entry per point
  float* bounds;       // [kTileQueries] what each query can add to a cell
  int* origins;        // [2 * kMaxLevels] first (x, y) of each window in its map
  int* windows;        // [window cells][D] fixed point
};

__device__ __forceinline__ TileMemory tile_memory(unsigned char* shared) {
  const int groups = blockDim.x / kGroup, rows = groups * kStagedRow;
  TileMemory memory;
  memory.staged = staging_of_group(shared);
  WindowCells* cells = (WindowCells*)(shared + rows * (2 * sizeof(Real4) + sizeof(Word4)));
  memory.cells = cells + threadIdx.x / kGroup * kStagedRow;
  memory.bounds = (float*)(cells + rows);
  memory.origins = (int*)(memory.bounds + kTileQueries);
  memory.windows = memory.origins + 2 * kMaxLevels;
  return memory;
}

__device__ __forceinline__ int window_cells(const DeformAttnParams& params) {
  const int last = DSCT_L - 1;
  return params.window_start[last] + params.window_height[last] * params.window_width[last];
}

// Channel c of chunk `chunk` of lane `lane`. Consecutive lanes hit consecutive banks, and the turn by the cell's number
// keeps groups that add to neighbouring cells at the same time apart.
__device__ __forceinline__ int window_slot(int cell, int chunk, int lane, int c) {
  return cell * DSCT_D + (chunk * kVector + (c + cell) % kVector) * kLanes + lane;
}

struct WindowSink {
  real_t* base;  // global memory, for cells outside the windows
  TileMemory memory;
  float scale;  // 0: no usable bound (NaN, infinite, zero), everything goes to global memory

  __device__ __forceinline__ bool wanted() const { return base != nullptr; }

  __device__ __forceinline__ void stage(const DeformAttnParams& params, int point, const Sample& sample) const {
    const int level = point / DSCT_P, width = params.window_width[level];
    WindowCells cells;
    DSCT_UNROLL for (int k = 0; k < 4; k++) {
      const int x = sample.column[k % 2] - memory.origins[2 * level];
      const int y = sample.row[k / 2] - memory.origins[2 * level + 1];
      const bool inside = scale != 0 && x >= 0 && y >= 0 && x < width && y < params.window_height[level];
      cells.at[k] = inside ? (unsigned short)(params.window_start[level] + y * width + x) : kNoWindow;
    }
    memory.cells[point] = cells;
  }

  __device__ __forceinline__ void add(int point, int k, unsigned offset, real_t weight,
                                      const real_t grad[kChannels]) const {
    const int cell = memory.cells[point].at[k];
    if (cell == kNoWindow) {
      add_row_to_global(base + offset, weight, grad);
      return;
    }
    const float scaled = weight * scale;  // exact: the scale is a power of two
    DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++)
      DSCT_UNROLL for (int c = 0; c < kVector; c++)
        atomicAdd(memory.windows + window_slot(cell, chunk, lane_of_channels(), c),
                  __float2int_rn(scaled * grad[chunk * kVector + c]));
  }
};

// What one (query, head) can add to one cell: (sum of |attention|) * max |grad_out|. Every thread of the warp must call
// this.
__device__ __forceinline__ void bound_query(const DeformAttnParams& params, const Task& task, float* bound) {
  real_t grad[kChannels];
  load_grad_out(params, task, grad);
  real_t largest = 0;
  DSCT_UNROLL for (int c = 0; c < kChannels; c++) largest = larger(largest, magnitude(grad[c]));
  largest = group_max(largest);
  real_t attention = 1;  // softmax
#if DSCT_REFERENCE == 0
  real_t given[kOwned];
  load_attention(params, task, given);
  attention = 0;
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) attention += magnitude(given[i]);
  attention = group_sum(attention);
#endif
  if (member() == 0) *bound = largest * attention;
}

// Window cells and origins as they are before the first contribution.
__device__ __forceinline__ void prepare_windows(const DeformAttnParams& params, const Tile& tile,
                                                       const TileMemory& memory) {
  const int words = window_cells(params) * DSCT_D;
  for (int i = threadIdx.x; i < words; i += blockDim.x) memory.windows[i] = 0;
  if (threadIdx.x < DSCT_L) {
    // The window's middle lies where the tile's middle lies, moved into the map.
    const int level = threadIdx.x;
    const long long x = (2 * tile.x + kTileSide) * (long long)params.width[level] / params.width[tile.level];
    const long long y = (2 * tile.y + kTileSide) * (long long)params.height[level] / params.height[tile.level];
    const long long left = (x - params.window_width[level]) / 2, top = (y - params.window_height[level]) / 2;
    const int right_most = params.width[level] - params.window_width[level];
    const int lowest = params.height[level] - params.window_height[level];
    memory.origins[2 * level] = left < 0 ? 0 : left > right_most ? right_most : (int)left;
    memory.origins[2 * level + 1] = top < 0 ? 0 : top > lowest ? lowest : (int)top;
  }
}

// Units of the fixed point per 1.0: a power of two that keeps every sum of the tile below 2^30. The queries' bounds are
// added in the same order by every warp, so all threads agree.
__device__ __forceinline__ float window_scale(const float* bounds) {
  float bound = bounds[threadIdx.x % 32] + bounds[threadIdx.x % 32 + 32];
  DSCT_UNROLL for (int step = 1; step < 32; step *= 2) bound += __shfl_xor_sync(kFullWarp, bound, step);
  const int exponent = (int)((__float_as_uint(bound) >> 23) & 0xff) - 127;  // bound < 2^(exponent + 1)
  if (exponent < -90 || exponent > 90) return 0;
  return __uint_as_float((unsigned)(29 - exponent + 127) << 23);
}

// Every touched cell of the windows to global memory, 16 bytes of value_t per thread and turn.
__device__ __forceinline__ void flush_windows(const DeformAttnParams& params, const TileMemory& memory,
                                                     real_t* head_of_image, float scale) {
  const float unit = 1 / scale;
  const int pieces = kLanes * kChunks;
  for (int level = 0; level < DSCT_L; level++) {
    const int width = params.window_width[level], count = width * params.window_height[level] * pieces;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      const int lane = i % kLanes, chunk = i / kLanes % kChunks, cell = i / pieces;
      float sums[kVector];
      bool touched = false;
      DSCT_UNROLL for (int c = 0; c < kVector; c++) {
        const int units = memory.windows[window_slot(params.window_start[level] + cell, chunk, lane, c)];
        touched = touched || units != 0;
        sums[c] = (float)units * unit;
      }
      if (!touched) continue;
      const int x = memory.origins[2 * level] + cell % width, y = memory.origins[2 * level + 1] + cell / width;
      const size_t offset = (size_t)(params.start[level] + y * params.width[level] + x) * kRow;
      add_to_global(head_of_image + offset + (chunk * kLanes + lane) * kVector, sums);
    }
  }
}

// Queries that are the cells (Q = S); grad_value is not null.
// Grid (tiles over all levels, M, B), block kTiledThreads: one 8 x 8 tile of queries of one head,
// groups taking its queries in turns. Gradients of points and weights as in deform_attn_backward. The value gradient is
// summed with integer atomics in shared memory, then with floating-point atomics in global memory, one per window cell
// and tile (plus those outside the windows): its last bits depend on the run.
extern "C" __global__ void __launch_bounds__(kTiledThreads, 1)
    deform_attn_backward_tiled(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  DSCT_SHARED_MEMORY(shared);
  const TileMemory memory = tile_memory(shared);
  const Tile tile = find_tile(params, blockIdx.x);
  const int groups = blockDim.x / kGroup, group = threadIdx.x / kGroup;
  prepare_windows(params, tile, memory);
  for (int first = 0; first < kTileQueries; first += groups)
    bound_query(params, tile_task(params, tile, first + group), memory.bounds + first + group);
  __syncthreads();

  const float scale = window_scale(memory.bounds);
  for (int first = 0; first < kTileQueries; first += groups) {
    const Task task = tile_task(params, tile, first + group);
    const WindowSink sink = {image_base((real_t*)params.grad_value, params, task), memory, scale};
    attend_backward(params, task, memory.staged, sink);
  }
  __syncthreads();
  real_t* head_of_image = (real_t*)params.grad_value + (size_t)blockIdx.z * params.cells * kRow + blockIdx.y * DSCT_D;
  if (scale != 0) flush_windows(params, memory, head_of_image, scale);
}
#endif
