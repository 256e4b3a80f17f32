// What a step says of recurrent layers: the slots and the records of its sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "model/limits.h"
#include "model/step.h"

namespace octavo {

// Fills StepInput's lists from the words of each sequence and from the section of records; throws
// ERR_INVALID_STEP. What one sequence writes, nobody else reads or writes.
class StepStates {
 public:
  StepStates(const RecurrentLimits& limits, StepInput* out) : limits_(limits), out_(*out) {}

  // The next sequence, which computes tokens [start, end).
  void sequence(int32_t start, int32_t end, int32_t in, int32_t out);
  // Records that all of these have; they come in one list.
  int64_t num_records() const { return num_records_; }
  void records(const int32_t* ids);

 private:
  int32_t take(const int32_t* id) const;
  void check_slots() const;
  void check_records() const;

  struct Span {
    int32_t start, end;
  };
  const RecurrentLimits& limits_;
  StepInput& out_;
  std::vector<Span> sequences_;
  int64_t num_records_ = 0;
};

}  // namespace octavo
