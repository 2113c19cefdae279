// Multi-scale deformable attention on a GPU, part 2: where the points lie.
//
// The threads of a group share the points of their (query, head): each locates kOwned of them once and leaves four
// corner weights and four cell offsets in shared memory, where all threads of the group read them.

// What a thread works on; the group of threads is the same (query, head).
struct Task {
  bool active;   // false beyond the last query: such a thread takes part in warp operations only
  int image, head;
  size_t query;  // among the B*Q
  size_t item;   // among the B*Q*M
};

__device__ __forceinline__ Task make_task(const DeformAttnParams& params, int image, int query, int head,
                                                 bool active) {
  Task task;
  task.active = active;
  task.image = image;
  task.head = head;
  task.query = (size_t)image * params.queries + query;
  task.item = task.query * DSCT_M + head;
  return task;
}

// A thread's place in its group.
__device__ __forceinline__ int member() { return threadIdx.x % kGroup; }
__device__ __forceinline__ int lane_of_channels() { return threadIdx.x % kLanes; }
__device__ __forceinline__ int share_of_points() { return threadIdx.x % kGroup / kLanes; }

// The first of a thread's channels in the row of a cell or of an item.
__device__ __forceinline__ int first_channel() { return lane_of_channels() * kVector; }

// The groups of all blocks count through the Q*M pairs of image blockIdx.y, heads fastest.
__device__ __forceinline__ Task pair_task(const DeformAttnParams& params) {
  const unsigned pair = blockIdx.x * (blockDim.x / kGroup) + threadIdx.x / kGroup;
  const bool active = pair < (unsigned)params.queries * DSCT_M;
  return make_task(params, blockIdx.y, active ? pair / DSCT_M : 0, pair % DSCT_M, active);
}

// ---------------------------------------------------------------- tiles of queries

// Where the queries are the cells (encoder self-attention, Q = S) neighbours look at nearly the same cells. A block
// then takes the queries of one 8 x 8 tile of one level and one head, so that the cells stay in L1.
static const int kTileSide = 8, kTileQueries = kTileSide * kTileSide;

struct Tile { int level, x, y; };  // first cell

// Tiles are numbered level by level, row by row.
__device__ __forceinline__ Tile find_tile(const DeformAttnParams& params, int number) {
  Tile tile = {0, 0, 0};
  int columns = (params.width[0] + kTileSide - 1) / kTileSide;
  int count = columns * ((params.height[0] + kTileSide - 1) / kTileSide);
  while (number >= count) {
    number -= count;
    tile.level++;
    columns = (params.width[tile.level] + kTileSide - 1) / kTileSide;
    count = columns * ((params.height[tile.level] + kTileSide - 1) / kTileSide);
  }
  tile.x = number % columns * kTileSide;
  tile.y = number / columns * kTileSide;
  return tile;
}

// The task of query `index` of the 64 in a tile; tiles overhang the right and the lower edge of a map.
__device__ __forceinline__ Task tile_task(const DeformAttnParams& params, const Tile& tile, int index) {
  const int x = tile.x + index % kTileSide, y = tile.y + index / kTileSide;
  const bool active = index < kTileQueries && x < params.width[tile.level] && y < params.height[tile.level];
  const int query = active ? params.start[tile.level] + y * params.width[tile.level] + x : 0;
  return make_task(params, blockIdx.z, query, blockIdx.y, active);
}

// ---------------------------------------------------------------- one point

// A sampling point between four cells. Corner k lies in row k / 2 and column k % 2:
//
//   0 - - fx - - - 1
//   |     :        |
//   fy    :        |
//   | . . *        |
//   2 - - - - - - -3
//
// A corner outside the map stands for the inside corner next to it with weight 0: loads need no predicate, and a NaN or
// Inf cell reaches exactly those outputs that it reaches in the reference.
struct Sample {
  bool inside;  // false where no corner lies in the map, NaN coordinates included
  bool in_column[2], in_row[2];
  int column[2], row[2];
  real_t fx, fy;
};

__device__ __forceinline__ Sample locate(Real2 at, int width, int height) {
  Sample sample;
  sample.inside = at.x > -1 && at.y > -1 && at.x < (real_t)width && at.y < (real_t)height;
  const real_t x = sample.inside ? at.x : 0, y = sample.inside ? at.y : 0;
  const real_t left = round_down(x), top = round_down(y);
  sample.fx = x - left;
  sample.fy = y - top;
  const int x0 = (int)left, y0 = (int)top;
  sample.in_column[0] = x0 >= 0;
  sample.in_column[1] = x0 + 1 < width;
  sample.in_row[0] = y0 >= 0;
  sample.in_row[1] = y0 + 1 < height;
  sample.column[0] = sample.in_column[0] ? x0 : 0;
  sample.column[1] = sample.in_column[1] ? x0 + 1 : width - 1;
  sample.row[0] = sample.in_row[0] ? y0 : 0;
  sample.row[1] = sample.in_row[1] ? y0 + 1 : height - 1;
  return sample;
}

__device__ __forceinline__ bool corner_inside(const Sample& sample, int k) {
  return sample.in_row[k / 2] && sample.in_column[k % 2];
}

__device__ __forceinline__ real_t corner_weight(const Sample& sample, int k) {
  return (k / 2 ? sample.fy : 1 - sample.fy) * (k % 2 ? sample.fx : 1 - sample.fx);
}

// (x, y) of a point in units of cells, cell centres at whole numbers.
__device__ __forceinline__ Real2 cell_coordinates(const DeformAttnParams& params, const Task& task, int point) {
  const int level = point / DSCT_P;
  const PointPair pair = ((const PointPair*)params.points)[task.item * kPoints + point];
  const real_t x = point_to_real(pair.x), y = point_to_real(pair.y);
  const real_t width = (real_t)params.width[level], height = (real_t)params.height[level], half = (real_t)0.5;
#if DSCT_REFERENCE == 0
  return Real2{x * width - half, y * height - half};
#else
  const real_t* reference = (const real_t*)params.reference + (task.query * DSCT_L + level) * DSCT_REFERENCE;
#if DSCT_REFERENCE == 2
  return Real2{reference[0] * width + x - half, reference[1] * height + y - half};
#else
  const real_t step = half / DSCT_P;  // offsets are in units of half a box, divided by the number of points
  return Real2{(reference[0] + x * step * reference[2]) * width - half,
               (reference[1] + y * step * reference[3]) * height - half};
#endif
#endif
}

__device__ __forceinline__ Sample locate_point(const DeformAttnParams& params, const Task& task, int point) {
  const int level = point / DSCT_P;
  return locate(cell_coordinates(params, task, point), params.width[level], params.height[level]);
}

// Attention weights of the points that this thread owns: points member(), member() + kGroup, ... With a reference they
// are the softmax of the logits over all L*P points of the group. Every thread of the warp must call this.
__device__ __forceinline__ void load_attention(const DeformAttnParams& params, const Task& task,
                                                      real_t attention[kOwned]) {
  const points_t* weights = (const points_t*)params.weights + task.item * kPoints;
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
    const int point = member() + i * kGroup;
    attention[i] = task.active && point < kPoints ? point_to_real(weights[point]) : 0;
  }
#if DSCT_REFERENCE != 0
  const real_t minus_infinity = -__uint_as_float(0x7f800000u);
  real_t highest = member() < kPoints ? attention[0] : minus_infinity;
  DSCT_UNROLL for (int i = 1; i < kOwned; i++)
    if (member() + i * kGroup < kPoints) highest = larger(highest, attention[i]);
  highest = group_max(highest);
  real_t sum = 0;
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
    attention[i] = exponential(attention[i] - highest);
    if (member() + i * kGroup < kPoints) sum += attention[i];
  }
  sum = group_sum(sum);
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) attention[i] /= sum;
#endif
}

// ---------------------------------------------------------------- shared memory of one group

// Three arrays one after the other, a row for each of the block's G groups, an entry for each point p of its L*P:
//
//             group 0                    group 1                          group G-1
//   weights | p0 p1 p2 ... p(LP-1)  -  | p0 p1 p2 ... p(LP-1)  -  | ... | ...       -  |   Real4
//   offsets | p0 p1 p2 ... p(LP-1)  -  | p0 p1 p2 ... p(LP-1)  -  | ... | ...       -  |   Word4
//   dots    | p0 p1 p2 ... p(LP-1)  -  | p0 p1 p2 ... p(LP-1)  -  | ... | ...       -  |   Real4, backward only
//
// Number k of an entry belongs to corner k. The spare entry (-) lets the groups of a warp meet different banks. What the
// tiled backward kernel keeps lies behind the dots.
static const int kStagedRow = kPoints + 1;

struct Staging {
  Real4* weights;  // attention weight times bilinear weight of each corner
  Word4* offsets;  // element offset of each corner's cell in the image; kNowhere first for a point outside
  Real4* dots;     // backward only: <value at the corner, grad_out>
};

// Bytes per block, as specialisation.rs and plan.rs compute them:
// groups * kStagedRow * (sizeof(Real4) + sizeof(Word4) [+ sizeof(Real4)]).
__device__ __forceinline__ Staging staging_of_group(unsigned char* shared) {
  const int groups = blockDim.x / kGroup, group = threadIdx.x / kGroup;
  Real4* weights = (Real4*)shared;
  Word4* offsets = (Word4*)(weights + groups * kStagedRow);
  Real4* dots = (Real4*)(offsets + groups * kStagedRow);
  return Staging{weights + group * kStagedRow, offsets + group * kStagedRow, dots + group * kStagedRow};
}

__device__ __forceinline__ void stage_point(const DeformAttnParams& params, const Staging& staged, int point,
                                                   const Sample& sample, real_t attention) {
  const int level = point / DSCT_P;
  Real4 weights;
  Word4 offsets;
  DSCT_UNROLL for (int k = 0; k < 4; k++) {
    const unsigned cell = params.start[level] + sample.row[k / 2] * params.width[level] + sample.column[k % 2];
    offsets.at[k] = cell * kRow;
    weights.at[k] = corner_inside(sample, k) ? attention * corner_weight(sample, k) : 0;
  }
  if (!sample.inside) offsets.at[0] = kNowhere;
  staged.weights[point] = weights;
  staged.offsets[point] = offsets;
}

// Locates and stages the points of the group. The caller puts a __syncwarp() behind it.
__device__ __forceinline__ void stage_points(const DeformAttnParams& params, const Task& task,
                                                    const Staging& staged, const real_t attention[kOwned]) {
  if (!task.active) return;
  DSCT_UNROLL for (int i = 0; i < kOwned; i++) {
    const int point = member() + i * kGroup;
    if (point < kPoints) stage_point(params, staged, point, locate_point(params, task, point), attention[i]);
  }
}

// This thread's first channel of cell 0 of the image, in value or in a gradient of the same shape.
template <class T>
__device__ __forceinline__ T* image_base(T* tensor, const DeformAttnParams& params, const Task& task) {
  T* base = tensor + (size_t)task.image * params.cells * kRow + task.head * DSCT_D + first_channel();
  DSCT_KEEP_IN_REGISTERS(base);
  return base;
}
