#include "grammar/matcher.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/error.h"

namespace octavo::grammar {

namespace {
constexpr size_t kMaxForced = 4'096;  // bytes
}

std::string over_limits(const Limits& limits) {
  return "the grammar needs more than its limits of " + std::to_string(limits.max_states) +
         " states or " + std::to_string(limits.max_bytes) +
         " bytes allow; make it simpler or raise the limits";
}

// A long text's list would end in as many nested calls as it has tokens.
Place::~Place() {
  std::shared_ptr<Place> place = std::move(before);
  while (place != nullptr && place.use_count() == 1) {
    std::shared_ptr<Place> next = std::move(place->before);
    place = std::move(next);
  }
}

Matcher::Matcher(std::shared_ptr<Grammar> grammar, std::shared_ptr<Place> place,
                 std::string failure)
    : grammar_(std::move(grammar)), place_(std::move(place)), failure_(std::move(failure)) {
  next_ = grammar_->matchers_;
  if (next_ != nullptr) next_->last_ = this;
  grammar_->matchers_ = this;
}

Matcher::~Matcher() {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  (last_ != nullptr ? last_->next_ : grammar_->matchers_) = next_;
  if (next_ != nullptr) next_->last_ = last_;
}

std::shared_ptr<Matcher> Matcher::fork() {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  return std::make_shared<Matcher>(grammar_, place_, failure_);
}

template <class Fn>
bool Matcher::attempt(const Fn& fn) {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  for (int tries = 0; failure_.empty(); ++tries) {
    try {
      fn(grammar_->ready());
      return true;
    } catch (const SpaceFull&) {
      if (tries > 0) failure_ = over_limits(grammar_->base_.limits());
    } catch (const Error& e) {
      failure_ = e.what();
    } catch (const std::bad_alloc&) {
      failure_ = "memory ran out while a grammar was matched";
    }
    grammar_->spoiled_ = true;
  }
  return false;
}

ConfigId Matcher::after_bytes(Machine& machine, ConfigId config, Span<uint8_t> bytes,
                              size_t* taken) const {
  const auto& class_of = grammar_->classes_->of;
  size_t n = 0;
  for (; n < bytes.size && config != kDead; ++n) {
    const ConfigId next = machine.step(config, class_of[bytes[n]]);
    if (next == kDead) break;
    config = next;
  }
  *taken = n;
  return n == bytes.size ? config : kDead;
}

ConfigId Matcher::after_token(Machine& machine, ConfigId config, int32_t token) const {
  const Vocabulary& vocabulary = *grammar_->vocabulary_;
  if (token < 0 || token >= vocabulary.num_tokens()) return kDead;
  const Span<uint8_t> bytes = vocabulary.token(token);
  size_t taken;
  const ConfigId by_bytes = bytes.size == 0 ? kDead : after_bytes(machine, config, bytes, &taken);
  return machine.either(by_bytes, machine.step_token(config, token));
}

bool Matcher::advance(int32_t token) {
  bool good = false;
  attempt([&](Machine& machine) {
    if (place_->ended) return;
    const bool ends = grammar_->vocabulary_->is_end(token) && machine.complete(place_->config);
    const ConfigId config = ends ? kDead : after_token(machine, place_->config, token);
    if (!ends && config == kDead) return;
    auto place = std::make_shared<Place>();
    place->before = place_;
    place->token = token;
    place->length = place_->length + 1;
    place->config = config;
    place->generation = grammar_->generation_;
    place->ended = ends;
    place_ = std::move(place);
    good = true;
  });
  return good;
}

bool Matcher::rollback(int32_t num_tokens) {
  bool good = false;
  std::shared_ptr<Place> dropped;  // goes without the lock
  attempt([&](Machine& machine) {
    good = num_tokens >= 0 && num_tokens <= place_->length;
    if (!good) return;
    std::shared_ptr<Place> place = place_;
    for (int32_t i = 0; i < num_tokens; ++i) place = place->before;
    replay(machine, *place);
    dropped = std::exchange(place_, std::move(place));
  });
  return good;
}

// From the nearest place before that this generation knows.
void Matcher::replay(Machine& machine, Place& to) {
  std::vector<Place*> way;
  Place* at = &to;
  for (; at->generation != grammar_->generation_ && at->before; at = at->before.get()) {
    way.push_back(at);
  }
  if (at->generation != grammar_->generation_) {
    at->config = machine.start();
    at->generation = grammar_->generation_;
  }
  for (; !way.empty(); way.pop_back()) {
    Place* next = way.back();
    next->config = next->ended ? kDead : after_token(machine, at->config, next->token);
    next->generation = grammar_->generation_;
    at = next;
  }
}

int32_t Matcher::length() {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  return place_->length;
}

bool Matcher::ended() {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  return place_->ended;
}

bool Matcher::complete() {
  bool out = false;
  attempt([&](Machine& machine) { out = place_->ended || machine.complete(place_->config); });
  return out;
}

size_t Matcher::accepts_bytes(const uint8_t* bytes, size_t size) {
  size_t taken = 0;
  attempt([&](Machine& machine) {
    if (place_->ended) return;
    after_bytes(machine, place_->config, {bytes, static_cast<uint32_t>(size)}, &taken);
  });
  return taken;
}

void Matcher::fill_mask(uint32_t* words) {
  const bool good = attempt([&](Machine& machine) { fill(machine, words); });
  if (!good) std::memset(words, 0, grammar_->vocabulary_->mask_words() * 4);
}

void Matcher::fill(Machine& machine, uint32_t* words) {
  const Vocabulary& vocabulary = *grammar_->vocabulary_;
  if (place_->ended) {
    std::memset(words, 0, vocabulary.mask_words() * 4);
    return;
  }
  grammar_->masks_->fill(machine, grammar_->space_->budget, place_->config, words);
  if (!machine.complete(place_->config)) return;
  for (const int32_t id : vocabulary.end_tokens()) words[id / 32] |= 1u << (id % 32);
}

std::vector<uint8_t> Matcher::forced_bytes() {
  std::vector<uint8_t> out;
  attempt([&](Machine& machine) {
    out.clear();
    ConfigId config = place_->ended ? kDead : place_->config;
    const ByteClasses& classes = *grammar_->classes_;
    while (config != kDead && out.size() < kMaxForced && !machine.complete(config)) {
      bool token = false;
      machine.each_token(config, [&](int32_t) { token = true; });
      if (token) return;
      uint32_t only = kNone;
      for (uint32_t c = 0; c < classes.count; ++c) {
        if (machine.step(config, c) == kDead) continue;
        if (only != kNone || classes.members[c].size() > 1) return;
        only = c;
      }
      if (only == kNone) return;
      out.push_back(classes.members[only][0]);
      config = machine.step(config, only);
    }
  });
  return out;
}

std::vector<int32_t> Matcher::forced_tokens() {
  std::vector<int32_t> out;
  attempt([&](Machine& machine) {
    out.clear();
    if (place_->ended || machine.complete(place_->config)) return;
    if (machine.takes_bytes(place_->config)) return;
    machine.each_token(place_->config, [&](int32_t id) {
      if (out.size() < 2 && (out.empty() || out[0] != id)) out.push_back(id);
    });
    if (out.size() != 1) out.clear();
  });
  return out;
}

std::string Matcher::failure() {
  const std::lock_guard<std::mutex> lock(grammar_->mutex_);
  return failure_;
}

}  // namespace octavo::grammar
