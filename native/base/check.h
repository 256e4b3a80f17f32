// Assertions that stay on in release builds. A failed one is a programmer's mistake; it becomes an
// ERR_INTERNAL on the executor thread instead of taking the Node process down.
#pragma once

#include <string>

#include "base/error.h"

namespace octavo {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition) {
  throw Error(kErrInternal,
              std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition);
}

}  // namespace octavo

#define OCTAVO_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::octavo::check_failed(__FILE__, __LINE__, #condition))
