// How far the queries of a layer look, back and, in encoders, ahead. Written down once: kernels
// mask by it, plans cut by it, and what a KV group must hold follows from it.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace octavo {

struct Reach {
  int32_t window = 0;    // a query sees itself and window − 1 tokens before it; 0 = all
  bool chunked = false;  // of these only the tokens of its own chunk of so many, from position 0 on
  bool both = false;     // and as many after it as before it, none being cached; never chunked

  // The first position seen by a query whose own is limit − 1.
  OCTAVO_HD int32_t first_seen(int32_t limit) const {
    if (window == 0 || limit <= window) return 0;
    return chunked ? (limit - 1) / window * window : limit - window;
  }
  // One past the last.
  OCTAVO_HD int32_t end_seen(int32_t limit, int32_t context_len) const {
    if (!both) return limit;
    return window == 0 || context_len - limit < window ? context_len : limit + window - 1;
  }
  // Whether tokens that are kept for this suffice for a query that looks as `other` says.
  OCTAVO_HD bool covers(const Reach& other) const {
    if (both != other.both) return false;
    if (window == 0 || other.window == 1) return true;
    if (other.window == 0) return false;
    return chunked ? other.chunked && window % other.window == 0 : other.window <= window;
  }
};

OCTAVO_HD bool operator==(const Reach& a, const Reach& b) {
  return a.window == b.window && a.chunked == b.chunked && a.both == b.both;
}

}  // namespace octavo
