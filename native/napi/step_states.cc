#include "napi/step_states.h"

#include <algorithm>

#include "napi/step_check.h"

namespace octavo {

void StepStates::sequence(int32_t start, int32_t end, int32_t in, int32_t out) {
  const int32_t border = border_of(start), last_border = border_of(end);
  require(in >= 0 && in < limits_.num_slots, "a state is out of range");
  require((in == 0) == (border == 0), "the zero state is that of position 0, and of no other");
  const bool named = out >= 1 && out < limits_.num_slots;
  require(last_border > border ? named : out == -1, "a state goes where none should, or nowhere");
  sequences_.push_back({start, end});
  out_.state_in.push_back(in);
  out_.state_out.push_back(out);
  num_records_ += start - border + end - std::max(start, last_border);
}

// Where records are −1 in the lists, a token has none.
void StepStates::records(const int32_t* ids) {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const Span& s = sequences_[i];
    const int32_t num_old = s.start - border_of(s.start);
    const int32_t first_kept = std::max(s.start, border_of(s.end));
    for (int32_t k = 0; k < kChunk; ++k) out_.old_records.push_back(k < num_old ? take(ids++) : -1);
    for (int32_t position = s.start; position < s.end; ++position) {
      out_.new_records.push_back(position < first_kept ? -1 : take(ids++));
    }
  }
  check_slots();
  check_records();
}

int32_t StepStates::take(const int32_t* id) const {
  require(*id >= 0 && *id < limits_.num_records, "a record is out of range");
  return *id;
}

void StepStates::check_slots() const {
  std::vector<int32_t> writer(static_cast<size_t>(limits_.num_slots), -1);
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (out_.state_out[i] < 0) continue;
    int32_t& by = writer[static_cast<size_t>(out_.state_out[i])];
    require(by < 0, "two sequences write one state");
    by = static_cast<int32_t>(i);
  }
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const int32_t by = writer[static_cast<size_t>(out_.state_in[i])];
    require(by < 0 || by == static_cast<int32_t>(i), "a state is written that another reads");
  }
}

void StepStates::check_records() const {
  std::vector<bool> written(static_cast<size_t>(limits_.num_records));
  for (const int32_t id : out_.new_records) {
    if (id < 0) continue;
    require(!written[static_cast<size_t>(id)], "a record is written twice");
    written[static_cast<size_t>(id)] = true;
  }
  for (const int32_t id : out_.old_records) {
    require(id < 0 || !written[static_cast<size_t>(id)], "a record is written that is read");
  }
}

}  // namespace octavo
