#include "grammar/grammar.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/error.h"
#include "grammar/matcher.h"

namespace octavo::grammar {

namespace {

constexpr int64_t kMatchShare = 20;  // of a compile's work one mask or token may take
constexpr int64_t kMaskShare = 8;    // of the bytes masks may take
// Work for what counts as so much by its results: what takes more ends by the latter.
constexpr int64_t kWorkOfSize = 4;
constexpr int64_t kBriefWork = 2 * Budget::kWorkPerMs;
constexpr auto kBriefWait = std::chrono::microseconds(500);

}  // namespace

std::shared_ptr<Grammar> Grammar::compile(std::shared_ptr<const Vocabulary> vocabulary,
                                          const int32_t* words, size_t num_words,
                                          const Limits& limits,
                                          const std::atomic<bool>* cancelled) {
  try {
    return std::shared_ptr<Grammar>(
        new Grammar(std::move(vocabulary), words, num_words, limits, cancelled));
  } catch (const SpaceFull&) {
    throw Error(kErrGrammar, over_limits(limits));
  } catch (const OutOfWork& e) {
    if (e.why == OutOfWork::Why::kCancelled) {
      throw Error(kErrClosed, "the model was closed while a grammar was compiled");
    }
    if (e.why == OutOfWork::Why::kWork) throw Error(kErrGrammar, over_work("to compile"));
    throw Error(kErrGrammar, "the grammar takes longer than " + std::to_string(limits.max_ms) +
                                 " ms to compile; make it simpler, or raise grammarMaxCompileMs");
  }
}

Grammar::Grammar(std::shared_ptr<const Vocabulary> vocabulary, const int32_t* words,
                 size_t num_words, const Limits& limits, const std::atomic<bool>* cancelled)
    : vocabulary_(std::move(vocabulary)), base_(limits) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limits.max_ms);
  base_.allow(limits.max_ms * Budget::kWorkPerMs, deadline, cancelled);
  program_ = parse_program(words, num_words, vocabulary_->num_tokens(), base_);
  classes_ = std::make_unique<ByteClasses>(program_, base_);
  space_ = std::make_unique<Space>(program_, *classes_, base_);
  rules_ = std::make_unique<Rules>(program_, space_->regexes, space_->budget);
  space_->begin(*rules_, *classes_, program_);
  masks_ = std::make_unique<Masks>(*vocabulary_, *classes_, limits.max_bytes / kMaskShare);
  note_sizes();
}

Grammar::~Grammar() = default;

std::shared_ptr<Matcher> Grammar::start() {
  return std::make_shared<Matcher>(shared_from_this(), std::make_shared<Place>());
}

bool Grammar::lock(std::unique_lock<std::mutex>& lock, Effort effort) const {
  if (effort == Effort::kFull) {
    lock.lock();
    return true;
  }
  const auto end = std::chrono::steady_clock::now() + kBriefWait;
  while (!lock.try_lock()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

int64_t Grammar::max_size() const {
  return base_.limits().max_ms * Budget::kWorkPerMs / kMatchShare;
}

void Grammar::allow(Effort effort) {
  space_->budget.allow(effort == Effort::kBrief ? kBriefWork : kWorkOfSize * max_size());
}

void Grammar::note_sizes() {
  memory_ = space_->budget.bytes() + masks_->bytes();
  num_states_ = space_->budget.states();
}

// The old space's memory is free again at once. Of all other places only the tokens stay: who comes
// there goes the way from the start.
void Grammar::compact(Place* first, bool alone) {
  spoiled_ = true;
  std::vector<std::shared_ptr<Place>> others;
  if (!alone) {
    const std::lock_guard<std::mutex> lock(list_mutex_);
    for (Matcher* m = matchers_; m != nullptr; m = m->next_) {
      if (m->place_->failure.empty()) others.push_back(m->place_);
    }
  }
  base_.allow(base_.limits().max_ms * Budget::kWorkPerMs);
  auto space = std::make_unique<Space>(program_, *classes_, base_);
  space->begin(*rules_, *classes_, program_);
  std::unordered_map<RowId, RowId> rows;
  std::unordered_map<NodeId, NodeId> nodes;
  std::vector<std::pair<Place*, ConfigId>> moved;
  const auto move = [&](Place* place) {
    if (place->generation != generation_) return;
    const Machine& from = *space_->machine;
    moved.emplace_back(place, space->machine->adopt(from, place->config, rows, nodes));
  };
  move(first);
  for (const std::shared_ptr<Place>& place : others) {
    if (space->budget.bytes() > base_.limits().max_bytes / 2) break;
    if (place.get() != first) move(place.get());
  }
  ++generation_;
  for (const auto& [place, config] : moved) {
    place->config = config;
    place->generation = generation_;
  }
  space_ = std::move(space);
  masks_->forget();
  spoiled_ = false;
}

}  // namespace octavo::grammar
