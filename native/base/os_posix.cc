#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/os.h"
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif

namespace octavo::os {

void* map_zeros(size_t bytes) noexcept {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

void unmap(void* data, size_t bytes) noexcept { munmap(data, bytes); }

void prefer_large_pages(void* data, size_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  const uintptr_t page = 4096, at = reinterpret_cast<uintptr_t>(data), begin = at / page * page;
  madvise(reinterpret_cast<void*>(begin), bytes + (at - begin), MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

void* allocate_aligned(size_t bytes) noexcept {
  void* data = nullptr;
  return posix_memalign(&data, 64, bytes) == 0 ? data : nullptr;
}

void free_aligned(void* data) noexcept { std::free(data); }

int usable_cores() noexcept {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

// Linux grants tiles to processes that ask (arch_prctl(2)).
bool request_tiles() noexcept {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Not blocking: a FIFO would wait for somebody who writes.
int open_file(const char* path) noexcept { return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); }

void close_file(int file) noexcept { close(file); }

bool file_state(int file, FileState* state) noexcept {
  struct stat st;
  if (fstat(file, &st) != 0) return false;
#if defined(__APPLE__)
  const struct timespec changed = st.st_mtimespec;
#else
  const struct timespec changed = st.st_mtim;
#endif
  *state = {S_ISREG(st.st_mode), static_cast<int64_t>(st.st_size),
            int64_t{changed.tv_sec} * 1'000'000'000 + changed.tv_nsec};
  return true;
}

int64_t read_file(int file, int64_t offset, size_t bytes, void* out) noexcept {
  ssize_t n;
  do n = pread(file, out, bytes, offset);
  while (n < 0 && errno == EINTR);
  return n;
}

void prefetch_file(int file, int64_t offset, int64_t bytes) noexcept {
#if defined(__APPLE__)
  struct radvisory wanted = {offset, static_cast<int>(bytes < INT32_MAX ? bytes : INT32_MAX)};
  fcntl(file, F_RDADVISE, &wanted);
#else
  posix_fadvise(file, offset, bytes, POSIX_FADV_WILLNEED);
#endif
}

}  // namespace octavo::os
#endif
