// Looks at what prebuilt addons ask of a machine (readelf, of any processor's): versions of glibc's
// symbols, libraries, and that they offer nothing but Node-API's two functions. Fails by name.
//   node scripts/check-prebuilds.mjs [file…]     default: all of prebuilds/ and prebuilds-cuda/
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './stamp.mjs';

/** The newest versions that a machine with glibc 2.28 (RHEL 8, Debian 10) and Node.js 20 has. */
const NEWEST = { GLIBC: [2, 28], GCC: [7, 0, 0] };
// Node.js itself loads all of them.
const GLIBC_LIBRARIES =
  /^(lib(c|m)\.so\.6|libgcc_s\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$/;
const CUDA_LIBRARIES = /^(libpthread\.so\.0|libdl\.so\.2|librt\.so\.1)$/;
const MUSL_LIBRARIES = /^(libc\.musl-(x86_64|aarch64)\.so\.1|libgcc_s\.so\.1)$/;
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
// Weak: what is not there stays null.
const OPTIONAL = /^(_ITM_(de)?registerTMCloneTable|__gmon_start__)$/;
const MACHINES = { x64: 'X86-64', arm64: 'AArch64' };

const newer = (version, limit) => {
  const parts = version.split('.').map(Number);
  const i = parts.findIndex((part, at) => part !== (limit[at] ?? 0));
  return i >= 0 && parts[i] > (limit[i] ?? 0);
};

/** What `readelf --file-header --dynamic --dyn-syms` says, in short. */
export function parseReadelf(text) {
  const machine = /Machine:\s+(.+)/.exec(text)?.[1] ?? '';
  const needed = [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
  const paths = [...text.matchAll(/\((RPATH|RUNPATH|TEXTREL)\)/g)].map(([, name]) => name);
  const symbols = [];
  for (const line of text.split('\n')) {
    const found = /^\s*\d+: \w+\s+\w+ \w+\s+(\w+)\s+\w+\s+(?:\[.*\]\s+)?(\w+)\s+(\S+)/.exec(line);
    if (!found || found[1] === 'LOCAL') continue;
    const [, binding, section, full] = found;
    const [name, version] = full.split(/@+/);
    symbols.push({ name, version, binding, undefined: section === 'UND' });
  }
  return { machine, needed, paths, symbols };
}

/** Sentences about what is wrong. `kind`: {arch, libc: 'glibc' | 'musl', cuda} */
export function faults({ machine, needed, paths, symbols }, { arch, libc, cuda }) {
  const wrong = [];
  if (!machine.includes(MACHINES[arch])) wrong.push(`is for ${machine}, not ${arch}`);
  for (const name of needed) {
    const known =
      libc === 'musl'
        ? MUSL_LIBRARIES.test(name)
        : GLIBC_LIBRARIES.test(name) || (cuda && CUDA_LIBRARIES.test(name));
    if (!known) wrong.push(`needs the library ${name}`);
  }
  for (const name of paths) wrong.push(`has a ${name}`);
  for (const { name, version, binding, undefined: missing } of symbols) {
    if (!missing) {
      if (!EXPORTS.includes(name)) wrong.push(`offers ${name}`);
    } else if (version) {
      const [, family, number] = /^([A-Z]+)_(\S+)$/.exec(version) ?? [];
      if (
        (libc === 'musl' && family !== 'GCC') ||
        !NEWEST[family] ||
        newer(number, NEWEST[family])
      ) {
        wrong.push(`needs ${name} of ${version}`);
      }
    } else if (libc === 'glibc' && !name.startsWith('napi_')) {
      if (binding !== 'WEAK' || !OPTIONAL.test(name)) wrong.push(`needs ${name}, of no version`);
    }
  }
  for (const name of EXPORTS) {
    if (!symbols.some((s) => s.name === name && !s.undefined)) wrong.push(`does not offer ${name}`);
  }
  return wrong;
}

/** From a path: …/linux-ARCH/octavo.LIBC.node, or …/linux-ARCH/octavo.node with CUDA. */
export function kindOf(path) {
  const found = /linux-(x64|arm64)\/octavo(?:\.(glibc|musl))?\.node$/.exec(path);
  if (!found) return undefined;
  return { arch: found[1], libc: found[2] ?? 'glibc', cuda: !found[2] };
}

function check(path) {
  const kind = kindOf(path);
  if (!kind) return [`is no name of a prebuild`];
  const args = ['--wide', '--file-header', '--dynamic', '--dyn-syms', path];
  const found = parseReadelf(execFileSync('readelf', args, { encoding: 'utf8', cwd: ROOT }));
  const wrong = faults(found, kind);
  const versions = found.symbols.map((s) => /^GLIBC_([\d.]+)$/.exec(s.version ?? '')?.[1]);
  const most = versions.filter(Boolean).reduce((a, b) => {
    return newer(b, a.split('.').map(Number)) ? b : a;
  }, '0');
  if (wrong.length === 0) {
    const asks = kind.libc === 'musl' ? 'musl' : `glibc ${most}`;
    console.log(`${path}: asks for ${asks}, ${found.needed.join(', ')}`);
  }
  return wrong;
}

function all() {
  return ['prebuilds', 'prebuilds-cuda'].flatMap((folder) =>
    existsSync(join(ROOT, folder))
      ? readdirSync(join(ROOT, folder), { recursive: true })
          .filter((name) => name.endsWith('.node'))
          .map((name) => join(folder, name))
      : [],
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const paths = process.argv.length > 2 ? process.argv.slice(2) : all();
  if (paths.length === 0) {
    console.error('octavo: no prebuilds here; run node scripts/prebuild.mjs');
    process.exit(1);
  }
  for (const path of paths) {
    for (const fault of check(path)) {
      console.error(`octavo: ${path} ${fault}`);
      process.exitCode = 1;
    }
  }
}
