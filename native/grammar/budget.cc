#include "grammar/budget.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace octavo::grammar {

namespace {
constexpr int64_t kChunk = 1 << 14;
}

void Budget::allow(int64_t work) {
  work_ = work;
  chunk_ = 0;
  timed_ = false;
  cancelled_ = nullptr;
}

void Budget::allow(int64_t work, std::chrono::steady_clock::time_point deadline,
                   const std::atomic<bool>* cancelled) {
  allow(work);
  timed_ = true;
  deadline_ = deadline;
  cancelled_ = cancelled;
}

void Budget::continue_from(const Budget& other) {
  work_ = other.work_;
  chunk_ = other.chunk_;
  timed_ = other.timed_;
  deadline_ = other.deadline_;
  cancelled_ = other.cancelled_;
}

void Budget::refill() {
  if (cancelled_ != nullptr && cancelled_->load()) throw OutOfWork{OutOfWork::Why::kCancelled};
  if (work_ + chunk_ < 0) throw OutOfWork{};
  if (timed_ && std::chrono::steady_clock::now() > deadline_) {
    throw OutOfWork{OutOfWork::Why::kTime};
  }
  const int64_t next = std::min(kChunk, work_ + chunk_);
  work_ += chunk_ - next;
  chunk_ = next;
}

Nesting::Nesting(int& depth) : depth_(depth) {
  if (depth_ >= kMax) {
    throw Error(kErrGrammar, "the grammar nests deeper than " + std::to_string(kMax) + " levels");
  }
  ++depth_;
}

}  // namespace octavo::grammar
