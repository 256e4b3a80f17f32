#include "grammar/matcher.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/error.h"

namespace octavo::grammar {

namespace {

constexpr size_t kMaxForced = 1'024;        // bytes
constexpr int64_t kMaxForcedSize = 50'000;  // of all that is looked at for them
constexpr size_t kBytesAtOnce = 4'096;      // of a long text
constexpr int kMaxDrops = 8;                // of caches, on the way to one place

}  // namespace

std::string over_limits(const Limits& limits) {
  return "the grammar needs more than its limits of " + std::to_string(limits.max_states) +
         " states or " + std::to_string(limits.max_bytes) +
         " bytes allow; make it simpler, or raise grammarMaxStates or grammarCacheBytes";
}

std::string over_work(const char* to_do) {
  return std::string("the grammar takes more work ") + to_do +
         " than is allowed; make it simpler, or raise grammarMaxCompileMs";
}

// A long text's list would end in as many nested calls as it has tokens.
Place::~Place() {
  std::shared_ptr<Place> place = std::move(before);
  while (place != nullptr && place.use_count() == 1) {
    std::shared_ptr<Place> next = std::move(place->before);
    place = std::move(next);
  }
}

Matcher::Matcher(std::shared_ptr<Grammar> grammar, std::shared_ptr<Place> place)
    : grammar_(std::move(grammar)), place_(std::move(place)) {
  const std::lock_guard<std::mutex> lock(grammar_->list_mutex_);
  next_ = grammar_->matchers_;
  if (next_ != nullptr) next_->last_ = this;
  grammar_->matchers_ = this;
}

Matcher::~Matcher() {
  const std::lock_guard<std::mutex> lock(grammar_->list_mutex_);
  (last_ != nullptr ? last_->next_ : grammar_->matchers_) = next_;
  if (next_ != nullptr) next_->last_ = last_;
}

std::shared_ptr<Matcher> Matcher::fork() { return std::make_shared<Matcher>(grammar_, place_); }

void Matcher::go(std::shared_ptr<Place> place) {
  const std::lock_guard<std::mutex> lock(grammar_->list_mutex_);
  place_.swap(place);  // what it was goes without the lock
}

void Matcher::fail(const std::string& why) {
  const std::lock_guard<std::mutex> lock(grammar_->list_mutex_);
  place_->failure = why;
}

std::string Matcher::failure() {
  const std::lock_guard<std::mutex> lock(grammar_->list_mutex_);
  return place_->failure;
}

template <class Fn>
bool Matcher::attempt(Effort effort, const Fn& fn) {
  Grammar& g = *grammar_;
  std::unique_lock<std::mutex> lock(g.mutex_, std::defer_lock);
  if (!g.lock(lock, effort) || !failure().empty()) return false;
  std::string why;
  // As things are; with what other matchers need, too; with what this one needs alone, so that it
  // does not depend on them whether there is room.
  for (int tries = g.spoiled_ ? 1 : 0; tries < 3; ++tries) {
    try {
      if (tries > 0) {
        if (effort == Effort::kBrief) return false;
        g.compact(place_.get(), tries == 2);
      }
      g.allow(effort);
      find_out(effort);
      fn(*g.space_->machine);
      g.note_sizes();
      return true;
    } catch (const SpaceFull&) {
      g.spoiled_ = true;
      why = over_limits(g.base_.limits());
      continue;
    } catch (const OutOfWork&) {
      g.note_sizes();
      if (effort == Effort::kBrief) return false;
      why = over_work("to go on");
      if (g.spoiled_) continue;  // that of others, perhaps
    } catch (const Error& e) {
      g.spoiled_ = true;
      why = e.what();
    } catch (const std::bad_alloc&) {
      g.spoiled_ = true;
      why = "memory ran out while a grammar was matched";
    }
    break;
  }
  fail(why);
  return false;
}

// From the nearest place before that this generation knows.
void Matcher::find_out(Effort effort) {
  Grammar& g = *grammar_;
  std::vector<Place*> way;
  Place* at = place_.get();
  for (; at->generation != g.generation_ && at->before; at = at->before.get()) way.push_back(at);
  if (at->generation != g.generation_) {
    at->config = g.space_->machine->start();
    at->generation = g.generation_;
  }
  int drops = 0;
  for (bool again = false; !way.empty();) {
    try {
      follow(*at, *way.back());
    } catch (const SpaceFull&) {
      if (again || drops++ == kMaxDrops || effort == Effort::kBrief) throw;
      again = true;
      g.compact(at, true);
      continue;
    }
    at = way.back();
    way.pop_back();
    again = false;
    if (way.empty() && effort == Effort::kFull) g.allow(effort);  // for what is asked
  }
}

void Matcher::follow(const Place& from, Place& to) const {
  Machine& machine = *grammar_->space_->machine;
  grammar_->space_->budget.spend(4);
  const bool ends =
      !from.ended && grammar_->vocabulary_->is_end(to.token) && machine.complete(from.config);
  to.config = ends || from.ended ? kDead : after_token(machine, from.config, to.token);
  to.ended = ends;
  to.generation = grammar_->generation_;
}

ConfigId Matcher::after_bytes(Machine& machine, ConfigId config, Span<uint8_t> bytes,
                              size_t* taken) const {
  const auto& class_of = grammar_->classes_->of;
  int64_t left = grammar_->max_size();
  size_t n = 0;
  for (; n < bytes.size && config != kDead; ++n) {
    if ((left -= machine.size(config)) < 0) throw OutOfWork{};
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

bool Matcher::take(int32_t token, Effort effort) {
  auto place = std::make_shared<Place>();
  place->token = token;
  const bool known = attempt(effort, [&](Machine&) { follow(*place_, *place); });
  if (known && !place->ended && place->config == kDead) return false;
  if (!known) {
    const bool trusted = effort == Effort::kBrief && !place_->ended && failure().empty() &&
                         token >= 0 && token < grammar_->vocabulary_->num_tokens();
    if (!trusted) return false;
    place->generation = -1;
  }
  place->before = place_;
  place->length = place_->length + 1;
  go(std::move(place));
  return true;
}

bool Matcher::advance(int32_t token) { return take(token, Effort::kFull); }

bool Matcher::try_advance(int32_t token) { return take(token, Effort::kBrief); }

bool Matcher::rollback(int32_t num_tokens) {
  if (num_tokens < 0 || num_tokens > place_->length) return false;
  std::shared_ptr<Place> place = place_;
  for (int32_t i = 0; i < num_tokens; ++i) place = place->before;
  go(std::move(place));
  return true;
}

bool Matcher::ended() {
  attempt(Effort::kFull, [](Machine&) {});
  return place_->ended;
}

bool Matcher::complete() {
  bool out = false;
  attempt(Effort::kFull,
          [&](Machine& machine) { out = place_->ended || machine.complete(place_->config); });
  return out;
}

std::optional<bool> Matcher::try_complete() {
  bool out = false;
  const bool known = attempt(Effort::kBrief, [&](Machine& machine) {
    out = place_->ended || machine.complete(place_->config);
  });
  if (!known && failure().empty()) return std::nullopt;
  return out;
}

size_t Matcher::accepts_bytes(const uint8_t* bytes, size_t size) {
  size_t taken = 0;
  attempt(Effort::kFull, [&](Machine& machine) {
    taken = 0;
    ConfigId config = place_->config;
    while (taken < size && config != kDead) {
      const auto n = static_cast<uint32_t>(std::min(size - taken, kBytesAtOnce));
      size_t more;
      grammar_->allow(Effort::kFull);
      config = after_bytes(machine, config, {bytes + taken, n}, &more);
      taken += more;
    }
  });
  return taken;
}

bool Matcher::fill(Effort effort, uint32_t* words) {
  const Vocabulary& vocabulary = *grammar_->vocabulary_;
  const bool known = attempt(effort, [&](Machine& machine) {
    grammar_->masks_->fill(machine, grammar_->max_size(), place_->config, words);
    if (place_->ended || !machine.complete(place_->config)) return;
    for (const int32_t id : vocabulary.end_tokens()) words[id / 32] |= 1u << (id % 32);
  });
  if (!known) std::memset(words, 0, vocabulary.mask_words() * 4);
  return known;
}

void Matcher::fill_mask(uint32_t* words) { fill(Effort::kFull, words); }

bool Matcher::try_fill_mask(uint32_t* words) {
  return fill(Effort::kBrief, words) || !failure().empty();
}

std::optional<std::vector<uint8_t>> Matcher::forced_bytes(Effort effort) {
  std::vector<uint8_t> out;
  const bool known = attempt(effort, [&](Machine& machine) {
    out.clear();
    ConfigId config = place_->config;
    const ByteClasses& classes = *grammar_->classes_;
    int64_t left = kMaxForcedSize;
    while (config != kDead && out.size() < kMaxForced && !machine.complete(config)) {
      if ((left -= machine.size(config)) < 0) return;
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
  if (known) return out;
  if (failure().empty()) return std::nullopt;
  return std::vector<uint8_t>();
}

std::vector<uint8_t> Matcher::forced_bytes() { return *forced_bytes(Effort::kFull); }

std::optional<std::vector<uint8_t>> Matcher::try_forced_bytes() {
  return forced_bytes(Effort::kBrief);
}

void Matcher::settle() {
  std::vector<uint32_t> mask(grammar_->vocabulary_->mask_words());
  fill_mask(mask.data());
  forced_bytes();
}

}  // namespace octavo::grammar
