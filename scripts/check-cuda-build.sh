#!/usr/bin/env bash
# Builds the addon with all CUDA targets beside the usual build, compares registers with their
# budget (--write renews it), and loads the addon without a driver. Where nvcc is missing,
# scripts/cuda-toolkit.sh gets it.
set -euo pipefail
cd "$(dirname "$0")/.."
CUDAToolkit_ROOT="$(scripts/cuda-toolkit.sh)"
CUDACXX="$CUDAToolkit_ROOT/bin/nvcc"
export CUDAToolkit_ROOT CUDACXX
archs="80-real;86-real;89-real;90a-real;90-virtual"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
node node_modules/cmake-js/bin/cmake-js compile -O build-cuda -T octavo --log-level error \
  "--CDOCTAVO_CUDA_ARCHS=$archs" >"$log" 2>&1 || { tail -100 "$log"; exit 1; }
# Incremental builds check what they compiled.
node scripts/check-registers.mjs "$log" "$@"
addon="$PWD/build-cuda/Release/octavo.node"
node -e "
  new (require('$addon').Executor)().probe().then((probe) => {
    if (probe.kind !== 'cuda') throw new Error('built without CUDA');
    console.log('CUDA addon loads:', JSON.stringify(probe));
  });"
size=$(stat -c %s "$addon")
echo "addon with CUDA: $size bytes"
[ "$size" -le $((60 * 1024 * 1024)) ]
