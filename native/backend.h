// What owns a filled Ops table and everything behind its context.
#pragma once

#include "ops.h"

namespace octavo {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const Ops& ops() const = 0;
  // Host threads that compute in an op, the calling one included.
  virtual int num_threads() const { return 1; }
};

}  // namespace octavo
