#include "napi/step_layout.h"

#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"

namespace octavo {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(kErrInvalidStep, "the step was refused: " + what);
}

void require(bool holds, const char* what) {
  if (!holds) refuse(what);
}

class Parser {
 public:
  Parser(const StepBuffers& in, const EngineLimits& limits, const StepModel& model, StepInput* out)
      : in_(in), limits_(limits), vocab_(model.vocab_size), window_(model.window), out_(*out) {}

  void run() {
    require(in_.num_words >= layout::headerWords, "the buffer is shorter than its header");
    require(word(layout::headerVersion) == layout::version, "its layout has another version");
    total_ = word(layout::headerTotalWords);
    require(total_ >= layout::headerWords && total_ <= in_.num_words, "its length is wrong");
    const int64_t rows = limits_.max_num_seqs;
    require(in_.num_table_words >= rows * limits_.blocks_per_row, "the table slab is too short");
    require(in_.num_sampler_doubles >= rows * layout::samplerDoubles,
            "the sampler slab is too short");
    sequences();
    tokens();
    swaps();
    copies();
    extras();
    samples();
    prompt_rows();
  }

 private:
  int32_t word(int64_t at) const { return in_.words[at]; }

  // A section of `count` records; checked to lie inside the buffer.
  const int32_t* section(int at_word, int64_t count, int64_t record_words) const {
    const int64_t at = word(at_word);
    require(at >= layout::headerWords && at <= total_ && count * record_words <= total_ - at,
            "a section lies outside the buffer");
    return in_.words + at;
  }

  int64_t count(int at_word, int64_t limit, const char* what) const {
    const int64_t n = word(at_word);
    require(n >= 0 && n <= limit, what);
    return n;
  }

  void sequences() {
    const int64_t n = count(layout::headerNumSeqs, limits_.max_num_seqs, "too many sequences");
    require(n >= 1, "it has no sequence");
    const int32_t* s = section(layout::headerSeqsAt, n, layout::seqWords);
    int64_t widest = 1, sum = 0;
    out_.query_start.push_back(0);
    for (int64_t i = 0; i < n; ++i, s += layout::seqWords) {
      const int32_t query = s[layout::seqQueryLen], context = s[layout::seqContextLen];
      const int32_t row = s[layout::seqRow], blocks = s[layout::seqNumBlocks];
      require(query >= 1 && context >= query, "a query is empty or longer than its context");
      require(context <= limits_.max_model_len, "a context is longer than maxModelLen");
      require(row >= 0 && row < limits_.max_num_seqs, "a slab row is out of range");
      require(blocks >= 0 && blocks <= limits_.blocks_per_row &&
                  int64_t{blocks} * limits_.block_size >= context,
              "a block table does not cover its context");
      sum += query;
      require(sum <= limits_.max_num_batched_tokens, "more tokens than maxNumBatchedTokens");
      out_.query_start.push_back(static_cast<int32_t>(sum));
      out_.context_len.push_back(context);
      widest = blocks > widest ? blocks : widest;
    }
    out_.table_stride = widest;
    out_.block_tables.assign(static_cast<size_t>(n * widest), 0);
    s -= n * layout::seqWords;
    for (int64_t i = 0; i < n; ++i, s += layout::seqWords) {
      const int32_t blocks = s[layout::seqNumBlocks];
      const int32_t* from = in_.tables + int64_t{s[layout::seqRow]} * limits_.blocks_per_row;
      int32_t* to = out_.block_tables.data() + i * widest;
      // Blocks that no layer's window reaches any more may have been replaced by the null block.
      const int64_t first = int64_t{s[layout::seqContextLen]} - s[layout::seqQueryLen];
      const int64_t slid = window_ == 0 ? 0 : (first - window_ + 1) / limits_.block_size;
      for (int32_t b = 0; b < blocks; ++b) {
        require((from[b] >= 1 || (from[b] == 0 && b < slid)) && from[b] < limits_.num_blocks,
                "a block id is out of range");
        to[b] = from[b];
      }
    }
  }

  void tokens() {
    const int64_t n = word(layout::headerNumTokens);
    require(n == out_.query_start.back(), "the token count is not the sum of the queries");
    const int32_t* ids = section(layout::headerTokensAt, n, 1);
    out_.token_ids.assign(ids, ids + n);
    for (int32_t id : out_.token_ids) check_id(id);
  }

  void check_id(int32_t id) const {
    require(id >= 0 && id < vocab_, "a token id is outside the vocabulary");
  }

  void swaps() {
    const int64_t outs =
        count(layout::headerNumSwapOuts, limits_.num_host_blocks, "too many swaps");
    const int64_t ins = count(layout::headerNumSwapIns, limits_.num_host_blocks, "too many swaps");
    const int32_t* s = section(layout::headerSwapsAt, outs + ins, layout::swapWords);
    for (int64_t i = 0; i < outs + ins; ++i, s += layout::swapWords) {
      const BlockSwap swap{s[layout::swapDevice], s[layout::swapHost]};
      require(swap.device >= 1 && swap.device < limits_.num_blocks && swap.host >= 0 &&
                  swap.host < limits_.num_host_blocks,
              "a block swap is out of range");
      (i < outs ? out_.swap_outs : out_.swap_ins).push_back(swap);
    }
  }

  void copies() {
    const int64_t n = count(layout::headerNumCopies, limits_.num_blocks, "too many block copies");
    const int32_t* c = section(layout::headerCopiesAt, n, layout::copyWords);
    std::vector<bool> target(static_cast<size_t>(n > 0 ? limits_.num_blocks : 0));
    for (int64_t i = 0; i < n; ++i, c += layout::copyWords) {
      const int32_t from = c[layout::copySource], to = c[layout::copyTarget];
      require(from >= 1 && from < limits_.num_blocks && to >= 1 && to < limits_.num_blocks,
              "a block copy is out of range");
      require(!target[static_cast<size_t>(to)], "a block is copied to twice");
      target[static_cast<size_t>(to)] = true;
      out_.copies.push_back({from, to});
    }
    for (const BlockCopy& copy : out_.copies) {
      require(!target[static_cast<size_t>(copy.source)], "a source of a copy is also a target");
    }
  }

  void extras() {
    const int64_t at = word(layout::headerExtrasAt);
    require(at >= layout::headerWords && at <= total_, "the extras lie outside the buffer");
    out_.extras.assign(in_.words + at, in_.words + total_);
    extras_at_ = at;
  }

  int64_t token_row(int32_t row) const {
    require(row >= 0 && row < out_.query_start.back(), "a sample names no token row");
    return row;
  }

  int32_t check_num_top(double n) const {
    require(n >= -1 && n <= vocab_, "more logprobs are asked for than there are tokens");
    return static_cast<int32_t>(n);
  }

  void samples() {
    const int64_t n = count(layout::headerNumSamples, limits_.max_num_seqs, "too many samples");
    const int32_t* s = section(layout::headerSamplesAt, n, layout::sampleWords);
    for (int64_t i = 0; i < n; ++i, s += layout::sampleWords) {
      SampleRow row;
      row.logits_row = token_row(s[layout::sampleTokenRow]);
      const int32_t slab = s[layout::sampleSeqRow];
      require(slab >= 0 && slab < limits_.max_num_seqs, "a slab row is out of range");
      require(s[layout::samplePosition] >= 0, "a position is negative");
      row.position = static_cast<uint64_t>(s[layout::samplePosition]);
      sampler(in_.samplers + int64_t{slab} * layout::samplerDoubles, &row);
      if (s[layout::sampleExtra] != -1) lists(s[layout::sampleExtra] - extras_at_, &row);
      out_.rows.push_back(row);
    }
    out_.num_samples = static_cast<int32_t>(n);
  }

  void sampler(const double* p, SampleRow* row) const {
    for (int i = 0; i < layout::samplerDoubles; ++i) {
      require(std::isfinite(p[i]), "a sampling parameter is not finite");
    }
    row->temperature = p[layout::samplerTemperature];
    row->top_p = p[layout::samplerTopP];
    row->min_p = p[layout::samplerMinP];
    row->repetition = p[layout::samplerRepetition];
    row->frequency = p[layout::samplerFrequency];
    row->presence = p[layout::samplerPresence];
    require(row->temperature >= 0 && row->top_p > 0 && row->top_p <= 1 && row->min_p >= 0 &&
                row->min_p <= 1 && row->repetition > 0,
            "a sampling parameter is out of range");
    const double top_k = p[layout::samplerTopK];
    require(top_k >= 0 && top_k <= INT32_MAX, "topK is out of range");
    row->top_k = static_cast<int32_t>(top_k);
    row->num_top = check_num_top(p[layout::samplerNumLogprobs]);
    const double low = p[layout::samplerSeedLow], high = p[layout::samplerSeedHigh];
    require(low >= 0 && low <= UINT32_MAX && high >= 0 && high <= UINT32_MAX,
            "a seed is out of range");
    row->seed = static_cast<uint64_t>(high) << 32 | static_cast<uint64_t>(low);
  }

  // Points the row's lists into our own copy of the extras.
  void lists(int64_t at, SampleRow* row) {
    const int64_t size = static_cast<int64_t>(out_.extras.size());
    require(at >= 0 && at <= size - layout::extraWords, "extras lie outside the buffer");
    const int32_t* e = out_.extras.data() + at;
    const int32_t allowed = e[layout::extraNumAllowed];
    row->num_allowed = allowed;
    row->num_banned = e[layout::extraNumBanned];
    row->num_bias = e[layout::extraNumBias];
    row->prompt_len = e[layout::extraPromptLen];
    row->output_len = e[layout::extraOutputLen];
    require(allowed >= -1 && row->num_banned >= 0 && row->num_bias >= 0 && row->prompt_len >= 0 &&
                row->output_len >= 0,
            "a list has a negative length");
    const int64_t allowed_words = allowed > 0 ? allowed : 0;
    const int64_t words = allowed_words + row->num_banned + 2 * int64_t{row->num_bias} +
                          row->prompt_len + row->output_len;
    require(words <= size - at - layout::extraWords, "a list runs past the buffer");
    const int32_t* p = e + layout::extraWords;
    row->allowed = p;
    row->banned = p += allowed_words;
    row->bias_ids = p += row->num_banned;
    p += row->num_bias;
    row->bias = reinterpret_cast<const float*>(p);
    for (int32_t i = 0; i < row->num_bias; ++i) {
      require(std::isfinite(row->bias[i]), "a bias is not finite");
    }
    row->prompt = p += row->num_bias;
    row->output = p += row->prompt_len;
    for (const int32_t* id = e + layout::extraWords; id < row->bias_ids + row->num_bias; ++id) {
      check_id(*id);
    }
    for (const int32_t* id = row->prompt; id < row->output + row->output_len; ++id) check_id(*id);
  }

  void prompt_rows() {
    const int64_t n =
        count(layout::headerNumPromptRows, limits_.max_num_batched_tokens, "too many prompt rows");
    const int32_t* r = section(layout::headerPromptRowsAt, n, layout::promptRowWords);
    for (int64_t i = 0; i < n; ++i, r += layout::promptRowWords) {
      SampleRow row;
      row.logits_row = token_row(r[layout::promptRowTokenRow]);
      row.target = r[layout::promptRowTarget];
      check_id(row.target);
      row.num_top = check_num_top(r[layout::promptRowNumTop]);
      out_.rows.push_back(row);
    }
  }

  const StepBuffers& in_;
  const EngineLimits& limits_;
  const int32_t vocab_;
  const int32_t window_;
  StepInput& out_;
  int64_t total_ = 0;
  int64_t extras_at_ = 0;
};

}  // namespace

void parse_step(const StepBuffers& in, const EngineLimits& limits, const StepModel& model,
                StepInput* out) {
  out->clear();
  Parser(in, limits, model, out).run();
}

}  // namespace octavo
