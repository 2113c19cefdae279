// Multi-scale deformable attention on a GPU, part 3: forward.

__device__ __forceinline__ void add_sample(const value_t* base, const Staging& staged, int point,
                                                  real_t sum[kChannels]) {
  const Word4 offsets = staged.offsets[point];
  if (offsets.at[0] == kNowhere) return;
  const Real4 weights = staged.weights[point];
  DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++) {
    Word4 raw[4];  // all loads are under way before the first is used
    DSCT_UNROLL for (int k = 0; k < 4; k++)
      raw[k] = load_chunk(base + offsets.at[k] + chunk * kLanes * kVector);
    DSCT_UNROLL for (int k = 0; k < 4; k++) {
      real_t value[kVector];
      unpack(raw[k], value);
      DSCT_UNROLL for (int c = 0; c < kVector; c++) sum[chunk * kVector + c] += weights.at[k] * value[c];
    }
  }
}

// The output row of one (query, head). Every thread of the warp must call this.
__device__ __forceinline__ void attend(const DeformAttnParams& params, const Task& task,
                                              const Staging& staged) {
  real_t attention[kOwned];
  load_attention(params, task, attention);
  __syncwarp();  // the group's previous task may still be reading what is now overwritten
  stage_points(params, task, staged, attention);
  __syncwarp();

  real_t sum[kChannels];
  DSCT_UNROLL for (int c = 0; c < kChannels; c++) sum[c] = 0;
  if (task.active) {
    const value_t* base = image_base((const value_t*)params.value, params, task);
    DSCT_UNROLL_POINTS for (int point = share_of_points(); point < kPoints; point += DSCT_SPLIT)
      add_sample(base, staged, point, sum);
  }
  DSCT_UNROLL for (int step = kLanes; step < kGroup; step *= 2)
    DSCT_UNROLL for (int c = 0; c < kChannels; c++) sum[c] += __shfl_xor_sync(kFullWarp, sum[c], step);

  if (task.active && share_of_points() == 0) {
    value_t* out = (value_t*)params.out + task.item * DSCT_D + first_channel();
    DSCT_UNROLL for (int chunk = 0; chunk < kChunks; chunk++)
      store_chunk(out + chunk * kLanes * kVector, pack(sum + chunk * kVector));
  }
}

// Any queries.
// Grid (ceil(Q*M / groups per block), B), block up to 256 threads, a multiple of 32. Group g of block x takes pair
// x * groups + g of the Q*M (query, head) pairs, heads fastest. Thread (share 0, lane c) of a group writes channels
// c * kVector ... of the pair's output row. No atomics: the same bits in every run.
extern "C" __global__ void __launch_bounds__(256)
    deform_attn_forward(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  DSCT_SHARED_MEMORY(shared);
  attend(params, pair_task(params), staging_of_group(shared));
}

// Queries that are the cells (Q = S).
// Grid (tiles over all levels, M, B), block up to 256 threads, a multiple of 32: one 8 x 8 tile of queries of one head,
// groups taking its queries in turns. Blocks of one head and image follow each other, so that its plane of the value
// stays in L2. Outputs as above; no atomics: the same bits in every run.
extern "C" __global__ void __launch_bounds__(256)
    deform_attn_forward_tiled(const __grid_constant__ DeformAttnParams params) {
  refuse_wrong_module(params);
  DSCT_SHARED_MEMORY(shared);
  const Tile tile = find_tile(params, blockIdx.x);
  const Staging staged = staging_of_group(shared);
  const int groups = blockDim.x / kGroup;
  for (int first = 0; first < kTileQueries; first += groups)
    attend(params, tile_task(params, tile, first + threadIdx.x / kGroup), staged);
}
