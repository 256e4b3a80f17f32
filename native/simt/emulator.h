// A CUDA thread block on the host: each CUDA thread is a fiber with a stack of its own, and fibers
// change only at barriers and warp collectives, in an order that the test chooses. So one block can
// be replayed under several legal schedules, and sanitizers see every access of every thread.
// Shared memory is exact in size and starts as NaN. Tests only; never shipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace simt {

struct Dim3 {
  uint32_t x, y, z;
  constexpr Dim3(uint32_t x_ = 1, uint32_t y_ = 1, uint32_t z_ = 1) : x(x_), y(y_), z(z_) {}
  uint64_t count() const { return uint64_t{x} * y * z; }
};

enum class Order { kForward, kReverse, kRandom };

// How blocks are run; set between launches only.
struct Config {
  Order order = Order::kForward;
  uint64_t seed = 1;
  // Late: cp.async poisons its target at once and copies at the wait (finds a missing wait). Early:
  // it copies at once (finds a target that is overwritten too soon).
  bool async_copy_late = true;
  bool streams_late = false;  // runtime_api.h
  int threads = 1;            // blocks of a grid in parallel
};
Config& config();

struct Stats {
  uint64_t launches = 0, switches = 0, mma = 0, ldmatrix = 0, bank_conflicts = 0, async_copies = 0;
  void add(const Stats& other);
};
Stats& stats();  // summed at the end of each launch

constexpr size_t kMaxSharedBytes = 227 << 10;  // of a block, on sm_90
constexpr size_t kStackBytes = 256 << 10;

// One meeting of the lanes of a warp: every lane brings two words and a pointer.
struct Meeting {
  uint32_t mask = 0, arrived = 0, left = 0;
  const char* name = "";
  int line = 0;
  uint64_t in[32][2];
  void* pointer[32];
};

struct AsyncCopy {
  void* target;
  const void* source;
  bool copies;  // else zeros
  size_t bytes;
};

// Panels of 64 columns in shared memory, read by wgmma; warpgroup.h.
struct SharedMatrix {
  const unsigned char* panels;
  int k;         // the first row or column of the sum
  bool columns;  // summed over rows, else over columns
};
struct Product {
  float* d;
  int columns;
  SharedMatrix a;       // the left side; where it has no panels,
  uint32_t quad[4][4];  // registers: the lane's own in [0], then of the quad's four lanes
  SharedMatrix b;
  float (*widen)(uint16_t);
};

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void* sanitizer_state = nullptr;  // ASan's fake stack
  void* tsan_fiber = nullptr;
  Dim3 thread;
  int lane = 0, warp = 0;
  bool done = false, ready = false;
  bool fenced = false;  // __threadfence: its atomics order what is around them
  const char* where = "start";
  const char* file = "";
  int line = 0;
  std::vector<AsyncCopy> open_copies;  // not committed yet
  std::deque<std::vector<AsyncCopy>> copy_groups;
  bool unfenced = false;  // has waited for copies that wgmma does not see yet
  std::vector<Product> open_products;
  std::deque<std::vector<Product>> product_groups;
  std::vector<std::pair<float*, std::vector<float>>> accumulators;  // of products under way
};

struct Barrier {
  int arrived = 0, line = 0;
  unsigned phase = 0;
  std::vector<int> waiting;
  char happens_before[2] = {0, 0};  // addresses for TSan
};

// Runs the blocks of one host thread. current() is the engine whose fiber is running.
class Engine {
 public:
  Engine(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& body,
         uint64_t seed);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  static Engine& current();
  void run_block(uint64_t index);

  Fiber& me() { return *running_; }
  void barrier(const char* file, int line);
  void warp_barrier(uint32_t mask, const char* file, int line);
  // All lanes of `mask` must come to the same call; `finish` runs once, with the last one.
  using Finish = void (*)(Meeting&, Engine&);
  Meeting& meet(const char* name, uint32_t mask, uint64_t word0, uint64_t word1, void* pointer,
                Finish finish, const char* file, int line);
  void leave(Meeting& meeting);
  void wait_async(int groups_left);
  [[noreturn]] void fail(const char* what);

  const Dim3 grid, block;
  Dim3 block_index;
  unsigned char* shared = nullptr;
  Stats counted;

 private:
  static void fiber_main();
  void prepare_fibers();
  int next_ready();
  void switch_to(int fiber);
  void switch_back(bool dying);
  void block_here(const char* why, const char* file, int line);
  void wake(int fiber);
  void release(Barrier& barrier);
  void on_exit();

  const size_t shared_bytes_;
  const std::function<void()>& body_;
  std::mt19937_64 random_;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  size_t ready_head_ = 0;
  std::vector<std::vector<std::unique_ptr<Meeting>>> meetings_;  // by warp
  std::vector<std::unique_ptr<Meeting>> spare_;
  Barrier barrier_;
  std::vector<std::vector<char>> warp_phases_;  // by warp: two TSan addresses and the phase
  Fiber* running_ = nullptr;
  int running_index_ = -1, alive_ = 0;
  void* main_stack_pointer_ = nullptr;
  void* main_fiber_ = nullptr;
  void* main_state_ = nullptr;
  const void* main_stack_ = nullptr;
  size_t main_stack_bytes_ = 0;
  char started_ = 0, ended_ = 0;  // addresses for TSan
};

// Runs a whole grid; returns when it is done.
void run_grid(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& body);

// The emulator's own accesses inside a kernel are none of TSan's business.
struct Uninstrumented {
  Uninstrumented();
  ~Uninstrumented();
};

}  // namespace simt
