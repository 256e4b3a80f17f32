// Matrices in parts: whatever a description says, it is refused or every value can be read, from
// the part's own bytes.
#include <functional>

#include "model/stored_parts.h"
#include "native/model_test.h"

namespace octavo::test {
namespace {

constexpr int64_t kFileBytes = 1 << 16;

// Of any scheme: all parts lie in one file of random bytes.
TensorSpec random_parts(Random& random) {
  TensorSpec t{"layers.0.up", DType::kF32, 8 * random.between(1, 4), 64 * random.between(1, 3)};
  int64_t at = 0;
  const auto place = [&](FilePart* part, int64_t bytes) {
    part->file = 0, part->offset = at, part->bytes = bytes;
    at += bytes;
  };
  StoredParts& p = t.parts;
  p.rows = t.rows, p.group = random.pick<int64_t>({32, 64, t.cols});
  const int64_t groups = (t.cols + p.group - 1) / p.group;
  CodePart& c = p.codes;
  c.order = random.pick({CodeOrder::kRows, CodeOrder::kCols, CodeOrder::kAwq, CodeOrder::kFlat});
  const bool turned = c.order == CodeOrder::kCols || c.order == CodeOrder::kAwq;
  const bool nibbles = c.order == CodeOrder::kAwq || c.order == CodeOrder::kFlat;
  c.bits = nibbles ? 4 : random.pick<int64_t>({2, 3, 4, 8});
  c.rows = turned ? t.cols : t.rows, c.cols = turned ? t.rows : t.cols;
  place(&c, c.expected_bytes());
  p.is_float = random.chance(20) && (c.bits == 4 || c.bits == 8);
  t.dtype = c.bits == 8 ? DType::kINT8_G32 : DType::kINT4_G32;
  if (p.is_float) t.dtype = c.bits == 8 ? DType::kFP8_G32 : DType::kF32;
  ScalePart& s = p.scales;
  s.type = random.pick(
      {ScaleType::kF32, ScaleType::kF16, ScaleType::kBF16, ScaleType::kE4M3, ScaleType::kE8M0});
  s.rows = t.rows, s.cols = groups, s.turned = turned;
  place(&s, s.rows * s.cols * scale_bytes(s.type));
  if (random.chance(30)) place(&p.factor, 4);
  if (random.chance(50) && !p.is_float) {
    p.zeros.bits = c.bits, p.zeros_turned = turned;
    p.zeros.order = turned ? CodeOrder::kRows : CodeOrder::kCols;
    p.zeros.rows = turned ? groups : t.rows, p.zeros.cols = turned ? t.rows : groups;
    place(&p.zeros, p.zeros.expected_bytes());
  }
  if (random.chance(20)) {
    t.dtype = DType::kF32;
    place(&p.order, 4 * t.cols);
  }
  return t;
}

// One of its numbers is another.
void mutate(Random& random, TensorSpec* t) {
  StoredParts& p = t->parts;
  int64_t* const numbers[] = {&t->rows,        &t->cols,       &t->step,           &p.rows,
                              &p.from,         &p.group,       &p.codes.bits,      &p.codes.rows,
                              &p.codes.cols,   &p.codes.unit,  &p.codes.bytes,     &p.codes.offset,
                              &p.scales.rows,  &p.scales.cols, &p.scales.row_span, &p.scales.bytes,
                              &p.zeros.rows,   &p.zeros.cols,  &p.zeros.bits,      &p.zeros.bytes,
                              &p.factor.bytes, &p.order.bytes, &p.values.offset,   &p.book.offset};
  bool* const flags[] = {&p.codes.is_signed, &p.scales.turned, &p.scales.flat,
                         &p.divides,         &p.zeros_turned,  &p.is_float};
  if (random.chance(70)) {
    int64_t& n = *numbers[random.between(0, std::size(numbers) - 1)];
    n = random.pick<int64_t>({0, 1, n - 1, n + 1, 2 * n, n / 2, -1, int64_t{1} << 28});
  } else if (random.chance(50)) {
    bool& flag = *flags[random.between(0, std::size(flags) - 1)];
    flag = !flag;
  } else if (random.chance(50)) {
    t->dtype = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
  } else {
    p.codes.order = static_cast<CodeOrder>(random.between(0, 3));
    p.scales.type = static_cast<ScaleType>(random.between(0, 5));
  }
}

bool can_be_read(const Checkpoint& checkpoint, const TensorSpec& t, std::string* why) {
  try {
    const std::vector<float> values = stored_values(checkpoint.files, t);
    expect(static_cast<int64_t>(values.size()) == t.rows * t.cols, "parts: values are missing");
    return true;
  } catch (const Error& e) {
    *why = e.what();
    return false;
  }
}

}  // namespace

void test_parts(const Ops&, Random& random) {
  Checkpoint checkpoint(random);
  std::vector<char> bytes(kFileBytes);
  for (char& b : bytes) b = static_cast<char>(random.between(-128, 127));
  checkpoint.write({"bytes"}, bytes.data(), kFileBytes);
  checkpoint.close();
  int read = 0, refused = 0;
  for (int i = 0; i < 400; i++) {
    TensorSpec t = random_parts(random);
    std::string why;
    expect(why_not(t) == nullptr, "parts: refused for no reason: %s", why_not(t));
    // Random bytes may be an order that does not exist, or a factor below zero.
    const bool sound = !t.parts.order.any() && !t.parts.factor.any();
    expect(can_be_read(checkpoint, t, &why) || !sound, "parts: not read: %s", why.c_str());
    for (int n = 0; n < 4; n++) {
      mutate(random, &t);
      can_be_read(checkpoint, t, &why) ? read++ : refused++;
    }
  }
  expect(read > 50 && refused > 200, "parts: %d read, %d refused", read, refused);
}

}  // namespace octavo::test
