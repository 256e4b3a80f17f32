// Weights on their way to a device: read piece by piece, brought into the form that kernels read,
// and sent while the next piece is read.
#include <algorithm>

#include "base/half.h"
#include "base/quants.h"
#include "kernels/device_context.h"

namespace octavo::device {
namespace {

constexpr size_t kStagingBytes = size_t{8} << 20;
constexpr int64_t kPiece = int64_t{1} << 20;  // values converted at a time

// fn(first row, number of rows, their bytes), a multiple of `multiple` rows but for the last; false
// where the source failed.
template <class Fn>
bool for_each_piece(const Tensor& stored, const WeightSource& source, int64_t multiple, Fn fn) {
  const int64_t at_once = std::max<int64_t>(1, kPiece / stored.cols / multiple) * multiple;
  std::vector<char> bytes;
  for (int64_t row = 0; row < stored.rows; row += at_once) {
    const int64_t n = std::min(at_once, stored.rows - row);
    bytes.resize(static_cast<size_t>(n * stored.stride_bytes()));
    const int64_t size = static_cast<int64_t>(bytes.size());
    if (!source.read(row * stored.stride_bytes(), size, bytes.data())) return false;
    fn(row, n, bytes);
  }
  return true;
}

}  // namespace

// Through page-locked memory, two pieces in turn: one is read from its source while the other
// travels. False if the source failed.
bool DeviceContext::upload(const WeightSource& source, int64_t bytes, char* target) {
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(kStagingBytes)) {
    const size_t piece = std::min(kStagingBytes, static_cast<size_t>(bytes - at));
    const int i = next_staging_;
    next_staging_ ^= 1;
    if (staging_[i].data() == nullptr) staging_[i] = PinnedMemory(kStagingBytes, "staging memory");
    check_cuda(cudaEventSynchronize(staged_[i]), "uploading weights");
    if (!source.read(at, static_cast<int64_t>(piece), staging_[i].data())) return false;
    check_cuda(
        cudaMemcpyAsync(target + at, staging_[i].data(), piece, cudaMemcpyHostToDevice, stream),
        "uploading weights");
    check_cuda(cudaEventRecord(staged_[i], stream), "uploading weights");
  }
  return true;
}
void DeviceContext::upload(const std::vector<unsigned char>& bytes, char* target) {
  upload(MemorySource(bytes.data()), static_cast<int64_t>(bytes.size()), target);
}

// Everything that does not stay packed becomes the activations' type.
bool DeviceContext::load_plain(const Tensor& stored, const WeightSource& source, char* target) {
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  return for_each_piece(stored, source, 1, [&](int64_t row, int64_t n, const auto& bytes) {
    floats.resize(static_cast<size_t>(n * stored.cols));
    dequantise_row(stored.dtype, bytes.data(), n * stored.cols, floats.data());
    halves.clear();
    for (const float f : floats) {
      halves.push_back(options.dtype == DType::kF16 ? float_to_half(f) : float_to_bf16(f));
    }
    upload(MemorySource(halves.data()), n * stored.cols * 2, target + row * stored.cols * 2);
  });
}

// Q8_0 and Q4_0 are taken apart into bytes and scales.
bool DeviceContext::load_codes(const Tensor& stored, const WeightSource& source, char* target) {
  std::vector<unsigned char> codes, scales;
  return for_each_piece(stored, source, 1, [&](int64_t row, int64_t, const auto& bytes) {
    codes.clear();
    scales.clear();
    const auto block = static_cast<size_t>(block_bytes(stored.dtype));
    for (size_t at = 0; at < bytes.size(); at += block) {
      scales.insert(scales.end(), &bytes[at], &bytes[at] + 2);
      codes.insert(codes.end(), &bytes[at] + 2, &bytes[at] + block);
    }
    const int64_t first = row * stored.cols;
    upload(codes, target + quantised_bytes(stored.dtype, first));
    upload(scales, target + scales_offset(stored) + first / 32 * 2);
  });
}

bool DeviceContext::load_tiles(const Tensor& stored, const WeightSource& source, char* target) {
  const PackedPlanes planes(stored.dtype, stored.rows, stored.cols);
  PackedRows packed;
  return for_each_piece(stored, source, kTileRows, [&](int64_t row, int64_t n, const auto& bytes) {
    pack_rows(stored.dtype, bytes.data(), n, stored.cols, &packed);
    upload(packed.codes, target + planes.codes_before(row));
    upload(packed.high, target + planes.high_at() + planes.high_before(row));
    upload(packed.scales, target + planes.scales_at() + planes.scales_before(row));
  });
}

Tensor DeviceContext::load_weight(Tensor stored, const WeightSource& source, void* memory) {
  char* const target = static_cast<char*>(memory);
  Tensor out{memory, options.dtype, stored.rows, stored.cols};
  bool loaded;
  if (stored.dtype == options.dtype) {
    loaded = upload(source, stored.bytes(), target);
  } else if (has_tiles(stored.dtype) || has_rows_of_codes(stored.dtype)) {
    out.dtype = stored.dtype;
    loaded = has_tiles(stored.dtype) ? load_tiles(stored, source, target)
                                     : load_codes(stored, source, target);
  } else {
    loaded = load_plain(stored, source, target);
  }
  return loaded ? out : Tensor{};
}

}  // namespace octavo::device
