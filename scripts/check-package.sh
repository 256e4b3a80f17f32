#!/usr/bin/env bash
# Packs the package, installs the tarball into an empty project and uses it from there.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$root"
tarball="$(npm pack --silent --pack-destination "$work" | tail -n 1)"
cd "$work"
npm init -y >/dev/null
npm install --silent "./$tarball"
npx octavo generate "Call me Ishmael." --temperature 0 --max-tokens 8
node --input-type=module -e "
  import { LLM } from 'octavo';
  const llm = await LLM.load();
  const { outputs } = await llm.generate('The sea', { maxTokens: 4, temperature: 0 });
  console.log('imported:', outputs[0].text);
  await llm.close();"
node -e "console.log('required:', typeof require('octavo').LLM.load)"
