// Recorded steps, replayed by key. Recordings take device memory when they are made, which is long
// after the KV cache has been sized: so they are few, measured before, and the least recently used
// one makes room. Where none can be made, a step runs unrecorded: the same bits, some microseconds
// later.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "kernels/runtime.h"

namespace octavo::device {

class StepGraphs {
 public:
  using Body = void (*)(void* argument);

  // Replays what body(argument) has put on the stream when it ran with this key; the first time it
  // is recorded.
  void run(int64_t key, cudaStream_t stream, Body body, void* argument);

  // Records body, finds what such a recording takes, and forgets it: nothing runs.
  void measure(cudaStream_t stream, Body body, void* argument);
  // Bytes of the device that recordings yet to come may take; 0 before measure().
  int64_t bytes_to_come() const;

 private:
  struct Destroy {
    void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
  };
  struct DestroyExec {
    void operator()(cudaGraphExec_t exec) const { static_cast<void>(cudaGraphExecDestroy(exec)); }
  };
  using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, Destroy>;
  using Exec = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyExec>;
  struct Recording {
    Exec exec;
    uint64_t last_used = 0;
  };

  static Graph capture(cudaStream_t stream, Body body, void* argument);
  static Exec instantiate(cudaGraph_t graph, cudaStream_t stream);
  Exec record(cudaStream_t stream, Body body, void* argument);
  void evict_oldest();

  // More than the padded sizes of decode steps up to 256 sequences; each has a few kinds.
  size_t max_recordings_ = 64;
  int64_t bytes_each_ = 0;
  uint64_t clock_ = 0;
  std::map<int64_t, Recording> recordings_;
};

}  // namespace octavo::device
