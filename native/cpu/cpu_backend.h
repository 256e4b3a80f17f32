// The CPU backend: a filled Ops table and what lies behind its context.
#pragma once

#include <memory>

#include "backend.h"
#include "cpu/cpu_ops.h"
#include "ops.h"

namespace octavo {

class CpuBackend : public Backend {
 public:
  // Instruction sets that this build has and this machine runs, best first; ends with null.
  static const char* const* available_isas();

  // num_threads counts the calling thread; 0 = every core this process may use. isa: one of
  // available_isas(), or null for the best. Throws ERR_INVALID_OPTION.
  static std::unique_ptr<CpuBackend> create(int num_threads, const char* isa = nullptr,
                                            Rounding rounding = {});

  const Ops& ops() const override { return ops_; }
  int num_threads() const override { return context_.pool.num_threads(); }

 private:
  explicit CpuBackend(int num_threads);

  CpuContext context_;
  Ops ops_;
};

}  // namespace octavo
