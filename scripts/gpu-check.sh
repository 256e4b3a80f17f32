#!/usr/bin/env bash
# Everything that only a GPU can show, on a bare NVIDIA host: run as ./bundle/gpu-check in the root
# of a checkout that `npm run bundle` has put its folder into.
#   gpu-check [checks|benches|all]     each step has its own time limit; `all` takes 15 minutes at most
# Results go to $OUT, or bundle/out: log.txt, checks.json, kernels.json, engine.json, sdpa.json.
set -uo pipefail
what="${1:-all}"
case "$what" in
  checks | benches | all) ;;
  *) echo "usage: gpu-check [checks|benches|all]"; exit 2 ;;
esac
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu-check: nvidia-smi finds no GPU here; this is for a host with an NVIDIA driver"
  exit 1
fi
repo="$(cd "$(dirname "$0")/.." && pwd)"
out="${OUT:-$repo/bundle/out}"
mkdir -p "$out"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xJf "$repo/bundle/runtime.tar.xz"
# The rest is tracked: linked beside what was packed.
for path in models test scripts package.json; do ln -s "$repo/$path" "$work/$path"; done
mkdir -p "$work/bench" && ln -s "$repo/bench/peers" "$work/bench/peers"
for path in build models; do ln -s "../$path" "$work/.bench/$path"; done
cd "$work"
export OCTAVO_KERNEL_BENCH="$work/build/testing/octavo_kernel_bench"
version="$(sed -n 's/.*"version": "\(.*\)".*/\1/p' package.json)"
failed=()

# step NAME SECONDS COMMAND…: a step that fails or runs out of time is noted, the others go on.
step() {
  local name="$1" limit="$2"
  shift 2
  printf '\n=== %s (%ss so far)\n' "$name" "$SECONDS"
  timeout "$limit" "$@" 2>&1
  local status=$?
  if [ "$status" -ne 0 ]; then
    echo "*** $name: exit status $status"
    failed+=("$name")
  fi
}

# A tool that cannot work on this host says so; a finding of it is a failure.
sanitizer() {
  local tool="$1"
  command -v compute-sanitizer >/dev/null || { echo "skipped: no compute-sanitizer"; return; }
  local log="$work/sanitizer.txt"
  timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 9 \
    build/testing/octavo_kernel_test --small --cases 3 "$RANDOM" >"$log" 2>&1
  local status=$?
  grep -E "ERROR SUMMARY|not supported|FAILED|Error|hazard" "$log" | head -12
  if grep -qi "not supported" "$log"; then
    echo "skipped: compute-sanitizer does not work on this host"
  elif [ "$status" -eq 124 ]; then
    echo "no finding within 60 s, not finished"
  elif [ "$status" -ne 0 ]; then
    return 1
  fi
}
export -f sanitizer
export work

main() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader
  nvcc --version 2>/dev/null | tail -1
  if [ "$what" != benches ]; then
    for seed in 1 2 3; do
      step "kernel tests, seed $seed" 60 build/testing/octavo_kernel_test --cases 60 "$seed"
    done
    step "engine end to end" 180 ./node .bench/bench/gpu-check.js --json "$out/checks.json"
    for tool in memcheck racecheck initcheck synccheck; do
      step "compute-sanitizer $tool" 70 bash -c "sanitizer $tool"
    done
  fi
  if [ "$what" != checks ]; then
    step "bench: kernels" 200 "$OCTAVO_KERNEL_BENCH" --version "$version" --json "$out/kernels.json"
    if python3 -c 'import torch' 2>/dev/null; then
      step "bench: contiguous attention by PyTorch" 90 \
        python3 bench/peers/sdpa.py --json "$out/sdpa.json"
    fi
    step "bench: engine, Llama-3-8B's shape" 270 \
      ./node .bench/bench/engine.js --device cuda --json "$out/engine.json"
  fi
  printf '\n=== summary\n'
  ./node scripts/gpu-summary.mjs "$out"
  if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}"
    return 1
  fi
}
main 2>&1 | tee "$out/log-$what.txt"
exit "${PIPESTATUS[0]}"
