// Where stored tensors come from: regular files, and what is done to their bytes on the way. None
// is mapped: a file that is cut or overwritten meanwhile gives an error, never a signal.
#pragma once

#include <string>
#include <vector>

#include "base/weight_source.h"
#include "model/spec.h"

namespace octavo {

// A regular file, open for reading.
class WeightFile {
 public:
  explicit WeightFile(const std::string& path);  // throws ERR_MODEL_NOT_FOUND / ERR_MODEL_FORMAT
  ~WeightFile();
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;
  int64_t bytes() const { return bytes_; }  // when it was opened
  const std::string& path() const { return path_; }
  // False if the file ends before, or cannot be read. From any thread.
  bool read(int64_t offset, int64_t bytes, void* out) const noexcept;
  // Has the system bring these bytes into memory by itself, so that whoever reads them waits less.
  void prefetch(int64_t begin, int64_t end) noexcept;
  // Throws ERR_MODEL_FORMAT if the file is not what it was when it was opened.
  void check_unchanged() const;

 private:
  std::string path_;
  int fd_ = -1;
  int64_t bytes_ = 0, prefetched_ = 0;
  int64_t changed_ = 0;  // as os::FileState has it
};

// Bytes of a row in the file.
inline int64_t stored_row_bytes(const TensorSpec& t) {
  if (t.dtype == DType::kNVFP4) return t.cols / 64 * Nvfp4Source::kBlockBytes;
  return row_bytes(t.dtype, t.cols);
}

// A tensor in its file, where runs of its rows may lie some rows apart.
class FileSource : public WeightSource {
 public:
  FileSource(const WeightFile& file, const TensorSpec& t)
      : file_(file),
        offset_(t.offset),
        run_(stored_row_bytes(t) * t.run),
        step_(stored_row_bytes(t) * t.step) {}
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;

 private:
  const WeightFile& file_;
  const int64_t offset_, run_, step_;  // in bytes
};

// A tensor whose file holds it turned around. Its rows lie scattered there, so it is turned in
// memory, as a whole, which is the price of one such matrix at a time.
class TurnedSource : public WeightSource {
 public:
  TurnedSource(const WeightFile& file, const TensorSpec& t);
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;

 private:
  std::vector<char> values_;  // [rows, cols], or nothing where the file could not be read
};

// The same of a quantised one, which becomes F32: `stored` is the matrix as it lies there,
// [t.cols, t.transposed_of].
class WidenedTurnedSource : public WeightSource {
 public:
  WidenedTurnedSource(const WeightSource& stored, const TensorSpec& t);
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;

 private:
  std::vector<float> values_;  // [rows, cols], or nothing where it could not be read
};

// Rows of a plain matrix in another type: quantised, or F32.
class ConvertingSource : public WeightSource {
 public:
  ConvertingSource(const WeightSource& plain, DType from, DType to, int64_t cols)
      : plain_(plain), from_(from), to_(to), cols_(cols) {}
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override;

 private:
  const WeightSource& plain_;
  const DType from_, to_;
  const int64_t cols_;
};

}  // namespace octavo
