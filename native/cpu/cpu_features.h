// What GCC 12's __builtin_cpu_supports does not know.
#pragma once

namespace octavo {

bool cpu_has_amx_int8();
bool cpu_has_avx_vnni();
bool cpu_has_avx512_bf16();
bool cpu_has_dotprod();
bool cpu_has_i8mm();

}  // namespace octavo
