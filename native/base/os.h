// What differs between operating systems: memory, files, cores, libraries. Linux and macOS are in
// os_posix.cc, Windows in os_windows.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo::os {

// Pages of zeros that take memory only once touched, or nullptr; `unmap` takes the same size.
void* map_zeros(size_t bytes) noexcept;
void unmap(void* data, size_t bytes) noexcept;
// A hint: this is read from end to end again and again, so pages may be large ones.
void prefer_large_pages(void* data, size_t bytes) noexcept;

// Memory at a multiple of 64 bytes, of a size that is one, too; nullptr where there is none.
void* allocate_aligned(size_t bytes) noexcept;
void free_aligned(void* data) noexcept;

// Cores that this process may use, where the system says so: a container or taskset may grant
// fewer than the machine has. Else all of them; at least 1.
int usable_cores() noexcept;

// Asks for the tile registers of AMX. False where the system has no way to grant them.
bool request_tiles() noexcept;

// A regular file, or what else lies there: opened without waiting for anybody who writes. A path is
// UTF-8. Negative where it cannot be opened; then `errno` says why.
int open_file(const char* path) noexcept;
void close_file(int file) noexcept;

struct FileState {
  bool regular = false;
  int64_t bytes = 0;
  int64_t changed = 0;  // when it was last written to, in nanoseconds (Windows: in units of 100)
};
bool file_state(int file, FileState* state) noexcept;
// Bytes read, 0 at the end, negative for an error. From any thread.
int64_t read_file(int file, int64_t offset, size_t bytes, void* out) noexcept;
// Has the system bring these bytes into memory by itself.
void prefetch_file(int file, int64_t offset, int64_t bytes) noexcept;

}  // namespace octavo::os
