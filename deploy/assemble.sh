#!/usr/bin/env bash
# Makes the folder that an image is made of: the package as npm would publish it, with an addon
# that is compiled here, and beside it what it depends on, by the lock file.
#   deploy/assemble.sh /opt/octavo     OCTAVO_CUDA=all: with CUDA, which takes nvcc
set -euo pipefail
mkdir -p "$1"
target="$(cd "$1" && pwd)"
cd "$(dirname "$0")/.."
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund
npm run --silent build:ts
if [ "${OCTAVO_CUDA:-off}" = all ]; then
  node scripts/prebuild.mjs --cuda
  arch="$(node -p process.arch)"
  mkdir -p "prebuilds/linux-$arch"
  cp "prebuilds-cuda/linux-$arch/octavo.node" "prebuilds/linux-$arch/octavo.glibc.node"
else
  node scripts/prebuild.mjs
fi
pack="$(mktemp -d)"
trap 'rm -rf "$pack"' EXIT
npm pack --silent --ignore-scripts --pack-destination "$pack"
tar -xzf "$pack"/*.tgz -C "$target" --strip-components 1
cp package-lock.json "$target"
cd "$target"
npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# Optional, and nothing without a tracer: with it, `NODE_OPTIONS=--import …` can register one.
npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund @opentelemetry/api@1
