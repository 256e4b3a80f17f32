#!/usr/bin/env bash
# The C++ tests for arm64 (NEON, the emulator's stack switch), cross-compiled and run under qemu.
# Needs Debian's g++-aarch64-linux-gnu and qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build-arm -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >/dev/null
cmake --build build-arm --parallel 2 --target octavo_simt_test octavo_cpu_test >/dev/null
for program in octavo_cpu_test "octavo_simt_test --small --only sample"; do
  # shellcheck disable=SC2086
  OCTAVO_EMULATED=1 timeout 1800 qemu-aarch64 -L /usr/aarch64-linux-gnu build-arm/testing/$program 7
done
