// The refusal of a step that is not what it should be.
#pragma once

#include <string>

#include "base/error.h"

namespace octavo {

inline void require(bool holds, const char* what) {
  if (!holds) throw Error(kErrInvalidStep, std::string("the step was refused: ") + what);
}

}  // namespace octavo
