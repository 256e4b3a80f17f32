#include "model/weight_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/quants.h"

namespace octavo {

// Not blocking: a FIFO would wait for somebody who writes.
WeightFile::WeightFile(const std::string& path) : path_(path) {
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    throw Error(kErrModelNotFound, "cannot open " + path + ": " + std::strerror(errno));
  }
  struct stat st;
  if (fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
    close(fd_);
    throw Error(kErrModelFormat, path + " is not a regular file with something in it");
  }
  bytes_ = st.st_size;
  changed_ = st.st_mtim;
}

WeightFile::~WeightFile() { close(fd_); }

bool WeightFile::read(int64_t offset, int64_t bytes, void* out) const noexcept {
  char* at = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t n = pread(fd_, at, static_cast<size_t>(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
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
  posix_fadvise(fd_, begin, end - begin, POSIX_FADV_WILLNEED);
}

void WeightFile::check_unchanged() const {
  struct stat st;
  const bool same = fstat(fd_, &st) == 0 && st.st_size == bytes_ &&
                    st.st_mtim.tv_sec == changed_.tv_sec && st.st_mtim.tv_nsec == changed_.tv_nsec;
  if (!same) {
    throw Error(kErrModelFormat, path_ + " was changed while it was read; load it anew");
  }
}

bool FileSource::read(int64_t at, int64_t bytes, void* out) const noexcept {
  if (step_ == 1) return file_.read(offset_ + at, bytes, out);
  char* to = static_cast<char*>(out);
  while (bytes > 0) {
    const int64_t row = at / row_, inside = at % row_, n = std::min(bytes, row_ - inside);
    if (!file_.read(offset_ + row * step_ * row_ + inside, n, to)) return false;
    at += n, to += n, bytes -= n;
  }
  return true;
}

bool SplitMxfp4Source::read(int64_t at, int64_t bytes, void* out) const noexcept try {
  const int64_t blocks = t_.cols / 32, row = row_bytes(DType::kMXFP4, t_.cols);
  std::vector<uint8_t> codes(static_cast<size_t>(16 * blocks)), scales(static_cast<size_t>(blocks));
  uint8_t* to = static_cast<uint8_t*>(out);
  for (int64_t r = at / row; r < (at + bytes) / row; ++r) {
    const int64_t stored = r * t_.step * blocks;
    if (!codes_.read(t_.offset + 16 * stored, 16 * blocks, codes.data())) return false;
    if (!scales_.read(t_.scales_offset + stored, blocks, scales.data())) return false;
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* const pairs = codes.data() + 16 * b;  // value i in half i % 2 of byte i / 2
      *to++ = scales[static_cast<size_t>(b)];
      for (int i = 0; i < 16; ++i) {  // values i and 16 + i
        const int shift = 4 * (i % 2);
        *to++ = static_cast<uint8_t>((pairs[i / 2] >> shift & 15) | (pairs[8 + i / 2] >> shift & 15)
                                                                        << 4);
      }
    }
  }
  return true;
} catch (...) {
  return false;  // no memory for a row
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
      const char* from = part.data() + (t.transposed_from + r * t.step) * value;
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
