#include "model/stored_parts.h"

#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "base/half.h"
#include "base/quants.h"
#include "model/spec.h"
#include "model/weight_file.h"

namespace octavo {
namespace {

constexpr int64_t kBookGroup = 256;

// Which half byte of a word holds column c of eight.
constexpr int kAwqPlace[] = {0, 4, 1, 5, 2, 6, 3, 7};

uint32_t word_at(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

// `count` numbers of a stream whose first bit is the lowest of the first byte.
void unpack_stream(const uint8_t* p, int64_t bits, int64_t count, uint8_t* out) {
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t i = 0; i < count; i++) {
    const int64_t bit = i * bits, shift = bit % 8;
    uint32_t some = p[bit / 8];
    if (shift + bits > 8) some |= static_cast<uint32_t>(p[bit / 8 + 1]) << 8;
    out[i] = static_cast<uint8_t>(some >> shift & mask);
  }
}

// Column `col` of words [⌈count · bits / 32⌉, cols]: a stream that goes down.
void unpack_column(const uint8_t* p, int64_t bits, int64_t cols, int64_t col, int64_t count,
                   uint8_t* out) {
  const uint64_t mask = (1u << bits) - 1;
  const int64_t words = (count * bits + 31) / 32;
  for (int64_t i = 0; i < count; i++) {
    const int64_t bit = i * bits, word = bit / 32;
    uint64_t some = word_at(p + (word * cols + col) * 4);
    if (bit % 32 + bits > 32 && word + 1 < words) {
      some |= static_cast<uint64_t>(word_at(p + ((word + 1) * cols + col) * 4)) << 32;
    }
    out[i] = static_cast<uint8_t>(some >> (bit % 32) & mask);
  }
}

// Numbers [i][at] of words [count, cols / 8].
void unpack_awq(const uint8_t* p, int64_t cols, int64_t at, int64_t count, uint8_t* out) {
  const int shift = 4 * kAwqPlace[at % 8];
  for (int64_t i = 0; i < count; i++) {
    out[i] = word_at(p + (i * (cols / 8) + at / 8) * 4) >> shift & 15;
  }
}

void unpack_flat(const uint8_t* p, int64_t first, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = first + i;
    out[i] = p[at / 2] >> (at % 2 == 0 ? 4 : 0) & 15;
  }
}

float scale_of(ScaleType type, const uint8_t* p) {
  uint16_t half;
  switch (type) {
    case ScaleType::kF32:
      return bits_to_float(word_at(p));
    case ScaleType::kF16:
    case ScaleType::kBF16:
      std::memcpy(&half, p, 2);
      return type == ScaleType::kF16 ? half_to_float(half) : bf16_to_float(half);
    case ScaleType::kE4M3:
      return e4m3_to_float(*p);
    default:  // 2^(e − 127)
      return bits_to_float(*p == 0 ? 0x00400000u : static_cast<uint32_t>(*p) << 23);
  }
}

std::vector<float> floats_of(const std::vector<uint8_t>& bytes) {
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), 4 * out.size());
  return out;
}

// Neighbours in a byte, the first in its low half.
void put_nibbles(const uint8_t* codes, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; i += 2) {
    out[i / 2] = static_cast<uint8_t>(codes[i] | codes[i + 1] << 4);
  }
}
// The first half of 2 · count codes in low halves, the second in high ones.
void put_halves(const uint8_t* codes, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; i++) {
    out[i] = static_cast<uint8_t>(codes[i] | codes[count + i] << 4);
  }
}

// Types whose blocks hold their scales as bytes, as they are stored.
bool keeps_scale_bytes(DType t) { return t == DType::kMXFP4 || t == DType::kNVFP4; }

}  // namespace

int64_t CodePart::expected_bytes() const {
  switch (order) {
    case CodeOrder::kRows:
      return rows * row_bytes();
    case CodeOrder::kCols:
      return (rows * bits + 31) / 32 * cols * 4;
    case CodeOrder::kAwq:
      return rows * (cols / 8) * 4;
    default:
      return rows * cols / 2;
  }
}

namespace {

// Codes, zeros included, as their order allows.
bool fits(const CodePart& c) {
  const bool any_bits = c.bits == 2 || c.bits == 3 || c.bits == 4 || c.bits == 8;
  if (!any_bits || (c.is_signed && c.bits != 8) || (c.unit != 1 && c.unit != 4)) return false;
  if (c.order == CodeOrder::kAwq && (c.bits != 4 || c.cols % 8 != 0)) return false;
  if (c.order == CodeOrder::kFlat && (c.bits != 4 || c.rows * c.cols % 2 != 0)) return false;
  return c.rows > 0 && c.cols > 0 && c.bytes == c.expected_bytes();
}

// Columns that share a scale in blocks of a type; 0 = it is no such type.
int64_t shared_columns(DType t) {
  if (t == DType::kF32) return 1;
  if (t == DType::kMXFP4) return 32;
  if (t == DType::kNVFP4) return 16;
  return quant_format(t).is_wide ? block_values(t) : 0;
}

bool type_fits(const TensorSpec& t) {
  const StoredParts& p = t.parts;
  const int64_t shared = shared_columns(t.dtype);
  if (shared == 0 || p.group < 1 || p.group % shared != 0) return false;
  if (t.dtype == DType::kF32) return true;
  if (p.scales.flat || p.order.any() || p.values.any()) return false;
  if (keeps_scale_bytes(t.dtype)) {
    const ScaleType type = t.dtype == DType::kMXFP4 ? ScaleType::kE8M0 : ScaleType::kE4M3;
    return p.codes.bits == 4 && p.is_float && p.group == shared && p.scales.type == type &&
           p.scales.row_span == 1 && !p.scales.turned;
  }
  if (is_fp8(t.dtype)) return p.codes.bits == 8 && p.is_float;
  return p.codes.bits <= quant_format(t.dtype).bits && !p.is_float &&
         (quant_format(t.dtype).bits == 4) == (p.codes.bits <= 4);
}

}  // namespace

const char* why_not(const TensorSpec& t) {
  const StoredParts& p = t.parts;
  const CodePart &c = p.codes, &z = p.zeros;
  const ScalePart& s = p.scales;
  const bool turned = c.order == CodeOrder::kCols || c.order == CodeOrder::kAwq;
  const int64_t limit = int64_t{1} << 40;
  if (!fits(c) || !type_fits(t)) return "has codes that are none of its type";
  if ((turned ? c.cols : c.rows) != p.rows || (turned ? c.rows : c.cols) != t.cols) {
    return "has codes of another shape";
  }
  if (p.from < 0 || t.run < 1 || t.step < t.run || t.step > limit / t.rows ||
      p.from + t.stored_at(t.rows - 1) >= p.rows) {
    return "has an impossible place in what its file holds";
  }
  if (s.rows < 1 || s.cols < 1 || s.row_span < 1 || s.rows > limit / s.cols ||
      s.bytes != s.rows * s.cols * scale_bytes(s.type)) {
    return "has scales of another shape";
  }
  const int64_t groups =
      s.flat ? (p.rows * t.cols + p.group - 1) / p.group : (t.cols + p.group - 1) / p.group;
  const bool covers = s.flat ? s.rows == 1 && s.cols >= groups
                             : s.cols >= groups && s.rows >= (p.rows - 1) / s.row_span + 1;
  if (!covers) return "has too few scales";
  if (z.any() &&
      (!fits(z) || z.order == CodeOrder::kFlat || (p.zeros_turned ? z.cols : z.rows) != p.rows ||
       (p.zeros_turned ? z.rows : z.cols) != s.cols)) {
    return "has zeros of another shape";
  }
  if (p.zero < 0 || p.zero > 255) return "has an impossible zero";
  if (p.order.any() && p.order.bytes != 4 * t.cols) return "has an order of another length";
  if (p.factor.any() && p.factor.bytes != 4) return "has a factor that is no float";
  if (p.values.any() && p.values.bytes != int64_t{4} << c.bits) return "has other values";
  if (s.type != ScaleType::kBook) return nullptr;
  const int64_t books = (s.rows * s.cols + kBookGroup - 1) / kBookGroup;
  const bool has_books = p.book.any() && p.book.bytes == 1024 && p.book_scales.any() &&
                         p.book_scales.bytes >= 4 * books;
  return has_books ? nullptr : "has scales without their values";
}

PartsSource::PartsSource(const std::vector<const WeightFile*>& files, const TensorSpec& t)
    : files_(files), t_(t) {
  const StoredParts& p = t.parts;
  std::vector<uint8_t> bytes;
  if (p.codes.order != CodeOrder::kRows && !load(p.codes, &stored_)) return;
  if (p.factor.any()) {
    if (!load(p.factor, &bytes)) return;
    factor_ = floats_of(bytes)[0];
    if (!(factor_ >= 0)) return;
  }
  if (p.values.any()) {
    if (!load(p.values, &bytes)) return;
    values_ = floats_of(bytes);
  }
  whole_ = load_scales() && load_zeros() && load_order();
}

bool PartsSource::load(const FilePart& part, std::vector<uint8_t>* out) const {
  out->resize(static_cast<size_t>(part.bytes));
  const WeightFile& file = *files_[static_cast<size_t>(part.file)];
  return file.read(part.offset, part.bytes, out->data());
}

bool PartsSource::load_scales() {
  const StoredParts& p = t_.parts;
  const ScalePart& s = p.scales;
  if (!load(s, &bytes_)) return false;
  if (keeps_scale_bytes(t_.dtype)) return true;
  std::vector<float> book, book_scales;
  if (s.type == ScaleType::kBook) {
    std::vector<uint8_t> bytes;
    if (!load(p.book, &bytes)) return false;
    book = floats_of(bytes);
    if (!load(p.book_scales, &bytes)) return false;
    book_scales = floats_of(bytes);
  }
  const int64_t size = scale_bytes(s.type);
  scales_.resize(static_cast<size_t>(s.rows * s.cols));
  for (int64_t r = 0; r < s.rows; r++) {
    for (int64_t c = 0; c < s.cols; c++) {
      const int64_t at = s.turned ? c * s.rows + r : r * s.cols + c;
      float& scale = scales_[static_cast<size_t>(r * s.cols + c)];
      if (s.type == ScaleType::kBook) {
        scale = book[bytes_[static_cast<size_t>(at)]] *
                    book_scales[static_cast<size_t>(at / kBookGroup)] +
                p.book_offset;
      } else {
        scale = scale_of(s.type, bytes_.data() + at * size);
      }
      if (p.factor.any()) scale = p.divides ? scale / factor_ : scale * factor_;
      if (p.divisor != 1) scale /= static_cast<float>(p.divisor);
    }
  }
  bytes_.clear();
  return true;
}

bool PartsSource::load_zeros() {
  const StoredParts& p = t_.parts;
  const CodePart& z = p.zeros;
  if (!z.any()) return true;
  std::vector<uint8_t> stored;
  if (!load(z, &stored)) return false;
  std::vector<uint8_t> all(static_cast<size_t>(z.rows * z.cols));
  for (int64_t i = 0; i < (z.order == CodeOrder::kRows ? z.rows : z.cols); i++) {
    if (z.order == CodeOrder::kRows) {
      unpack_stream(stored.data() + i * z.row_bytes(), z.bits, z.cols, all.data() + i * z.cols);
      continue;
    }
    std::vector<uint8_t> column(static_cast<size_t>(z.rows));
    z.order == CodeOrder::kCols
        ? unpack_column(stored.data(), z.bits, z.cols, i, z.rows, column.data())
        : unpack_awq(stored.data(), z.cols, i, z.rows, column.data());
    for (int64_t r = 0; r < z.rows; r++) {
      all[static_cast<size_t>(r * z.cols + i)] = column[static_cast<size_t>(r)];
    }
  }
  const int64_t groups = p.zeros_turned ? z.rows : z.cols;
  zeros_.resize(all.size());
  for (int64_t r = 0; r < p.rows; r++) {
    for (int64_t g = 0; g < groups; g++) {
      const uint8_t stored_zero =
          all[static_cast<size_t>(p.zeros_turned ? g * z.cols + r : r * z.cols + g)];
      const int zero = (z.is_signed ? stored_zero ^ 0x80 : stored_zero) + p.zero;
      if (zero > 255) return false;
      zeros_[static_cast<size_t>(r * groups + g)] = static_cast<uint8_t>(zero);
    }
  }
  return true;
}

bool PartsSource::load_order() {
  const StoredParts& p = t_.parts;
  if (!p.order.any()) return true;
  std::vector<uint8_t> bytes;
  if (!load(p.order, &bytes)) return false;
  order_.resize(bytes.size() / 4);
  std::memcpy(order_.data(), bytes.data(), bytes.size());
  return std::all_of(order_.begin(), order_.end(),
                     [&](int32_t g) { return g >= 0 && g < p.scales.cols; });
}

bool PartsSource::codes_of(int64_t row, uint8_t* out) const {
  const CodePart& c = t_.parts.codes;
  switch (c.order) {
    case CodeOrder::kRows: {
      const int64_t bytes = c.row_bytes();
      const WeightFile& file = *files_[static_cast<size_t>(c.file)];
      if (c.bits == 8) {
        if (!file.read(c.offset + row * bytes, c.cols, out)) return false;
        break;
      }
      std::vector<uint8_t> stored(static_cast<size_t>(bytes));
      if (!file.read(c.offset + row * bytes, bytes, stored.data())) return false;
      unpack_stream(stored.data(), c.bits, c.cols, out);
      break;
    }
    case CodeOrder::kCols:
      unpack_column(stored_.data(), c.bits, c.cols, row, c.rows, out);
      break;
    case CodeOrder::kAwq:
      unpack_awq(stored_.data(), c.cols, row, c.rows, out);
      break;
    case CodeOrder::kFlat:
      unpack_flat(stored_.data(), row * c.cols, c.cols, out);
      break;
  }
  for (int64_t k = 0; c.is_signed && k < t_.cols; k++) out[k] ^= 0x80;
  return true;
}

float PartsSource::scale_at(int64_t row, int64_t group) const {
  const ScalePart& s = t_.parts.scales;
  const int64_t at = s.flat ? group : row / s.row_span * s.cols + group;
  return scales_[static_cast<size_t>(at)];
}

int PartsSource::zero_at(int64_t row, int64_t group) const {
  const StoredParts& p = t_.parts;
  return p.zeros.any() ? zeros_[static_cast<size_t>(row * p.scales.cols + group)] : p.zero;
}

// scale · (code − zero), or scale · value
void PartsSource::put_floats(int64_t row, const uint8_t* codes, uint8_t* out) const {
  const StoredParts& p = t_.parts;
  for (int64_t k = 0; k < t_.cols; k++) {
    const int64_t at = p.scales.flat ? row * t_.cols + k : k;
    const int64_t group = order_.empty() ? at / p.group : order_[static_cast<size_t>(k)];
    float value;
    if (!values_.empty()) {
      value = values_[codes[k]];
    } else if (p.is_float) {
      value = p.codes.bits == 8 ? e4m3_to_float(codes[k])
                                : 0.5f * static_cast<float>(kMxfp4Values[codes[k]]);
    } else {
      value = static_cast<float>(codes[k] - zero_at(row, group));
    }
    value *= scale_at(row, group);
    std::memcpy(out + 4 * k, &value, 4);
  }
}

void PartsSource::put_blocks(int64_t row, const uint8_t* codes, uint8_t* out) const {
  const StoredParts& p = t_.parts;
  const int64_t values = block_values(t_.dtype), bytes = block_bytes(t_.dtype);
  const QuantFormat f = quant_format(t_.dtype);
  const uint8_t* const scales = bytes_.data() + row * p.scales.cols;
  for (int64_t k = 0; k < t_.cols; k += values, codes += values, out += bytes) {
    if (t_.dtype == DType::kMXFP4) {
      out[0] = scales[k / 32];
      put_halves(codes, 16, out + 1);
      continue;
    }
    if (t_.dtype == DType::kNVFP4) {
      const float factor = p.divides ? -factor_ : factor_;
      std::memcpy(out, &factor, 4);
      std::memcpy(out + 4, scales + k / 16, 4);
      for (int g = 0; g < 4; g++) put_halves(codes + 16 * g, 8, out + 8 + 8 * g);
      continue;
    }
    const int64_t group = k / p.group;
    const float scale = scale_at(row, group);
    std::memcpy(out, &scale, 4);
    uint8_t* to = out + 4;
    if (f.has_min) *to++ = static_cast<uint8_t>(zero_at(row, group));
    if (f.bits == 8) {
      std::memcpy(to, codes, static_cast<size_t>(values));
    } else {
      put_nibbles(codes, values, to);
    }
  }
}

bool PartsSource::put_row(int64_t row, uint8_t* out) const {
  std::vector<uint8_t> codes(static_cast<size_t>(t_.cols));
  if (!codes_of(row, codes.data())) return false;
  t_.dtype == DType::kF32 ? put_floats(row, codes.data(), out) : put_blocks(row, codes.data(), out);
  return true;
}

bool PartsSource::read(int64_t at, int64_t bytes, void* out) const noexcept try {
  if (!whole_) return false;
  const int64_t row = row_bytes(t_.dtype, t_.cols);
  uint8_t* to = static_cast<uint8_t*>(out);
  for (int64_t r = at / row; r < (at + bytes) / row; r++, to += row) {
    if (!put_row(t_.parts.from + t_.stored_at(r), to)) return false;
  }
  return true;
} catch (...) {
  return false;  // no memory for a row
}

bool Nvfp4Source::read(int64_t at, int64_t bytes, void* out) const noexcept try {
  const int64_t ours = block_bytes(DType::kNVFP4), blocks = bytes / ours;
  std::vector<uint8_t> stored(static_cast<size_t>(blocks * kBlockBytes));
  if (!blocks_.read(at / ours * kBlockBytes, blocks * kBlockBytes, stored.data())) return false;
  uint8_t* to = static_cast<uint8_t*>(out);
  for (int64_t b = 0; b < blocks; b++, to += ours) {
    std::memcpy(to, &scale_, 4);
    std::memcpy(to + 4, stored.data() + b * kBlockBytes, kBlockBytes);
    for (int i = 4; i < 8; i++) {
      if (to[i] == 0x7f) to[i] = 0;  // as ggml has it
    }
  }
  return true;
} catch (...) {
  return false;
}

}  // namespace octavo
