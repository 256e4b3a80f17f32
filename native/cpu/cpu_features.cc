#include "cpu/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace octavo {

#if defined(__x86_64__)
namespace {
// A bit of leaf 7: register EDX of subleaf 0, or EAX of subleaf 1 (Intel's manual, CPUID).
bool leaf7(unsigned subleaf, bool edx, int bit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, subleaf, &a, &b, &c, &d) == 0) return false;
  return ((edx ? d : a) >> bit & 1u) != 0;
}
}  // namespace

bool cpu_has_amx_int8() { return leaf7(0, true, 24) && leaf7(0, true, 25); }
bool cpu_has_avx_vnni() { return leaf7(1, false, 4); }
bool cpu_has_avx512_bf16() { return leaf7(1, false, 5); }
bool cpu_has_dotprod() { return false; }
bool cpu_has_i8mm() { return false; }
#else
#if defined(__APPLE__)
static bool reported(const char* feature) {
  int has = 0;
  size_t bytes = sizeof(has);
  return sysctlbyname(feature, &has, &bytes, nullptr, 0) == 0 && has != 0;
}
#endif

bool cpu_has_amx_int8() { return false; }
bool cpu_has_avx_vnni() { return false; }
bool cpu_has_avx512_bf16() { return false; }
bool cpu_has_dotprod() {
#if defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  return reported("hw.optional.arm.FEAT_DotProd");
#else
  return false;
#endif
}
bool cpu_has_i8mm() {
#if defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#elif defined(__APPLE__)
  return reported("hw.optional.arm.FEAT_I8MM");
#else
  return false;
#endif
}
#endif

}  // namespace octavo
