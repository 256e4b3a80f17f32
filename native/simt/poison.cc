#include "simt/poison.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace simt {

namespace {

// A device takes most of its memory and touches little of it: what is large is a mapping of one
// file of poison over and over, of which a page costs nothing before it is written.
constexpr size_t kFileBytes = size_t{16} << 20;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kMappedFrom = SIZE_MAX;  // the sanitizers watch the heap
#else
constexpr size_t kMappedFrom = size_t{1} << 20;
#endif

std::mutex g_mutex;
std::map<void*, size_t> g_mapped;

int poison_file() {
  static const int file = [] {
    const int fd = memfd_create("poison", MFD_CLOEXEC);
    const std::vector<char> poison(kFileBytes, '\xFF');
    const bool whole = fd >= 0 && write(fd, poison.data(), kFileBytes) == ssize_t{kFileBytes};
    return whole ? fd : -1;
  }();
  return file;
}

void* map_poison(size_t bytes) {
  const int file = poison_file();
  if (file < 0) return nullptr;
  constexpr int kAccess = PROT_READ | PROT_WRITE;
  // The whole at once first: that nothing else lies in between.
  void* const data =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  for (size_t at = 0; at < bytes; at += kFileBytes) {
    void* const part = static_cast<char*>(data) + at;
    const size_t part_bytes = std::min(kFileBytes, bytes - at);
    if (mmap(part, part_bytes, kAccess, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED) {
      munmap(data, bytes);
      return nullptr;
    }
  }
  return data;
}

}  // namespace

void* allocate_poisoned(size_t bytes) {
  void* data = nullptr;
  if (bytes < kMappedFrom) {
    if (posix_memalign(&data, 256, bytes) != 0) return nullptr;
    std::memset(data, 0xFF, bytes);
    return data;
  }
  data = map_poison(bytes);
  if (data == nullptr) return nullptr;
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_mapped[data] = bytes;
  return data;
}

void free_poisoned(void* data) {
  const std::lock_guard<std::mutex> lock(g_mutex);
  const auto it = g_mapped.find(data);
  if (it == g_mapped.end()) return std::free(data);
  munmap(data, it->second);
  g_mapped.erase(it);
}

}  // namespace simt
