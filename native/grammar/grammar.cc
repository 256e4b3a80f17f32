#include "grammar/grammar.h"

#include <utility>

#include "base/error.h"
#include "grammar/matcher.h"

namespace octavo::grammar {

namespace {

constexpr int64_t kMatchShare = 20;  // of a compile's work one mask or token may take
constexpr int64_t kMaskShare = 8;    // of the bytes masks may take

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
}

Grammar::~Grammar() = default;

std::shared_ptr<Matcher> Grammar::start() {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto place = std::make_shared<Place>();
  place->config = space_->machine->start();
  place->generation = generation_;
  return std::make_shared<Matcher>(shared_from_this(), std::move(place), std::string());
}

int64_t Grammar::memory() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return space_->budget.bytes() + masks_->bytes();
}

int64_t Grammar::num_states() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return space_->budget.states();
}

int64_t Grammar::generation() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return generation_;
}

Machine& Grammar::ready() {
  const int64_t work = base_.limits().max_ms * Budget::kWorkPerMs / kMatchShare;
  if (spoiled_) {
    base_.allow(work);
    compact();
  }
  space_->budget.allow(work);
  return *space_->machine;
}

// A new space with what the matchers need of the old one, whose memory is free again at once. Of
// places further back only the tokens stay; rollback() comes there by them.
void Grammar::compact() {
  auto space = std::make_unique<Space>(program_, *classes_, base_);
  space->begin(*rules_, *classes_, program_);
  std::unordered_map<RowId, RowId> rows;
  std::unordered_map<NodeId, NodeId> nodes;
  std::vector<std::pair<Place*, ConfigId>> moved;
  for (Matcher* m = matchers_; m != nullptr; m = m->next_) {
    Place* place = m->place_.get();
    if (!m->failure_.empty() || place->generation != generation_) continue;
    moved.emplace_back(place, space->machine->adopt(*space_->machine, place->config, rows, nodes));
  }
  if (space->budget.bytes() > base_.limits().max_bytes / 2) throw SpaceFull();
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
