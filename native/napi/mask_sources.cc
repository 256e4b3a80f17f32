#include "napi/mask_sources.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "grammar/matcher.h"
#include "napi/grammar_wrap.h"

namespace octavo {
namespace {

class MatcherMask : public MaskSource {
 public:
  explicit MatcherMask(std::shared_ptr<grammar::Matcher> matcher) : matcher_(std::move(matcher)) {}

  void fill(uint32_t* bits) const noexcept override {
    try {
      matcher_->fill_mask(bits);
    } catch (...) {
      std::fill_n(bits, matcher_->grammar()->vocabulary().mask_words(), 0u);
    }
  }

 private:
  const std::shared_ptr<grammar::Matcher> matcher_;
};

std::shared_ptr<grammar::Matcher> matcher_of(const Napi::Value& value) {
  try {
    return MatcherWrap::of(value);
  } catch (const Error& e) {
    throw Error(kErrInvalidStep, std::string("the step was refused: ") + e.what());
  }
}

}  // namespace

std::vector<std::shared_ptr<const MaskSource>> read_mask_sources(const Napi::Value& list,
                                                                 int32_t vocab_size) {
  if (!list.IsArray()) throw Error(kErrInvalidStep, "matchers are an array");
  const auto array = list.As<Napi::Array>();
  std::vector<std::shared_ptr<const MaskSource>> sources;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const std::shared_ptr<grammar::Matcher> matcher = matcher_of(array.Get(i));
    if (matcher->grammar()->vocabulary().num_tokens() != vocab_size) {
      throw Error(kErrInvalidStep, "a matcher has another vocabulary than the model");
    }
    sources.push_back(std::make_shared<MatcherMask>(matcher->fork()));
  }
  return sources;
}

}  // namespace octavo
