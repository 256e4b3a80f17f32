#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <fcntl.h>
#include <io.h>
#include <malloc.h>
#include <sys/stat.h>
#include <windows.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>

#include "base/os.h"

namespace octavo::os {

void* map_zeros(size_t bytes) noexcept {
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap(void* data, size_t) noexcept { VirtualFree(data, 0, MEM_RELEASE); }

void prefer_large_pages(void*, size_t) noexcept {}

void* allocate_aligned(size_t bytes) noexcept { return _aligned_malloc(bytes, 64); }

void free_aligned(void* data) noexcept { _aligned_free(data); }

int usable_cores() noexcept {
  DWORD_PTR own = 0, all = 0;
  int cores = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all)) {
    for (; own != 0; own &= own - 1) cores++;
  }
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  return cores == 0 ? 1 : cores;
}

bool request_tiles() noexcept { return false; }

int open_file(const char* path) noexcept try {
  const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, nullptr, 0);
  if (length == 0) {
    errno = EINVAL;
    return -1;
  }
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path, -1, wide.data(), length);
  return _wopen(wide.c_str(), _O_RDONLY | _O_BINARY | _O_NOINHERIT);
} catch (...) {
  errno = ENOMEM;
  return -1;
}

void close_file(int file) noexcept { _close(file); }

bool file_state(int file, FileState* state) noexcept {
  const HANDLE handle = reinterpret_cast<HANDLE>(_get_osfhandle(file));
  BY_HANDLE_FILE_INFORMATION found;
  if (GetFileType(handle) != FILE_TYPE_DISK || !GetFileInformationByHandle(handle, &found)) {
    return false;
  }
  const auto joined = [](DWORD high, DWORD low) {
    return static_cast<int64_t>(uint64_t{high} << 32 | low);
  };
  *state = {(found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0,
            joined(found.nFileSizeHigh, found.nFileSizeLow),
            joined(found.ftLastWriteTime.dwHighDateTime, found.ftLastWriteTime.dwLowDateTime)};
  return true;
}

int64_t read_file(int file, int64_t offset, size_t bytes, void* out) noexcept {
  OVERLAPPED at = {};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  const DWORD wanted = static_cast<DWORD>(std::min<size_t>(bytes, size_t{1} << 30));
  DWORD n = 0;
  const HANDLE handle = reinterpret_cast<HANDLE>(_get_osfhandle(file));
  if (ReadFile(handle, out, wanted, &n, &at)) return n;
  return GetLastError() == ERROR_HANDLE_EOF ? 0 : -1;
}

void prefetch_file(int, int64_t, int64_t) noexcept {}

}  // namespace octavo::os
#endif
