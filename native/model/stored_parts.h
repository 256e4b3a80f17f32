// Matrices that safetensors hold in several tensors: codes of few bits, scales of groups of them,
// zeros, the order of the groups. lib/model/quantization reads a checkpoint's configuration into
// this; here the parts are put together to the blocks of base/quants.h, row by row.
#pragma once

#include <cstdint>
#include <vector>

#include "base/weight_source.h"

namespace octavo {

class WeightFile;
struct TensorSpec;

// Bytes in a file; file −1 = there are none.
struct FilePart {
  int32_t file = -1;
  int64_t offset = 0, bytes = 0;
  bool any() const { return file >= 0; }
};

// Small unsigned numbers [rows, cols], lowest bits first. kRows: a row's follow one another, each
// row in whole `unit`s of bytes. kCols: a column's do, in words of 32 bits [⌈rows · bits / 32⌉,
// cols]. kAwq: words [rows, cols / 8] whose half bytes hold columns 0, 2, 4, 6, 1, 3, 5, 7 of
// eight. kFlat: half bytes, all rows as one, the first high.
enum class CodeOrder : int32_t { kRows = 0, kCols = 1, kAwq = 2, kFlat = 3 };
struct CodePart : FilePart {
  CodeOrder order = CodeOrder::kRows;
  int64_t bits = 0, rows = 0, cols = 0, unit = 1;
  bool is_signed = false;  // of 8 bits: 128 is added

  int64_t row_bytes() const { return (cols * bits + 8 * unit - 1) / (8 * unit) * unit; }
  int64_t expected_bytes() const;
};

enum class ScaleType : int32_t { kF32 = 0, kF16 = 1, kBF16 = 2, kE4M3 = 3, kE8M0 = 4, kBook = 5 };
constexpr int64_t scale_bytes(ScaleType t) {
  return t == ScaleType::kF32 ? 4 : t == ScaleType::kF16 || t == ScaleType::kBF16 ? 2 : 1;
}
// A grid [rows, cols] (turned: stored as [cols, rows]) of which each scale is for `row_span` rows
// of the matrix and one group of its columns; flat: a list for so many values of all rows as one.
struct ScalePart : FilePart {
  ScaleType type = ScaleType::kF32;
  int64_t rows = 0, cols = 0, row_span = 1;
  bool turned = false, flat = false;
};

struct StoredParts {
  CodePart codes;              // [rows, cols]; of kCols and kAwq [cols, rows]
  int64_t rows = 0, from = 0;  // of the stored matrix; the tensor's row r is from + r · step there
  int64_t group = 0;           // columns, or values, that share a scale
  ScalePart scales;
  FilePart factor;  // a float32 that all scales are multiplied with, or divided by
  bool divides = false;
  int32_t divisor = 1;  // and what is known
  CodePart zeros;       // [rows, groups], turned as the codes are; without: `zero` of all
  bool zeros_turned = false;
  int32_t zero = 0;       // added to stored ones
  bool is_float = false;  // codes are floats of eight or four bits
  FilePart order;         // int32 [cols]: the group of each column
  FilePart values;        // float32 [2^bits]: what codes stand for
  // Scales that are codes themselves: float32 [256] of what they stand for, float32 scales of 256
  // of them each, and what is added.
  FilePart book, book_scales;
  float book_offset = 0;

  bool any() const { return codes.any(); }
};

// fn(part) for each that there is.
template <class Fn>
void for_each_part(const StoredParts& p, Fn fn) {
  const FilePart* const all[] = {&p.codes, &p.scales, &p.factor, &p.zeros,
                                 &p.order, &p.values, &p.book,   &p.book_scales};
  for (const FilePart* part : all) {
    if (part->any()) fn(*part);
  }
}

// Why the parts of a tensor do not fit each other, its type or its shape; null = they do. That they
// lie inside their files is not looked at.
const char* why_not(const TensorSpec& t);

// Reads everything but codes that lie by rows when it is made.
class PartsSource : public WeightSource {
 public:
  PartsSource(const std::vector<const WeightFile*>& files, const TensorSpec& t);
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;

 private:
  bool load(const FilePart& part, std::vector<uint8_t>* out) const;
  bool load_scales();
  bool load_zeros();
  bool load_order();
  bool codes_of(int64_t row, uint8_t* out) const;
  bool put_row(int64_t row, uint8_t* out) const;
  float scale_at(int64_t row, int64_t group) const;
  int zero_at(int64_t row, int64_t group) const;
  void put_floats(int64_t row, const uint8_t* codes, uint8_t* out) const;
  void put_blocks(int64_t row, const uint8_t* codes, uint8_t* out) const;

  const std::vector<const WeightFile*> files_;
  const TensorSpec& t_;
  bool whole_ = false;           // everything could be read
  std::vector<uint8_t> stored_;  // codes that do not lie by rows
  std::vector<float> scales_;    // [scales.rows, scales.cols]; not of those kept as bytes
  std::vector<uint8_t> bytes_;   // scales of types that keep theirs
  std::vector<uint8_t> zeros_;   // [rows, groups]
  std::vector<float> values_;
  std::vector<int32_t> order_;
  float factor_ = 1;
};

// GGUF's blocks of NVFP4, with the scale of their tensor in front.
class Nvfp4Source : public WeightSource {
 public:
  Nvfp4Source(const WeightSource& blocks, float scale) : blocks_(blocks), scale_(scale) {}
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;
  static constexpr int64_t kBlockBytes = 36;  // in the file

 private:
  const WeightSource& blocks_;
  const float scale_;
};

}  // namespace octavo
