// Planted bugs: each must be reported by the emulator, or by the sanitizer that the program is
// built with. `octavo_simt_test --bug NAME` runs one; it may abort, that is the point.
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernels/launch.cuh"
#include "kernels/mma.cuh"
#include "native/kernel_test.h"

namespace octavo::test {
namespace {

using device::kAllLanes;

void half_of_warp_shuffles(float* out) {
  float v = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 16) v += __shfl_xor_sync(kAllLanes, v, 1);
  out[threadIdx.x] = v;
}

void shuffles_at_two_places(float* out) {
  float v = static_cast<float>(threadIdx.x);
  if (threadIdx.x % 2 == 0) {
    v += __shfl_xor_sync(kAllLanes, v, 2);
  } else {
    v -= __shfl_xor_sync(kAllLanes, v, 4);
  }
  out[threadIdx.x] = v;
}

void lane_outside_its_mask(float* out) { out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1); }

void barriers_at_two_places(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 0;
}

void lane_leaves_before_a_shuffle(float* out) {
  if (threadIdx.x == 3) return;
  out[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1.0f, 1);
}

// Lanes that trust in lockstep: each reads what its neighbour wrote.
void no_syncwarp(float* out) {
  OCTAVO_SHARED(memory);
  float* s = reinterpret_cast<float*>(memory);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[threadIdx.x ^ 1];
}

void no_syncthreads(float* out) {
  OCTAVO_SHARED(memory);
  float* s = reinterpret_cast<float*>(memory);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[(threadIdx.x + 33) % blockDim.x];
}

void shared_memory_overrun(float* out) {
  OCTAVO_SHARED(memory);
  float* s = reinterpret_cast<float*>(memory);
  s[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}

void device_memory_overrun(float* out) { out[threadIdx.x + 1] = 1; }

void read_before_wait(float* out, const float* in) {
  OCTAVO_SHARED(memory);
  float* s = reinterpret_cast<float*>(memory);
  device::async_copy16(s + 4 * threadIdx.x, in + 4 * threadIdx.x, true);
  device::async_commit();
  __syncthreads();
  out[threadIdx.x] = s[4 * threadIdx.x];
  device::async_wait<0>();
}

// Overwrites what another copy's target still holds for a reader: seen when copies come early.
void target_still_read(float* out, const float* in) {
  OCTAVO_SHARED(memory);
  float* s = reinterpret_cast<float*>(memory);
  for (int i = 0; i < 4; i++) s[4 * threadIdx.x + i] = 1;
  __syncwarp();
  device::async_copy16(s + 4 * threadIdx.x, in + 4 * threadIdx.x, false);
  device::async_commit();
  out[threadIdx.x] = s[4 * threadIdx.x];
  device::async_wait<0>();
}

void misaligned_async_copy(float* out, const float* in) {
  OCTAVO_SHARED(memory);
  device::async_copy16(memory + 16 * threadIdx.x, in + 1, true);
  device::async_commit();
  device::async_wait<0>();
  out[threadIdx.x] = 0;
}

void misaligned_vector(float* out, const float* in) {
  out[threadIdx.x] = reinterpret_cast<const float4*>(in + 2)->x;
}

void rows_in_one_bank(float* out) {
  OCTAVO_SHARED(memory);
  uint32_t fragment[4];
  device::ldmatrix(fragment, memory + threadIdx.x % 8 * 256 + threadIdx.x / 8 * 16);
  out[threadIdx.x] = static_cast<float>(fragment[0]);
}

}  // namespace

// Prints how many values of out[0..32) are not what a sound kernel would leave there.
int run_planted_bug(const std::string& name) {
  const auto backend = make_device_backend({});
  const Ops& ops = backend->ops();
  const Memory in = put(ops, std::vector<float>(2048, 1.0f));
  const Memory out = put(ops, std::vector<float>(64, NAN));
  float* o = out.as<float>();
  const float* i = in.as<float>();
  struct Bug {
    const char* name;
    unsigned threads, shared_bytes;
    std::function<void()> kernel;
  };
  const Bug bugs[] = {
      {"half-of-warp-shuffles", 32, 0, [=] { half_of_warp_shuffles(o); }},
      {"shuffles-at-two-places", 32, 0, [=] { shuffles_at_two_places(o); }},
      {"lane-outside-its-mask", 32, 0, [=] { lane_outside_its_mask(o); }},
      {"barriers-at-two-places", 64, 0, [=] { barriers_at_two_places(o); }},
      {"lane-leaves-before-a-shuffle", 32, 0, [=] { lane_leaves_before_a_shuffle(o); }},
      {"no-syncwarp", 32, 128, [=] { no_syncwarp(o); }},
      {"no-syncthreads", 64, 256, [=] { no_syncthreads(o); }},
      {"shared-memory-overrun", 32, 128, [=] { shared_memory_overrun(o); }},
      {"device-memory-overrun", 32, 0, [=] { device_memory_overrun(o + 63); }},
      {"read-before-wait", 32, 512, [=] { read_before_wait(o, i); }},
      {"target-still-read", 32, 512, [=] { target_still_read(o, i); }},
      {"misaligned-async-copy", 32, 512, [=] { misaligned_async_copy(o, i); }},
      {"misaligned-vector", 32, 0, [=] { misaligned_vector(o, i); }},
      {"rows-in-one-bank", 32, 4096, [=] { rows_in_one_bank(o); }},
      {"too-many-threads", 1025, 0, [] {}},
      {"too-much-shared-memory", 32, 233473, [] {}},
      {"none", 32, 0, [=] { o[threadIdx.x] = 1; }},
  };
  for (const Bug& bug : bugs) {
    if (bug.name != name) continue;
    simt::run_grid(1, bug.threads, bug.shared_bytes, bug.kernel);
    int wrong = 0;
    const auto got = out.read<float>();
    for (int k = 0; k < 32; k++) wrong += got[k] != 1;
    std::printf("%d wrong, %llu bank conflicts\n", wrong,
                static_cast<unsigned long long>(simt::stats().bank_conflicts));
    return 0;
  }
  std::printf("there is no bug of this name\n");
  return 2;
}

}  // namespace octavo::test
