#include "model/weight_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/os.h"
#include "base/quants.h"

namespace octavo {

WeightFile::WeightFile(const std::string& path) : path_(path) {
  fd_ = os::open_file(path.c_str());
  if (fd_ < 0) {
    throw Error(kErrModelNotFound, "cannot open " + path + ": " + std::strerror(errno));
  }
  os::FileState state;
  if (!os::file_state(fd_, &state) || !state.regular || state.bytes == 0) {
    os::close_file(fd_);
    throw Error(kErrModelFormat, path + " is not a regular file with something in it");
  }
  bytes_ = state.bytes;
  changed_ = state.changed;
}

WeightFile::~WeightFile() { os::close_file(fd_); }

bool WeightFile::read(int64_t offset, int64_t bytes, void* out) const noexcept {
  char* at = static_cast<char*>(out);
  while (bytes > 0) {
    const int64_t n = os::read_file(fd_, offset, static_cast<size_t>(bytes), at);
    if (n <= 0) return false;
    at += n, offset += n, bytes -= n;
  }
  return true;
}

// Also for what is in memory the system looks at every page, so none is asked for twice.
void WeightFile::prefetch(int64_t begin, int64_t end) noexcept {
  begin = std::max(begin, prefetched_);
  end = std::min(end, bytes_);
  if (begin >= end) return;
  prefetched_ = end;
  os::prefetch_file(fd_, begin, end - begin);
}

void WeightFile::check_unchanged() const {
  os::FileState state;
  const bool same =
      os::file_state(fd_, &state) && state.bytes == bytes_ && state.changed == changed_;
  if (!same) {
    throw Error(kErrModelFormat, path_ + " was changed while it was read; load it anew");
  }
}

bool FileSource::read(int64_t at, int64_t bytes, void* out) const noexcept {
  if (step_ == run_) return file_.read(offset_ + at, bytes, out);
  char* to = static_cast<char*>(out);
  while (bytes > 0) {
    const int64_t inside = at % run_, n = std::min(bytes, run_ - inside);
    if (!file_.read(offset_ + at / run_ * step_ + inside, n, to)) return false;
    at += n, to += n, bytes -= n;
  }
  return true;
}

TurnedSource::TurnedSource(const WeightFile& file, const TensorSpec& t) {
  const int64_t value = block_bytes(t.dtype), stored = t.transposed_of * value;
  const int64_t piece = std::max<int64_t>(1, (int64_t{1} << 20) / stored);  // stored rows at once
  std::vector<char> values(static_cast<size_t>(t.rows * t.cols * value));
  std::vector<char> part(static_cast<size_t>(std::min(piece, t.cols) * stored));
  for (int64_t begin = 0; begin < t.cols; begin += piece) {
    const int64_t n = std::min(piece, t.cols - begin);
    if (!file.read(t.offset + begin * stored, n * stored, part.data())) return;
    for (int64_t r = 0; r < t.rows; ++r) {
      char* to = values.data() + (r * t.cols + begin) * value;
      const char* from = part.data() + (t.transposed_from + t.stored_at(r)) * value;
      for (int64_t c = 0; c < n; ++c) std::memcpy(to + c * value, from + c * stored, value);
    }
  }
  values_ = std::move(values);
}

bool TurnedSource::read(int64_t at, int64_t bytes, void* out) const noexcept {
  if (values_.empty()) return false;
  std::memcpy(out, values_.data() + at, static_cast<size_t>(bytes));
  return true;
}

WidenedTurnedSource::WidenedTurnedSource(const WeightSource& stored, const TensorSpec& t) {
  const int64_t row = row_bytes(t.dtype, t.transposed_of);
  std::vector<float> values(static_cast<size_t>(t.rows * t.cols));
  std::vector<char> bytes(static_cast<size_t>(row));
  std::vector<float> wide(static_cast<size_t>(t.transposed_of));
  for (int64_t c = 0; c < t.cols; ++c) {
    if (!stored.read(c * row, row, bytes.data())) return;
    dequantise_row(t.dtype, bytes.data(), t.transposed_of, wide.data());
    for (int64_t r = 0; r < t.rows; ++r) {
      values[static_cast<size_t>(r * t.cols + c)] =
          wide[static_cast<size_t>(t.transposed_from + t.stored_at(r))];
    }
  }
  values_ = std::move(values);
}

bool WidenedTurnedSource::read(int64_t at, int64_t bytes, void* out) const noexcept {
  if (values_.empty()) return false;
  std::memcpy(out, reinterpret_cast<const char*>(values_.data()) + at, static_cast<size_t>(bytes));
  return true;
}

bool ConvertingSource::read(int64_t at, int64_t bytes, void* out) const noexcept try {
  const int64_t wide = row_bytes(from_, cols_), narrow = row_bytes(to_, cols_);
  std::vector<char> stored(static_cast<size_t>(wide));
  std::vector<float> row(static_cast<size_t>(cols_));
  for (int64_t i = 0; i < bytes / narrow; ++i) {
    if (!plain_.read((at / narrow + i) * wide, wide, stored.data())) return false;
    dequantise_row(from_, stored.data(), cols_, row.data());
    char* const to = static_cast<char*>(out) + i * narrow;
    if (to_ == DType::kF32) {
      std::memcpy(to, row.data(), static_cast<size_t>(narrow));
    } else {
      quantise_row(to_, row.data(), cols_, to);
    }
  }
  return true;
} catch (...) {
  return false;  // no memory for a row
}

}  // namespace octavo
