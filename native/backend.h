// What owns a filled Ops table and everything behind its context.
#pragma once

#include "ops.h"

namespace octavo {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const Ops& ops() const = 0;
};

}  // namespace octavo
