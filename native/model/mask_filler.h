// Masks that are made while a step computes: by a few threads of their own, and at the end by the
// step's own thread, too. The threads start with the first mask ever made.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "model/step.h"

namespace octavo {

class MaskFiller {
 public:
  MaskFiller() = default;
  ~MaskFiller();  // joins
  MaskFiller(const MaskFiller&) = delete;
  MaskFiller& operator=(const MaskFiller&) = delete;

  // The tasks of one step; whoever leaves it, however, leaves no thread behind that writes.
  class Run {
   public:
    Run(MaskFiller& filler, const std::vector<MaskTask>& tasks) : filler_(filler) {
      if (!tasks.empty()) filler_.start(tasks);
    }
    ~Run() { finish(); }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    void finish() { filler_.finish(); }

   private:
    MaskFiller& filler_;
  };

 private:
  void start(const std::vector<MaskTask>& tasks);
  void finish();  // all masks are there
  void loop();
  bool fill_next(std::unique_lock<std::mutex>& lock);  // false: none is left to begin

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::vector<MaskTask>* tasks_ = nullptr;
  size_t next_ = 0;      // of the tasks
  size_t num_open_ = 0;  // that have not ended
  bool stopping_ = false;
};

}  // namespace octavo
