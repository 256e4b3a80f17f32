#include "napi/step_layout.h"

#include <algorithm>
#include <cmath>

#include "napi/step_check.h"
#include "napi/step_states.h"

namespace octavo {
namespace {

class Parser {
 public:
  Parser(const StepBuffers& in, const EngineLimits& limits, int32_t vocab_size,
         std::vector<SlabRow>* rows, StepInput* out)
      : in_(in), limits_(limits), vocab_(vocab_size), rows_(*rows), out_(*out) {}

  void run() {
    require(in_.num_words >= layout::headerWords, "the buffer is shorter than its header");
    require(word(layout::headerVersion) == layout::version, "its layout has another version");
    total_ = word(layout::headerTotalWords);
    require(total_ >= layout::headerWords && total_ <= in_.num_words, "its length is wrong");
    require(word(layout::headerNumGroups) == num_groups(), "it has not the model's KV groups");
    require(word(layout::headerHasStates) == (limits_.recurrent.any() ? 1 : 0),
            "it has states where the model has none, or none where it has");
    const int64_t rows = limits_.max_num_seqs;
    require(in_.num_table_words >= rows * limits_.table_row(), "the table slab is too short");
    require(in_.num_sampler_doubles >= rows * layout::samplerDoubles,
            "the sampler slab is too short");
    const int64_t mask_words = rows * mask_row_words();
    require(in_.masks == nullptr || in_.num_mask_words >= mask_words, "the mask slab is too short");
    sequences();
    tokens();
    swaps();
    copies();
    extras();
    samples();
    prompt_rows();
    take_news();  // nothing is refused any more
  }

 private:
  int32_t word(int64_t at) const { return in_.words[at]; }
  int64_t num_groups() const { return static_cast<int64_t>(limits_.groups.size()); }

  // A section of `count` records (where they lie in columns, word k of record i is at k · count +
  // i); checked to lie inside the buffer.
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
    const int64_t states_at = layout::seqNumBlocks + num_groups();
    const bool has_states = limits_.recurrent.any();
    const int32_t* s =
        section(layout::headerSeqsAt, n, states_at + (has_states ? layout::stateWords : 0));
    StepStates states(limits_.recurrent, &out_);
    int64_t sum = 0;
    out_.query_start.push_back(0);
    out_.tables.resize(limits_.groups.size());
    for (StepTables& tables : out_.tables) tables.start.push_back(0);
    for (int64_t i = 0; i < n; ++i, ++s) {
      const int32_t query = s[layout::seqQueryLen * n], context = s[layout::seqContextLen * n];
      const int32_t row = s[layout::seqRow * n];
      require(query >= 1 && context >= query, "a query is empty or longer than its context");
      require(context <= limits_.max_model_len, "a context is longer than maxModelLen");
      require(row >= 0 && row < limits_.max_num_seqs, "a slab row is out of range");
      sum += query;
      require(sum <= limits_.max_num_batched_tokens, "more tokens than maxNumBatchedTokens");
      out_.query_start.push_back(static_cast<int32_t>(sum));
      out_.context_len.push_back(context);
      const int32_t* table = in_.tables + int64_t{row} * limits_.table_row();
      for (int64_t g = 0; g < num_groups(); ++g) {
        const KvGroupSpec& group = limits_.groups[static_cast<size_t>(g)];
        take_table(group, table, s[(layout::seqNumBlocks + g) * n], query,
                   &out_.tables[static_cast<size_t>(g)]);
        table += group.blocks_per_row;
      }
      long_rope(s[layout::seqLongRope * n], n);
      if (!has_states) continue;
      states.sequence(context - query, context, s[(states_at + layout::stateIn) * n],
                      s[(states_at + layout::stateOut) * n]);
    }
    if (has_states) states.records(section(layout::headerRecordsAt, states.num_records(), 1));
  }

  // One flag a sequence, or none where none is set.
  void long_rope(int32_t flag, int64_t num_seqs) {
    require(flag == 0 || flag == 1, "a flag is neither 0 nor 1");
    if (flag == 1) {
      out_.long_rope.resize(static_cast<size_t>(num_seqs));
      out_.long_rope[out_.context_len.size() - 1] = 1;
    }
  }

  // Of the last sequence, what its context takes. Blocks that the group does not reach any
  // more, seen from the first of `query`, may have been replaced by the null block.
  void take_table(const KvGroupSpec& group, const int32_t* from, int32_t blocks, int32_t query,
                  StepTables* to) const {
    const int32_t context = out_.context_len.back();
    const int64_t used = (int64_t{context} + group.block_size - 1) / group.block_size;
    require(blocks >= used && blocks <= group.blocks_per_row,
            "a block table does not cover its context");
    const int64_t slid = group.reach.first_seen(context - query + 1) / group.block_size;
    for (int64_t b = 0; b < used; ++b) {
      require((from[b] >= 1 || (from[b] == 0 && b < slid)) && from[b] < limits_.num_blocks,
              "a block id is out of range");
    }
    to->block_ids.insert(to->block_ids.end(), from, from + used);
    to->start.push_back(static_cast<int32_t>(to->block_ids.size()));
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

  // What is swapped between a pool, its ids first … end − 1, and the host's memory.
  struct SwapKind {
    int outs_word, ins_word;
    int32_t first, end, num_host;
    const char* wrong;
    StepSwaps* to;
    int64_t num_outs = 0, num_ins = 0;
  };

  void swaps() {
    const RecurrentLimits& r = limits_.recurrent;
    // Block 0 and the zero state stay where they are.
    SwapKind kinds[] = {
        {layout::headerNumSwapOuts, layout::headerNumSwapIns, 1, limits_.num_blocks,
         limits_.num_host_blocks, "a block swap is out of range", &out_.block_swaps},
        {layout::headerNumStateOuts, layout::headerNumStateIns, 1, r.num_slots, r.num_host_slots,
         "a swap of a state is out of range", &out_.state_swaps},
        {layout::headerNumRecordOuts, layout::headerNumRecordIns, 0, r.num_records,
         r.num_host_records(), "a swap of a record is out of range", &out_.record_swaps}};
    int64_t sum = 0;
    for (SwapKind& kind : kinds) {
      kind.num_outs = count(kind.outs_word, kind.num_host, "too many swaps");
      kind.num_ins = count(kind.ins_word, kind.num_host, "too many swaps");
      sum += kind.num_outs + kind.num_ins;
    }
    const int32_t* s = section(layout::headerSwapsAt, sum, layout::swapWords);
    for (const SwapKind& kind : kinds) {
      for (int64_t i = 0; i < kind.num_outs + kind.num_ins; ++i, s += layout::swapWords) {
        const BlockSwap swap{s[layout::swapDevice], s[layout::swapHost]};
        require(swap.device >= kind.first && swap.device < kind.end && swap.host >= 0 &&
                    swap.host < kind.num_host,
                kind.wrong);
        (i < kind.num_outs ? kind.to->outs : kind.to->ins).push_back(swap);
      }
    }
  }

  void copies() {
    const int64_t n =
        count(layout::headerNumCopies, limits_.max_num_copies(), "too many block copies");
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
    for (SlabRow& row : rows_) row.sampled = false;
    for (int64_t i = 0; i < n; ++i, ++s) {
      SampleRow row;
      row.logits_row = token_row(s[layout::sampleTokenRow * n]);
      const int32_t slab = s[layout::sampleSeqRow * n];
      require(slab >= 0 && slab < limits_.max_num_seqs, "a slab row is out of range");
      require(s[layout::samplePosition * n] >= 0, "a position is negative");
      row.position = static_cast<uint64_t>(s[layout::samplePosition * n]);
      sampler(in_.samplers + int64_t{slab} * layout::samplerDoubles, &row);
      row.counted = slab;
      SlabRow& kept = rows_[static_cast<size_t>(slab)];
      require(!kept.sampled, "a row has two samples");
      kept.sampled = true;
      kept.news_at = -1;
      bool begins = false;
      if (s[layout::sampleExtra * n] != layout::nothingNew) {
        begins = check_news(s[layout::sampleExtra * n] - extras_at_, &kept, &row);
      } else {
        require(kept.begun, "a row is drawn from that has not begun");
        require(kept.penalised || !has_penalties(row), "a row has got penalties since it began");
      }
      mask(s[layout::sampleMask * n], slab, begins || !kept.masked, &row);
      out_.rows.push_back(row);
    }
    require(next_matcher_ == in_.matchers.size(), "there are more matchers than samples for them");
    own_masks();
    out_.num_samples = static_cast<int32_t>(n);
  }

  int64_t mask_row_words() const { return (int64_t{vocab_} + 31) / 32; }

  // The bits of a new mask still lie in the slab.
  void mask(int32_t kind, int32_t slab, bool has_none, SampleRow* row) {
    require(kind >= layout::noMask && kind <= layout::matcherMaskAndLists,
            "a mask is neither new nor as before");
    if (kind == layout::noMask) return;
    row->mask_row = slab;
    if (kind >= layout::matcherMask) {
      require(next_matcher_ < in_.matchers.size(), "the matcher of a sample is missing");
      row->top_drawable = kind == layout::matcherMaskAndLists;
      out_.masks.push_back({slab, nullptr});
      out_.mask_tasks.push_back({in_.matchers[next_matcher_++], nullptr});
      return;
    }
    require(kind == layout::newMask || !has_none, "a mask is as before where there was none");
    if (kind == layout::maskAsBefore) return;
    require(in_.masks != nullptr, "a mask is new, but the mask slab is missing");
    const int32_t* bits = in_.masks + slab * mask_row_words();
    out_.masks.push_back({slab, reinterpret_cast<const uint32_t*>(bits)});
  }

  void own_masks() {
    const auto words = static_cast<size_t>(mask_row_words());
    out_.mask_bits.resize(out_.masks.size() * words);
    uint32_t* to = out_.mask_bits.data();
    size_t task = 0;
    for (MaskUpdate& update : out_.masks) {
      if (update.bits != nullptr) {
        std::copy_n(update.bits, words, to);
      } else {
        std::fill_n(to, words, 0u);
        out_.mask_tasks[task++].bits = to;
      }
      update.bits = to;
      to += words;
    }
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

  // What a sample brings for its row, in our own copy of the extras. True: the row begins.
  bool check_news(int64_t at, SlabRow* kept, SampleRow* row) const {
    const int64_t size = static_cast<int64_t>(out_.extras.size());
    require(at >= 0 && at <= size - layout::extraWords, "extras lie outside the buffer");
    const int32_t* e = out_.extras.data() + at;
    const int32_t counted = e[layout::extraCounted], allowed = e[layout::extraNumAllowed];
    const int32_t num_bias = e[layout::extraNumBias], prompt_len = e[layout::extraPromptLen];
    const int32_t output_len = e[layout::extraOutputLen];
    row->num_banned = e[layout::extraNumBanned];
    const bool begins = counted == layout::rowBegins;
    require(begins || kept->begun, "a row goes on that has not begun");
    require(begins || counted == kept->num_counted, "ids that a row should count are missing");
    require(begins || kept->penalised || !has_penalties(*row),
            "a row has got penalties since it began");
    require(allowed >= layout::everyToken || (allowed == layout::asBefore && !begins),
            "a list has a negative length");
    require(row->num_banned >= 0 && num_bias >= 0 && prompt_len >= 0 && output_len >= 0,
            "a list has a negative length");
    require(begins || (num_bias == 0 && prompt_len == 0), "biases or a prompt come late");
    const int64_t num_ids = std::max(0, allowed) + int64_t{row->num_banned} + num_bias;
    const int64_t num_counted = int64_t{prompt_len} + output_len;
    require(num_ids + num_bias + num_counted <= size - at - layout::extraWords,
            "a list runs past the buffer");
    require(num_counted + std::max(0, counted) <= static_cast<int64_t>(row->position),
            "more ids are counted than the sequence has");
    const int32_t* p = e + layout::extraWords;
    row->banned = p + std::max(0, allowed);
    for (const int32_t* end = p + num_ids; p < end; ++p) check_id(*p);
    for (int32_t i = 0; i < num_bias; ++i, ++p) {
      require(std::isfinite(*reinterpret_cast<const float*>(p)), "a bias is not finite");
    }
    for (const int32_t* end = p + num_counted; p < end; ++p) check_id(*p);
    kept->news_at = at;
    return begins;
  }

  // The rows take in what was checked; the samples point at what their rows have now.
  void take_news() {
    for (int32_t i = 0; i < out_.num_samples; ++i) {
      SampleRow& row = out_.rows[static_cast<size_t>(i)];
      SlabRow& kept = rows_[static_cast<size_t>(row.counted)];
      if (kept.news_at >= 0) take(out_.extras.data() + kept.news_at, row, &kept);
      row.num_allowed = kept.num_allowed;
      row.allowed = kept.allowed.data();
      row.num_bias = static_cast<int32_t>(kept.bias.size());
      row.bias_ids = kept.bias_ids.data();
      row.bias = kept.bias.data();
      if (!has_penalties(row)) row.counted = -1;
    }
    for (const MaskUpdate& u : out_.masks) rows_[static_cast<size_t>(u.row)].masked = true;
  }

  void take(const int32_t* e, const SampleRow& row, SlabRow* kept) {
    const bool begins = e[layout::extraCounted] == layout::rowBegins;
    const int32_t allowed = e[layout::extraNumAllowed], num_bias = e[layout::extraNumBias];
    const int32_t* p = e + layout::extraWords;
    if (allowed != layout::asBefore) {
      kept->num_allowed = allowed;
      kept->allowed.assign(p, p + std::max(0, allowed));
    }
    p = row.banned + row.num_banned;
    const float* bias = reinterpret_cast<const float*>(p + num_bias);
    if (begins) {
      kept->begun = true;
      kept->masked = false;
      kept->penalised = has_penalties(row);
      kept->num_counted = 0;
      kept->bias_ids.assign(p, p + num_bias);
      kept->bias.assign(bias, bias + num_bias);
    }
    p += 2 * num_bias;
    const TokenUpdate update{row.counted,
                             begins,
                             e[layout::extraPromptLen],
                             e[layout::extraOutputLen],
                             p,
                             p + e[layout::extraPromptLen]};
    kept->num_counted += update.prompt_len + update.output_len;
    if (kept->penalised) out_.counted.push_back(update);
  }

  void prompt_rows() {
    const int64_t n =
        count(layout::headerNumPromptRows, limits_.max_num_batched_tokens, "too many prompt rows");
    const int32_t* r = section(layout::headerPromptRowsAt, n, layout::promptRowWords);
    for (int64_t i = 0; i < n; ++i, ++r) {
      SampleRow row;
      row.logits_row = token_row(r[layout::promptRowTokenRow * n]);
      row.target = r[layout::promptRowTarget * n];
      check_id(row.target);
      row.num_top = check_num_top(r[layout::promptRowNumTop * n]);
      out_.rows.push_back(row);
    }
  }

  const StepBuffers& in_;
  const EngineLimits& limits_;
  const int32_t vocab_;
  std::vector<SlabRow>& rows_;
  StepInput& out_;
  int64_t total_ = 0;
  int64_t extras_at_ = 0;
  size_t next_matcher_ = 0;
};

}  // namespace

void parse_step(const StepBuffers& in, const EngineLimits& limits, int32_t vocab_size,
                std::vector<SlabRow>* rows, StepInput* out) {
  out->clear();
  Parser(in, limits, vocab_size, rows, out).run();
}

}  // namespace octavo
