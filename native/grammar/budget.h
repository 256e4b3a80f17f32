// What a grammar may cost. Work is counted, not timed, so that the same input is refused whatever
// else the machine does; the clock only backs that up while a grammar is compiled. What is known
// already costs nothing: of a compiled grammar's masks and tokens it is therefore their results
// that are counted (see Machine::size), and the work only so that no call goes on for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace octavo::grammar {

struct Limits {
  int64_t max_states = 250'000;    // lexer states and configurations kept at a time
  int64_t max_bytes = 64LL << 20;  // of everything derived, kept at a time
  int64_t max_ms = 5'000;          // a compile; one mask or one token may have a twentieth of it
};

// The caches have reached their limit: they are dropped, and what was under way begins again.
struct SpaceFull {};

// What was under way needs more work than was allowed; what it has found out already stays.
struct OutOfWork {
  enum class Why { kWork, kTime, kCancelled } why = Why::kWork;
};

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  // For what follows: so many units, each some tens of nanoseconds at most.
  void allow(int64_t work);
  // Also ends at this point of time, or when *cancelled; until allow() is called again.
  void allow(int64_t work, std::chrono::steady_clock::time_point deadline,
             const std::atomic<bool>* cancelled);
  void spend(int64_t units) {
    if ((chunk_ -= units) < 0) refill();  // throws OutOfWork where nothing is left
  }
  void take_bytes(int64_t n) {
    if ((bytes_ += n) > limits_.max_bytes) throw SpaceFull();
  }
  void give_bytes(int64_t n) { bytes_ -= n; }
  void take_state() {
    if (++states_ > limits_.max_states) throw SpaceFull();
  }
  int64_t bytes() const { return bytes_; }
  int64_t states() const { return states_; }
  const Limits& limits() const { return limits_; }
  // What allow() gave and is not spent goes on with another budget.
  void continue_from(const Budget& other);

  static constexpr int64_t kWorkPerMs = 20'000;

 private:
  void refill();

  Limits limits_;
  int64_t bytes_ = 0, states_ = 0;
  int64_t chunk_ = 0, work_ = 0;  // chunk_ is what may be spent before the next look at the rest
  bool timed_ = false;
  std::chrono::steady_clock::time_point deadline_;
  const std::atomic<bool>* cancelled_ = nullptr;
};

// Counts nested calls: a grammar nested deeper than the stack is refused, not a crash.
class Nesting {
 public:
  explicit Nesting(int& depth);  // throws ERR_GRAMMAR
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

  static constexpr int kMax = 500;

 private:
  int& depth_;
};

}  // namespace octavo::grammar
