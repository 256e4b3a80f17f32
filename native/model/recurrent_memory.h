// What recurrent layers keep: a pool of states and one of records, laid out as base/recurrent.h
// says. The layers lie one after the other in a slot, and in a record.
#pragma once

#include <cstdint>
#include <vector>

#include "base/recurrent.h"
#include "buffer.h"
#include "model/limits.h"
#include "model/spec.h"

namespace octavo {

class RecurrentMemory {
 public:
  explicit RecurrentMemory(const ModelSpec& spec) {
    for (const LayerSpec& layer : spec.layers) {
      layers_.push_back({layer.recurrent.shape, state_floats_, record_floats_});
      if (!layer.recurrent.any()) continue;
      state_floats_ += layer.recurrent.shape.state_floats();
      record_floats_ += layer.recurrent.shape.record_floats();
    }
  }

  // Takes the memory; before that layer() has no address. Slot 0 becomes zeros.
  void allocate(const Ops& ops, const RecurrentLimits& limits) {
    states_ = take(ops, limits.num_slots, state_bytes(), "the states of recurrent layers");
    records_ = take(ops, limits.num_records, record_bytes(), "the records of recurrent layers");
    host_states_ = Buffer::for_swaps(ops, bytes_of(limits.num_host_slots, state_bytes()));
    host_records_ = Buffer::for_swaps(ops, bytes_of(limits.num_host_records(), record_bytes()));
    if (states_.bytes() == 0) return;
    const std::vector<char> zeros(static_cast<size_t>(state_bytes()));
    ops.write(ops.context, states_.data(), zeros.data(), zeros.size());
  }

  RecurrentView layer(int32_t index) const {
    const Layer& layer = layers_[static_cast<size_t>(index)];
    const auto at = [](const Buffer& pool, int64_t floats) {
      float* const base = static_cast<float*>(pool.data());
      return base == nullptr ? nullptr : base + floats;
    };
    return {layer.shape, at(states_, layer.state_at), at(records_, layer.record_at), state_floats_,
            record_floats_};
  }
  // Slots and records, and what they are swapped to: laid out alike.
  void* states() const { return states_.data(); }
  void* host_states() const { return host_states_.data(); }
  void* records() const { return records_.data(); }
  void* host_records() const { return host_records_.data(); }
  // Of all layers; 0 where none is recurrent.
  int64_t state_bytes() const { return state_floats_ * 4; }
  int64_t record_bytes() const { return record_floats_ * 4; }

 private:
  struct Layer {
    RecurrentShape shape;
    int64_t state_at, record_at;  // in a slot, in a record
  };

  // Where it is more than can be counted, more than can be had.
  static size_t bytes_of(int64_t count, int64_t bytes) {
    const bool countable = bytes == 0 || count <= INT64_MAX / bytes;
    return countable ? static_cast<size_t>(count * bytes) : size_t{1} << 63;
  }
  static Buffer take(const Ops& ops, int64_t count, int64_t bytes, const char* what) {
    return Buffer(ops, bytes_of(count, bytes), what, "maxNumSeqs");
  }

  std::vector<Layer> layers_;
  int64_t state_floats_ = 0, record_floats_ = 0;
  Buffer states_, records_, host_states_, host_records_;
};

}  // namespace octavo
