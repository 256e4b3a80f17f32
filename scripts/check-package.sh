#!/usr/bin/env bash
# Makes a prebuilt addon, looks at what it asks of a machine, packs everything, and uses it as a
# stranger would: installed into an empty folder, where PATH has no compiler, no make, no Python;
# then with other releases of Node.js.
#   OCTAVO_NODES="22 24"   which Node.js from npm also runs it (about 100 MB each); default: those
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$root"
node scripts/prepare.mjs
node scripts/prebuild.mjs
node scripts/check-prebuilds.mjs

# The package with CUDA holds an addon without it here: what is tested is how they go together.
arch="$(node -p process.arch)"
plain="prebuilds/linux-$arch/octavo.glibc.node"
node scripts/pack.mjs "$work/packed" --cuda "linux-$arch=$plain"
ls -s --block-size=K "$work/packed"
version="$(node -p "require('./package.json').version")"
main="$work/packed/octavo-$version.tgz"
cuda="$work/packed/octavo-cuda-linux-$arch-$version.tgz"

# Nothing but Node.js and a shell.
mkdir "$work/bin" "$work/app"
for program in node npm npx sh env; do ln -s "$(command -v $program)" "$work/bin/$program"; done
bare() { env PATH="$work/bin" "$@"; }
for program in cmake g++ gcc cc c++ make python3; do
  if bare sh -c "command -v $program" >/dev/null; then
    echo "$program is in PATH, and must not be" >&2
    exit 1
  fi
done
cd "$work/app"
bare npm init -y >/dev/null
bare npm install --silent --no-audit --no-fund "$main"
bare npx octavo generate "Call me Ishmael." --temperature 0 --max-tokens 8
bare node --input-type=module -e "
  import { LLM } from 'octavo';
  const llm = await LLM.load();
  const { outputs } = await llm.generate('The sea', { maxTokens: 4, temperature: 0 });
  console.log('imported:', outputs[0].text);
  await llm.close();"
# The live page is one of its files.
node --input-type=module -e "
  import { LLM } from 'octavo';
  import { serve } from 'octavo/server';
  const llm = await LLM.load();
  const server = await serve(llm, { enableDashboard: true }, { port: 0 });
  const { status } = await fetch(server.url + '/dashboard');
  console.log('dashboard:', status);
  if (status !== 200) throw new Error('the package has no live page');
  await server.shutdown();
  await llm.close();"
# What a moment does not suffice for is read in a thread, of which the package has the file.
bare node --input-type=module -e "
  import { LLM } from 'octavo';
  const llm = await LLM.load();
  const grammar = await llm.compileGrammar({ regex: '\\\\p{Lu}+' });
  console.log('compiled:', await grammar.accepts('ÄÖÜ'));
  await llm.close();"
bare node -e "console.log('required:', typeof require('octavo').LLM.load)"

# Its install script is content with the prebuild, and without one says what is missing.
bare node node_modules/octavo/scripts/install.mjs
mv node_modules/octavo/prebuilds "$work/away"
if said="$(bare node node_modules/octavo/scripts/install.mjs 2>&1)"; then
  echo "the install script is content with nothing" >&2
  exit 1
fi
echo "$said"
grep -q 'cmake, g++, make is missing.*apt-get install.*ERR_NATIVE_MISSING' <<<"$said"
mv "$work/away" node_modules/octavo/prebuilds

# The same prebuild under other releases of Node.js.
use="const { LLM } = require('octavo');
  LLM.load().then(async (llm) => {
    const { outputs } = await llm.generate('The sea', { maxTokens: 4, temperature: 0 });
    console.log(process.version + ':', outputs[0].text);
    await llm.close();
  });"
for release in ${OCTAVO_NODES-22 24}; do
  tarball="$(npm pack --silent --pack-destination "$work" "node-linux-$arch@$release")"
  mkdir "$work/node$release"
  tar -xzf "$work/$tarball" -C "$work/node$release" package/bin/node
  bare "$work/node$release/package/bin/node" -e "$use"
done

# The package with CUDA is found where it belongs, and refused where its version is another.
bare npm install --silent --no-audit --no-fund "$cuda"
cat >which.mjs <<'JS'
import { nativeFile } from './node_modules/octavo/dist/native-file.js';
import { realpathSync } from 'node:fs';
const root = realpathSync('node_modules/octavo');
for (const driver of [false, true]) {
  try {
    const { path, from } = nativeFile(root, driver);
    console.log(driver ? 'driver:' : 'no driver:', from ?? 'octavo', path.slice(root.length - 6));
  } catch (error) {
    console.log(driver ? 'driver:' : 'no driver:', error.code, error.message);
  }
}
JS
node which.mjs | tee which
grep -q '^no driver: octavo ' which
grep -q "^driver: @octavo/cuda-linux-$arch " which
sed -i 's/"version": "[^"]*"/"version": "9.9.9"/' "node_modules/@octavo/cuda-linux-$arch/package.json"
node which.mjs | tee which
grep -q '^no driver: octavo ' which
grep -q '^driver: ERR_NATIVE_MISMATCH .*npm install @octavo/cuda-linux' which
