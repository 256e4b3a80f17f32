#include "napi/pooled_layout.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace octavo {
namespace {

static_assert(pooled_layout::poolMean == static_cast<int32_t>(Pooling::kMean));
static_assert(pooled_layout::poolCls == static_cast<int32_t>(Pooling::kFirst));
static_assert(pooled_layout::poolLast == static_cast<int32_t>(Pooling::kLast));

void require(bool holds, const char* what) {
  if (!holds) throw Error(kErrInvalidStep, std::string("the texts were refused: ") + what);
}

void require_below(const std::vector<int32_t>& values, int32_t end, const char* what) {
  for (const int32_t value : values) require(value >= 0 && value < end, what);
}

}  // namespace

void parse_pooled(const int32_t* words, int64_t num_words, const EngineLimits& limits,
                  const PooledModel& model, PooledInput* out) {
  using namespace pooled_layout;
  out->clear();
  require(num_words >= headerWords, "the buffer is shorter than its header");
  require(words[headerVersion] == version, "their layout has another version");
  const int64_t texts = words[headerNumTexts], tokens = words[headerNumTokens];
  const int64_t ids = words[headerNumTokenLogits];
  const int32_t has_types = words[headerHasTokenTypes];
  require(texts >= 1 && texts <= limits.max_num_seqs, "there is none, or more than maxNumSeqs");
  require(tokens >= 1 && tokens <= limits.max_num_batched_tokens,
          "more tokens than maxNumBatchedTokens");
  require(has_types == 0 || has_types == 1, "a flag is neither 0 nor 1");
  require(ids >= 0 && ids <= model.vocab_size, "more logits are asked for than there are");
  require(ids == 0 || model.has_head, "logits are asked for of a model without a head");
  const int64_t total = headerWords + textWords * texts + tokens * (1 + has_types) + ids;
  require(words[headerTotalWords] == total && total <= num_words, "their length is wrong");

  const int32_t* const text = words + headerWords;
  int64_t sum = 0;
  for (int64_t i = 0; i < texts; ++i) {
    const int32_t length = text[textLength * texts + i];
    require(length >= 1 && length <= limits.max_model_len,
            "one is empty or longer than maxModelLen");
    sum += length;
    require(sum <= tokens, "the token count is not the sum of their lengths");
    out->query_start.push_back(static_cast<int32_t>(sum));
  }
  require(sum == tokens, "the token count is not the sum of their lengths");
  const auto take = [](const int32_t* from, int64_t n, std::vector<int32_t>* to) {
    to->assign(from, from + n);
    return from + n;
  };
  take(text + textPooling * texts, texts, &out->poolings);
  take(text + textLongRope * texts, texts, &out->long_rope);
  const int32_t* at = take(text + textWords * texts, tokens, &out->token_ids);
  if (has_types == 1) {
    at = take(at, tokens, &out->token_types);
  } else {
    out->token_types.assign(static_cast<size_t>(tokens), 0);
  }
  take(at, ids, &out->token_logits);
  require_below(out->poolings, poolLast + 1, "a pooling is none of those there are");
  require_below(out->long_rope, 2, "a flag is neither 0 nor 1");
  require_below(out->token_ids, model.vocab_size, "a token id is outside the vocabulary");
  require_below(out->token_types, std::max(1, model.num_token_types),
                "a token has a type that the model has not");
  require_below(out->token_logits, model.vocab_size, "a token id is outside the vocabulary");
}

}  // namespace octavo
