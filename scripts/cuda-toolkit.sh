#!/usr/bin/env bash
# Prints the folder of a CUDA toolkit: that of nvcc in PATH or /usr/local/cuda, else NVIDIA's
# compiler from PyPI, which is put into a cache outside the tree (270 MB). Fails where none is to be
# had.
set -euo pipefail
PATH="$PATH:/usr/local/cuda/bin"
if nvcc="$(command -v nvcc)"; then
  dirname "$(dirname "$(readlink -f "$nvcc")")"
  exit
fi
cache="${XDG_CACHE_HOME:-$HOME/.cache}/octavo/cuda-13.0"
toolkit="$cache/nvidia/cu13"
if [ ! -x "$toolkit/lib64/../bin/nvcc" ]; then
  rm -rf "$cache"
  python3 -m pip install --quiet --no-deps --target "$cache" "nvidia-cuda-nvcc==13.0.*" \
    "nvidia-cuda-crt==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-cuda-runtime==13.0.*" \
    "nvidia-cuda-cccl==13.0.*" >&2
  ln -s libcudart.so.13 "$toolkit/lib/libcudart.so"
  ln -s lib "$toolkit/lib64" # the last: with it the folder is whole
fi
echo "$toolkit"
