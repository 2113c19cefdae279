// The fibers behind cuda_host.hpp.
#include "cuda_host.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

// Bounds of the section of static shared variables; absent where a kernel has none.
extern "C" __attribute__((weak)) unsigned char __start_cuda_host_shared[], __stop_cuda_host_shared[];

namespace cuda_host {

Index3 thread_index, block_index, block_size, grid_size;
Counts counts;

namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kMaxThreads = 1024, kMaxSharedBytes = 227 << 10;  // of an H100
constexpr size_t kGuardBytes = 256;
constexpr unsigned char kPoison = 0xff;  // a NaN in every floating-point type, an unlikely offset
constexpr unsigned char kGuard = 0xa5;

enum class State { kReady, kAtWarp, kAtBlock, kDone };

struct Request {
  Exchange kind;
  unsigned mask;
  uint64_t value;
  int argument, width;
};

struct Fiber {
  ucontext_t context;
  Index3 index;
  int number;
  State state;
  Request request;
  uint64_t result;
};

struct Runtime {
  std::vector<Fiber> fibers;
  Fiber* running = nullptr;
  ucontext_t scheduler;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
  std::vector<unsigned char> shared;  // the kernel's bytes (aligned like any allocation), then the guard
  std::mt19937 random;
  bool shuffled = false;
  bool greedy = false;  // one warp runs as far as it can before the next starts
  unsigned char* stacks = nullptr;
  std::string error;
};

Runtime& runtime() {
  static Runtime instance;
  return instance;
}

void leave_fiber() {
  Runtime& r = runtime();
  swapcontext(&r.running->context, &r.scheduler);
}

// No exception may leave a fiber: its text goes to the scheduler.
void run_fiber() {
  Runtime& r = runtime();
  try {
    r.body(r.argument);
  } catch (const std::exception& e) {
    r.error = e.what();
  }
  r.running->state = State::kDone;
  leave_fiber();
}

int source_lane(const Request& request, int lane) {
  const int segment = lane / request.width * request.width, end = segment + request.width;
  int source = lane;
  switch (request.kind) {
    case Exchange::kXor: source = lane ^ request.argument; break;
    case Exchange::kIndex: return segment + (request.argument & (request.width - 1));
    case Exchange::kUp: source = lane - request.argument; break;
    case Exchange::kDown: source = lane + request.argument; break;
    default: break;
  }
  return source >= segment && source < end ? source : lane;
}

// The lanes of a warp that wait for the exchange `request`; none while a live lane of its mask is elsewhere.
unsigned waiting_lanes(const Fiber* warp, int lanes, const Request& request) {
  unsigned waiting = 0;
  for (int lane = 0; lane < lanes; lane++) {
    if (!(request.mask >> lane & 1) || warp[lane].state == State::kDone) continue;
    const Request& other = warp[lane].request;
    if (warp[lane].state != State::kAtWarp || other.mask != request.mask || other.kind != request.kind) return 0;
    waiting |= 1u << lane;
  }
  return waiting;
}

void complete(Fiber* warp, int lanes, unsigned waiting) {
  unsigned ballot = 0;
  for (int lane = 0; lane < lanes; lane++)
    if (waiting >> lane & 1 && warp[lane].request.value) ballot |= 1u << lane;
  for (int lane = 0; lane < lanes; lane++) {
    if (!(waiting >> lane & 1)) continue;
    const Request& request = warp[lane].request;
    warp[lane].state = State::kReady;
    if (request.kind == Exchange::kBallot) {
      warp[lane].result = ballot;
    } else if (request.kind != Exchange::kBarrier) {
      const int source = source_lane(request, lane);
      if (!(waiting >> source & 1)) fail("a shuffle reads a lane that does not take part");
      warp[lane].result = warp[source].request.value;
    }
  }
}

void start_block(const LaunchShape& shape) {
  Runtime& r = runtime();
  std::fill(r.shared.begin(), r.shared.end(), kPoison);
  std::fill(r.shared.end() - kGuardBytes, r.shared.end(), kGuard);
  if (__start_cuda_host_shared) std::fill(__start_cuda_host_shared, __stop_cuda_host_shared, kPoison);
  for (size_t i = 0; i < r.fibers.size(); i++) {
    Fiber& fiber = r.fibers[i];
    const unsigned x = shape.block.x, y = shape.block.y, number = static_cast<unsigned>(i);
    fiber.number = static_cast<int>(i);
    fiber.index = {number % x, number / x % y, number / x / y};
    fiber.state = State::kReady;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = r.stacks + i * kStackBytes;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
  }
}

void resume(Fiber& fiber) {
  Runtime& r = runtime();
  r.running = &fiber;
  thread_index = fiber.index;
  swapcontext(&r.scheduler, &fiber.context);
  if (!r.error.empty()) throw std::runtime_error(r.error);
}

// One turn of every fiber that can run, or of those in the same warp as the first; false if none can.
bool run_ready(const std::vector<int>& order) {
  Runtime& r = runtime();
  int warp = -1;
  for (const int i : order) {
    Fiber& fiber = r.fibers[i];
    if (fiber.state != State::kReady || (r.greedy && warp >= 0 && warp != i / kWarp)) continue;
    warp = i / kWarp;
    resume(fiber);
  }
  return warp >= 0;
}

// Warps in a random order that lasts for the block, the lanes of each in a random order of this turn.
void shuffle_greedily(std::vector<int>& order, const std::vector<int>& warp_rank) {
  std::shuffle(order.begin(), order.end(), runtime().random);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return warp_rank[a / kWarp] < warp_rank[b / kWarp]; });
}

void release_block_barrier() {
  Runtime& r = runtime();
  for (const Fiber& fiber : r.fibers)
    if (fiber.state == State::kAtWarp) throw std::runtime_error("deadlock: lanes wait at different barriers");
  for (Fiber& fiber : r.fibers)
    if (fiber.state == State::kAtBlock) fiber.state = State::kReady;
}

void run_block(const LaunchShape& shape) {
  Runtime& r = runtime();
  start_block(shape);
  std::vector<int> order(r.fibers.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<int> warp_rank((order.size() + kWarp - 1) / kWarp);
  std::iota(warp_rank.begin(), warp_rank.end(), 0);
  std::shuffle(warp_rank.begin(), warp_rank.end(), r.random);
  const auto done = [](const Fiber& fiber) { return fiber.state == State::kDone; };
  while (!std::all_of(r.fibers.begin(), r.fibers.end(), done)) {
    if (r.greedy)
      shuffle_greedily(order, warp_rank);
    else if (r.shuffled)
      std::shuffle(order.begin(), order.end(), r.random);
    if (!run_ready(order)) release_block_barrier();
  }
  const auto intact = [](unsigned char byte) { return byte == kGuard; };
  if (!std::all_of(r.shared.end() - kGuardBytes, r.shared.end(), intact))
    throw std::runtime_error("the kernel wrote behind its shared memory");
}

void prepare(const LaunchShape& shape) {
  Runtime& r = runtime();
  const size_t threads = size_t{shape.block.x} * shape.block.y * shape.block.z;
  if (threads == 0 || threads > kMaxThreads) throw std::runtime_error("more threads per block than a GPU has");
  if (shape.shared_bytes > kMaxSharedBytes) throw std::runtime_error("more shared memory per block than a GPU has");
  if (!r.stacks) {
    void* stacks = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) throw std::runtime_error("no memory for the stacks");
    r.stacks = static_cast<unsigned char*>(stacks);
  }
  r.error.clear();
  r.fibers.resize(threads);
  r.shared.assign(shape.shared_bytes + kGuardBytes, kPoison);
  r.shuffled = shape.seed >= 0;
  r.greedy = r.shuffled && shape.seed % 2 == 1;
  r.random.seed(static_cast<unsigned>(std::max(shape.seed, 0)));
  counts = {0, 0};
  block_size = shape.block;
  grid_size = shape.grid;
}

}  // namespace

uint64_t exchange(Exchange kind, unsigned mask, uint64_t value, int argument, int width) {
  Runtime& r = runtime();
  Fiber* self = r.running;
  const int lane = self->number % kWarp;
  counts.exchanges++;
  if (!(mask >> lane & 1)) fail("a lane is not in the mask of its own warp operation");
  self->request = {kind, mask, value, argument, width};
  self->state = State::kAtWarp;
  Fiber* warp = &r.fibers[self->number - lane];
  const int lanes = std::min(kWarp, static_cast<int>(r.fibers.size()) - (self->number - lane));
  // The last lane to arrive computes everybody's result; it goes on at once unless the order is random.
  const unsigned waiting = waiting_lanes(warp, lanes, self->request);
  if (waiting) complete(warp, lanes, waiting);
  if (!waiting || r.shuffled) leave_fiber();
  return self->result;
}

void block_barrier() {
  runtime().running->state = State::kAtBlock;
  leave_fiber();
}

unsigned char* shared_memory() { return runtime().shared.data(); }

void fail(const char* reason) { throw std::runtime_error(reason); }

void launch(void (*body)(const void* argument), const void* argument, const LaunchShape& shape) {
  prepare(shape);
  runtime().body = body;
  runtime().argument = argument;
  for (unsigned z = 0; z < shape.grid.z; z++)
    for (unsigned y = 0; y < shape.grid.y; y++)
      for (unsigned x = 0; x < shape.grid.x; x++) {
        block_index = {x, y, z};
        run_block(shape);
      }
}

}  // namespace cuda_host
