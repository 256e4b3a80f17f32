// From the first op of a step to end_step(): one that throws on the way leaves nothing behind.
#pragma once

#include "ops.h"

namespace octavo {

class StepGuard {
 public:
  explicit StepGuard(const Ops& ops) : ops_(ops) {}
  ~StepGuard() {
    if (!ended_) ops_.drain(ops_.context);
  }
  StepGuard(const StepGuard&) = delete;
  StepGuard& operator=(const StepGuard&) = delete;
  void end_step() {
    ops_.end_step(ops_.context);
    ended_ = true;
  }

 private:
  const Ops& ops_;
  bool ended_ = false;
};

}  // namespace octavo
