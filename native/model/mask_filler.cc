#include "model/mask_filler.h"

#include <algorithm>
#include <system_error>

namespace octavo {

namespace {

// More would wait for each other at the grammar that their matchers share.
unsigned wanted_threads() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 4 ? 2 : 1;
}

}  // namespace

MaskFiller::~MaskFiller() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void MaskFiller::start(const std::vector<MaskTask>& tasks) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_ = &tasks;
    next_ = 0;
    num_open_ = tasks.size();
  }
  try {
    while (threads_.size() < wanted_threads()) threads_.emplace_back([this] { loop(); });
  } catch (const std::system_error&) {
    // The step's own thread makes them all, in finish().
  }
  wake_.notify_all();
}

void MaskFiller::finish() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (fill_next(lock)) {
  }
  done_.wait(lock, [this] { return num_open_ == 0; });
  tasks_ = nullptr;
}

void MaskFiller::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || (tasks_ != nullptr && next_ < tasks_->size()); });
    if (stopping_) return;
    fill_next(lock);
  }
}

bool MaskFiller::fill_next(std::unique_lock<std::mutex>& lock) {
  if (tasks_ == nullptr || next_ == tasks_->size()) return false;
  const MaskTask& task = (*tasks_)[next_++];
  lock.unlock();
  task.source->fill(task.bits);
  lock.lock();
  if (--num_open_ == 0) done_.notify_all();
  return true;
}

}  // namespace octavo
