#include "simt/emulator.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "simt/switch_stack.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif

// What runs on a fiber's behalf while TSan changes its mind about who is running must itself not
// be instrumented.
#define SIMT_RAW __attribute__((no_sanitize_thread, noinline))

namespace simt {

namespace {

thread_local Engine* g_engine = nullptr;

#if defined(__SANITIZE_THREAD__)
// Happens-before exists only where CUDA has it: barriers and __syncwarp, not shuffles.
void hb_release(void* p) { __tsan_release(p); }
void hb_acquire(void* p) { __tsan_acquire(p); }
#else
void hb_release(void*) {}
void hb_acquire(void*) {}
#endif

__attribute__((noinline)) void perform(const AsyncCopy& copy) {
  if (copy.copies) {
    std::memcpy(copy.target, copy.source, copy.bytes);
  } else {
    std::memset(copy.target, 0, copy.bytes);
  }
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
Uninstrumented::Uninstrumented() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Uninstrumented::~Uninstrumented() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
Uninstrumented::Uninstrumented() {}
Uninstrumented::~Uninstrumented() {}
#endif

Config& config() {
  static Config c;
  return c;
}

Stats& stats() {
  static Stats s;
  return s;
}

void Stats::add(const Stats& o) {
  launches += o.launches;
  switches += o.switches;
  mma += o.mma;
  ldmatrix += o.ldmatrix;
  bank_conflicts += o.bank_conflicts;
  async_copies += o.async_copies;
}

// Stacks with TSan's idea of who runs on them, kept from launch to launch: to make one is dear.
struct Stack {
  char* memory;
  void* tsan_fiber;
};

std::mutex& stacks_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::vector<Stack>& spare_stacks() {
  static std::vector<Stack> stacks;
  return stacks;
}

Stack take_stack() {
  {
    std::lock_guard<std::mutex> lock(stacks_mutex());
    auto& spare = spare_stacks();
    if (!spare.empty()) {
      const Stack stack = spare.back();
      spare.pop_back();
      return stack;
    }
  }
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("simt: no memory for the stack of a CUDA thread");
    std::abort();
  }
  void* fiber = nullptr;
#if defined(__SANITIZE_THREAD__)
  fiber = __tsan_create_fiber(0);
#endif
  return {static_cast<char*>(memory), fiber};
}

Engine::Engine(Dim3 grid_, Dim3 block_, size_t shared_bytes, const std::function<void()>& body,
               uint64_t seed)
    : grid(grid_), block(block_), shared_bytes_(shared_bytes), body_(body), random_(seed) {
  fibers_.resize(block.count());
  for (Fiber& f : fibers_) {
    const Stack stack = take_stack();
    f.stack = stack.memory;
    f.tsan_fiber = stack.tsan_fiber;
  }
}

Engine::~Engine() {
  std::lock_guard<std::mutex> lock(stacks_mutex());
  for (Fiber& f : fibers_) spare_stacks().push_back({f.stack, f.tsan_fiber});
}

Engine& Engine::current() { return *g_engine; }

void Engine::fail(const char* what) {
  std::fprintf(stderr, "SIMT error in block (%u,%u,%u): %s\n", block_index.x, block_index.y,
               block_index.z, what);
  int shown = 0;
  for (const Fiber& f : fibers_) {
    if (f.done || ++shown > 40) continue;
    std::fprintf(stderr, "  thread (%u,%u,%u) warp %d lane %d: %s at %s:%d\n", f.thread.x,
                 f.thread.y, f.thread.z, f.warp, f.lane, f.where, f.file, f.line);
  }
  std::abort();
}

SIMT_RAW void Engine::switch_to(int index) {
  running_index_ = index;
  running_ = fibers_.data() + index;
  ++counted.switches;
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(running_->tsan_fiber, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&main_state_, running_->stack, kStackBytes);
#endif
  switch_stack(&main_stack_pointer_, running_->stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(main_state_, nullptr, nullptr);
#endif
}

SIMT_RAW void Engine::switch_back(bool dying) {
  Fiber& f = *running_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(dying ? nullptr : &f.sanitizer_state, main_stack_,
                                 main_stack_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(main_fiber_, 1);
#endif
  switch_stack(&f.stack_pointer, main_stack_pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f.sanitizer_state, &main_stack_, &main_stack_bytes_);
#endif
  static_cast<void>(dying);
}

SIMT_RAW void Engine::block_here(const char* why, const char* file, int line) {
  Fiber& f = *running_;
  f.where = why;
  f.file = file;
  f.line = line;
  f.ready = false;
  switch_back(false);
}

void Engine::wake(int index) {
  if (fibers_[index].ready) return;
  fibers_[index].ready = true;
  ready_.push_back(index);
}

void Engine::release(Barrier& b) {
  b.arrived = 0;
  ++b.phase;
  for (int i : b.waiting) wake(i);
  b.waiting.clear();
}

// A thread that has left counts as arrived at every later barrier, as on the hardware.
void Engine::on_exit() {
  Uninstrumented scope;
  Fiber& f = me();
  f.done = true;
  f.where = "exited";
  --alive_;
  f.open_copies.clear();  // outstanding copies at exit are legal
  f.copy_groups.clear();
  f.open_products.clear();
  f.product_groups.clear();
  f.accumulators.clear();
  f.unfenced = false;
  if (barrier_.arrived > 0 && barrier_.arrived >= alive_) release(barrier_);
}

// Before the fiber has acquired anything, so not for TSan's eyes.
SIMT_RAW Engine* engine_of_this_thread() { return g_engine; }

void Engine::fiber_main() {
  Engine& e = *engine_of_this_thread();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &e.main_stack_, &e.main_stack_bytes_);
#endif
  hb_acquire(&e.started_);
  e.body_();
  e.on_exit();
  hb_release(&e.ended_);
  e.switch_back(true);
  __builtin_unreachable();
}

void Engine::prepare_fibers() {
  const int n = static_cast<int>(block.count());
  const int warps = (n + 31) / 32;
  meetings_.clear();
  meetings_.resize(warps);
  warp_phases_.assign(warps, std::vector<char>(3, 0));
  barrier_ = Barrier();
  ready_.clear();
  ready_head_ = 0;
  alive_ = n;
  for (int i = 0; i < n; i++) {
    Fiber& f = fibers_[i];
    const uint32_t u = static_cast<uint32_t>(i);
    f.thread = Dim3(u % block.x, u / block.x % block.y, u / (block.x * block.y));
    f.lane = i % 32;
    f.warp = i / 32;
    f.done = false;
    f.ready = true;
    f.fenced = false;
    f.where = "start";
    f.stack_pointer = initial_stack(f.stack + kStackBytes - 64, &Engine::fiber_main);
    ready_.push_back(i);
  }
}

int Engine::next_ready() {
  if (ready_head_ == ready_.size()) {
    fail("deadlock: no thread can run (a barrier or collective that not all threads reach?)");
  }
  const Order order = config().order;
  int index;
  if (order == Order::kForward) {
    index = ready_[ready_head_++];
  } else {
    const size_t at = order == Order::kReverse ? ready_.size() - 1 : random_() % ready_.size();
    std::swap(ready_[at], ready_.back());
    index = ready_.back();
    ready_.pop_back();
  }
  if (ready_head_ == ready_.size()) {
    ready_.clear();
    ready_head_ = 0;
  }
  return index;
}

void Engine::run_block(uint64_t index) {
  g_engine = this;
  block_index =
      Dim3(static_cast<uint32_t>(index % grid.x), static_cast<uint32_t>(index / grid.x % grid.y),
           static_cast<uint32_t>(index / (uint64_t{grid.x} * grid.y)));
  void* memory = nullptr;  // exactly as large as asked, so that ASan sees one byte too far
  if (posix_memalign(&memory, 128, std::max<size_t>(shared_bytes_, 1)) != 0) std::abort();
  shared = static_cast<unsigned char*>(memory);
  std::memset(shared, 0xFF, shared_bytes_);  // NaN
  prepare_fibers();
#if defined(__SANITIZE_THREAD__)
  main_fiber_ = __tsan_get_current_fiber();
#endif
  hb_release(&started_);
  while (alive_ > 0) switch_to(next_ready());
  hb_acquire(&ended_);
  std::free(memory);
  g_engine = nullptr;
}

void Engine::barrier(const char* file, int line) {
  Barrier& b = barrier_;
  char* const edge = &b.happens_before[b.phase & 1];
  hb_release(edge);
  {
    Uninstrumented scope;
    if (b.arrived > 0 && b.line != line) {
      me().where = "__syncthreads", me().file = file, me().line = line;
      fail("__syncthreads reached at different call sites");
    }
    b.line = line;
    if (++b.arrived >= alive_) {
      release(b);
    } else {
      b.waiting.push_back(running_index_);
      block_here("__syncthreads", file, line);
    }
  }
  hb_acquire(edge);
}

Meeting& Engine::meet(const char* name, uint32_t mask, uint64_t word0, uint64_t word1,
                      void* pointer, Finish finish, const char* file, int line) {
  Fiber& f = me();
  const auto stop = [&](const char* what) {
    f.where = name, f.file = file, f.line = line;
    fail(what);
  };
  if ((mask >> f.lane & 1) == 0) stop("the calling lane is not in the member mask");
  auto& list = meetings_[f.warp];
  Meeting* m = nullptr;
  for (auto& open : list) {
    if (open->arrived == open->mask || (open->mask & mask) == 0) continue;
    const bool same = open->mask == mask && open->line == line &&
                      std::strcmp(open->name, name) == 0 && (open->arrived >> f.lane & 1) == 0;
    if (!same) stop("a warp collective is reached with different masks or at different call sites");
    m = open.get();
    break;
  }
  if (m == nullptr) {
    if (spare_.empty()) spare_.push_back(std::make_unique<Meeting>());
    list.push_back(std::move(spare_.back()));
    spare_.pop_back();
    m = list.back().get();
    m->mask = mask;
    m->arrived = m->left = 0;
    m->name = name;
    m->line = line;
  }
  m->in[f.lane][0] = word0;
  m->in[f.lane][1] = word1;
  m->pointer[f.lane] = pointer;
  m->arrived |= 1u << f.lane;
  if (m->arrived != mask) {
    block_here(name, file, line);
    return *m;
  }
  if (finish != nullptr) finish(*m, *this);
  for (int lane = 0; lane < 32; lane++) {
    if ((mask >> lane & 1) != 0 && lane != f.lane) wake(f.warp * 32 + lane);
  }
  return *m;
}

void Engine::leave(Meeting& m) {
  m.left |= 1u << me().lane;
  if (m.left != m.mask) return;
  auto& list = meetings_[me().warp];
  for (auto it = list.begin(); it != list.end(); ++it) {
    if (it->get() != &m) continue;
    spare_.push_back(std::move(*it));
    list.erase(it);
    return;
  }
}

void Engine::warp_barrier(uint32_t mask, const char* file, int line) {
  std::vector<char>& w = warp_phases_[me().warp];
  char* const edge = &w[w[2] & 1];
  hb_release(edge);
  {
    Uninstrumented scope;
    const auto advance = [](Meeting&, Engine& e) { ++e.warp_phases_[e.me().warp][2]; };
    leave(meet("__syncwarp", mask, 0, 0, nullptr, advance, file, line));
  }
  hb_acquire(edge);
}

void Engine::wait_async(int groups_left) {
  std::vector<AsyncCopy> due;
  {
    Uninstrumented scope;
    me().unfenced = true;
    auto& groups = me().copy_groups;
    while (static_cast<int>(groups.size()) > groups_left) {
      due.insert(due.end(), groups.front().begin(), groups.front().end());
      groups.pop_front();
    }
  }
  for (const AsyncCopy& copy : due) perform(copy);
}

void run_grid(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  const uint64_t blocks = grid.count(), threads = block.count();
  const bool legal = blocks > 0 && grid.x <= INT32_MAX && grid.y <= 65535 && grid.z <= 65535 &&
                     threads > 0 && threads <= 1024 && block.z <= 64 &&
                     shared_bytes <= kMaxSharedBytes;
  if (!legal) {
    std::fprintf(stderr, "SIMT error: illegal launch: grid %u,%u,%u block %u,%u,%u shared %zu\n",
                 grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
    std::abort();
  }
  const int workers = static_cast<int>(
      std::min<uint64_t>(static_cast<uint64_t>(std::max(1, config().threads)), blocks));
  std::mutex mutex;
  const auto work = [&](int worker) {
    Engine engine(grid, block, shared_bytes, body, config().seed + static_cast<uint64_t>(worker));
    for (uint64_t i = worker; i < blocks; i += workers) engine.run_block(i);
    std::lock_guard<std::mutex> lock(mutex);
    stats().add(engine.counted);
  };
  ++stats().launches;
  if (workers == 1) return work(0);
  std::vector<std::thread> pool;
  for (int i = 0; i < workers; i++) pool.emplace_back(work, i);
  for (std::thread& t : pool) t.join();
}

}  // namespace simt
