/** The manners of the house that a machine can check. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../lib/errors.js';
import { FORMATS } from '../lib/grammar/schema/formats.js';
import { GGUF_FAMILIES, HF_FAMILIES } from '../lib/model/families/index.js';
import { native } from '../lib/native.js';
import { ROOT } from './support/addon.js';

function* walk(folder: string): Generator<string> {
  for (const name of readdirSync(join(ROOT, folder)).sort()) {
    const path = join(folder, name);
    if (path.includes('fixtures') || name === 'node_modules') continue;
    if (statSync(join(ROOT, path)).isDirectory()) yield* walk(path);
    else if (/\.(ts|mjs|cjs|js|cc|cu|cuh|h)$/.test(name)) yield path;
  }
}

const FOLDERS = ['lib', 'native', 'test', 'bench', 'scripts', 'bin', 'examples', 'docs/tools'];
const files = FOLDERS.flatMap((folder) => [...walk(folder)]);
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const sources = new Map(files.map((path) => [path, read(path).split('\n')]));

describe('size', () => {
  const widest = (path: string) => (path.startsWith('test/') ? 120 : 100);

  it('lines have at most 100 columns, 120 in tests', () => {
    const long = [...sources].flatMap(([path, lines]) =>
      lines.flatMap((line, i) => ([...line].length > widest(path) ? [`${path}:${i + 1}`] : [])),
    );
    expect(long).toEqual([]);
  });

  it('files have about 400 lines, tests 500', () => {
    const large = [...sources].filter(
      ([path, lines]) => lines.length > (path.startsWith('test/') ? 500 : 440),
    );
    expect(large.map(([path, lines]) => `${path}: ${lines.length}`)).toEqual([]);
  });

  it('functions have about 70 lines', () => {
    const long: string[] = [];
    for (const [path, lines] of sources) {
      if (path.startsWith('test/')) continue;
      lines.forEach((line, i) => {
        const [, indent, rest] = /^( *)(\S.*[({].*\{)$/.exec(line) ?? [];
        if (rest === undefined || !rest.includes('(')) return;
        if (/^(if|for|while|switch|namespace|struct|class|else|export class)\b|^[:}]/.test(rest)) {
          return;
        }
        // The last of a constructor's initialisers ends before its body does.
        if (/^\w+_\(.*\) \{$/.test(rest)) return;
        const end = lines.findIndex((l, j) => j > i && l.startsWith(`${indent}}`));
        if (end - i > 75) long.push(`${path}:${i + 1} (${end - i} lines)`);
      });
    }
    expect(long).toEqual([]);
  });
});

it('versions of Node.js: those whose require() takes ES modules, wherever they are named', () => {
  const engines = { node: '^20.19.0 || >=22.12.0' };
  expect(JSON.parse(read('package.json')).engines).toEqual(engines);
  expect(JSON.parse(read('package-lock.json')).packages[''].engines).toEqual(engines);
  expect(read('README.md')).toContain('Node.js 20.19, 22.12 or later');
});

it('the README lists the formats that are enforced', () => {
  const [, list] = /The `format`s ([^;]*) are enforced/.exec(read('README.md'))!;
  const named = [...list.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
  expect(named.toSorted()).toEqual([...FORMATS.keys()].toSorted());
});

describe('import arrows', () => {
  // Room → rooms it may import, itself aside.
  const TS: Record<string, string[]> = {
    arguments: ['errors'],
    core: ['errors', 'arguments'],
    wire: ['errors', 'core'],
    text: ['errors', 'arguments'],
    model: ['errors', 'arguments', 'native', 'wire'],
    grammar: ['errors', 'arguments'],
    tools: ['errors', 'arguments', 'text', 'grammar'],
    engine: [
      ...['errors', 'arguments', 'config', 'native', 'core', 'wire', 'text', 'model'],
      ...['grammar', 'tools', 'hub'],
    ],
    hub: ['errors', 'config'],
    loadgen: ['errors'],
    batch: ['errors', 'loadgen', 'text'],
    queue: ['errors', 'loadgen', 'batch'],
    server: ['errors', 'config', 'core', 'engine', 'text', 'tools'],
    cli: [
      ...['errors', 'config', 'core', 'engine', 'model', 'text', 'server', 'loadgen', 'batch'],
      'queue',
    ],
    errors: [],
    config: ['errors', 'arguments'],
    native: [
      ...['errors', 'core', 'wire', 'native-device', 'native-grammar', 'native-spec'],
      ...['native-file', 'native-weights'],
    ],
    'native-device': [],
    'native-file': ['errors'],
    'native-grammar': [],
    'native-spec': [],
    'native-weights': [],
    index: ['errors', 'config', 'core', 'engine', 'text', 'tools', 'hub'],
  };
  // native.ts is for two places only; types may be named anywhere that knows it.
  const NATIVE_USERS = ['lib/engine/', 'lib/model/'];

  const roomOf = (path: string) => relative('lib', path).replace(/\.ts$/, '').split('/')[0];

  it('of lib/', () => {
    const wrong: string[] = [];
    for (const [path, lines] of sources) {
      if (!path.startsWith('lib/')) continue;
      const room = roomOf(path);
      for (const [, from] of lines.join('\n').matchAll(/from '(\.[^']+)'/g)) {
        const target = join(dirname(path), from).replace(/\.js$/, '.ts');
        const to = roomOf(target);
        if (to !== room && !TS[room]?.includes(to)) wrong.push(`${path} → ${target}`);
        if (to === 'native' && !NATIVE_USERS.some((user) => path.startsWith(user))) {
          wrong.push(`${path} → native`);
        }
      }
      if (room !== 'config' && lines.some((line) => line.includes('process.env'))) {
        wrong.push(`${path} reads process.env`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('form no circle, types included', () => {
    const scripts = files.filter((path) => path.endsWith('.ts'));
    const importsOf = new Map(
      scripts.map((path) => [
        path,
        [...read(path).matchAll(/(?:from|import)[ (]+'(\.[^']+)'/g)].map(([, to]) =>
          join(dirname(path), to).replace(/\.js$/, '.ts'),
        ),
      ]),
    );
    /** Whatever can be reached from here, each with who imports it: breadth first. */
    const reach = (start: string) => {
      const by = new Map<string, string>();
      const queue = [start];
      for (const path of queue) {
        for (const to of importsOf.get(path) ?? []) {
          if (by.has(to)) continue;
          by.set(to, path);
          queue.push(to);
        }
      }
      return by;
    };
    const circles = scripts.flatMap((path) => {
      const by = reach(path);
      if (!by.has(path)) return [];
      const circle = [by.get(path)!];
      while (circle[0] !== path) circle.unshift(by.get(circle[0])!);
      return circle[0] === circle.toSorted()[0] ? [[...circle, path].join(' → ')] : [];
    });
    expect(circles).toEqual([]);
    expect(reach('lib/index.ts').size).toBeGreaterThan(50);
  });

  it('core is pure: no node module, clock, or promise', () => {
    const wrong = [...sources].filter(
      ([path, lines]) =>
        path.startsWith('lib/core/') &&
        lines.some((line) => /from 'node:|\bDate\.|performance\.|\basync\b|setTimeout/.test(line)),
    );
    expect(wrong.map(([path]) => path)).toEqual([]);
  });

  const CC: Record<string, string[]> = {
    base: [],
    cpu: ['base', 'ops.h', 'backend.h'],
    // runtime.h, mma.cuh and wgmma.cuh take the emulator's words for CUDA's in a simt build.
    kernels: [
      'base',
      'ops.h',
      'backend.h',
      'simt/cuda.h',
      'simt/tensor_core.h',
      'simt/warpgroup.h',
    ],
    simt: [],
    model: ['base', 'ops.h', 'buffer.h', 'backends.h'],
    // The test addon sets up the emulated device.
    napi: ['base', 'model', 'grammar', 'backends.h', 'ops.h', 'simt/runtime_api.h'],
    grammar: ['base'],
    // The one place that names a backend.
    'backends.h': ['base', 'backend.h', 'kernels/device.h'],
    'backends.cc': ['backends.h', 'cpu/cpu_backend.h'],
    'ops.h': ['base'],
    'buffer.h': ['base', 'ops.h'],
    'backend.h': ['ops.h'],
  };

  it('of native/', () => {
    const wrong: string[] = [];
    for (const [path, lines] of sources) {
      if (!path.startsWith('native/') || path.endsWith('.cjs')) continue;
      const room = relative('native', path).split('/')[0];
      for (const line of lines) {
        const [, ours] = /^#include "([^"]+)"/.exec(line) ?? [];
        if (ours !== undefined) {
          const to = ours.split('/')[0];
          const allowed = to === room || CC[room]?.includes(to) || CC[room]?.includes(ours);
          if (!allowed) wrong.push(`${path} → ${ours}`);
        }
        if (/#include <napi/.test(line) && room !== 'napi') wrong.push(`${path}: napi`);
        if (/#include <(immintrin|arm_neon)/.test(line) && !/cpu\/simd/.test(path)) {
          wrong.push(`${path}: intrinsics`);
        }
        if (/#include <cuda/.test(line) && path !== 'native/kernels/runtime.h') {
          wrong.push(`${path}: CUDA`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('one to one', () => {
  it('a test for each file of config, core, wire, text and model', () => {
    const tests = new Set(files.filter((f) => f.startsWith('test/')));
    const missing = files.filter((path) => {
      const [, room] = path.split('/');
      if (!path.startsWith('lib/') || !['config', 'core', 'wire', 'text', 'model'].includes(room))
        return false;
      return !tests.has(path.replace('lib/', 'test/').replace(/\.ts$/, '.test.ts'));
    });
    expect(missing).toEqual([]);
  });

  // Parts of the waist that compute nothing: what uses them tests and times them.
  const PLUMBING = [
    ...[
      'prepare',
      'memory',
      'allocate',
      'release',
      'allocate_host',
      'release_host',
      'write',
      'read',
    ],
    ...['weight_bytes', 'end_step', 'drain', 'run_graph'],
  ];

  it('an op has a test and a bench row', () => {
    const table = read('native/ops.h').split(/^struct Ops \{$/m)[1];
    const all = [...table.matchAll(/^ {2}[\w ]+\*? ?\(\*(\w+)\)\(/gm)].map(([, name]) => name);
    expect(all.length).toBe(table.split('\n').filter((line) => line.includes('(*')).length);
    expect(PLUMBING.filter((name) => !all.includes(name))).toEqual([]);
    const ops = all.filter((name) => !PLUMBING.includes(name));
    expect(ops.length).toBeGreaterThanOrEqual(13);
    const tests = files
      .filter((f) => /^test\/native\/.*\.cc$/.test(f))
      .map(read)
      .join();
    const benches = files
      .filter((f) => /^bench\/native\/.*\.cc$/.test(f))
      .map(read)
      .join();
    const without = (text: string) => ops.filter((op) => !new RegExp(`\\b${op}\\b`).test(text));
    expect({ tests: without(tests), benches: without(benches) }).toEqual({
      tests: [],
      benches: [],
    });
  });

  it('an error code has its row in the README, and native raises only known ones', () => {
    const readme = read('README.md');
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` \| (\d+) \| (.+?) \|$/gm)];
    const table = Object.entries(ERRORS).map(([code, { status, means }]) => [
      code,
      String(status),
      means,
    ]);
    expect(rows.map(([, code, status, means]) => [code, status, means])).toEqual(table);
    expect(native().errorCodes.filter((code) => !(code in ERRORS))).toEqual([]);
  });

  it('an engine option and a sampling parameter stand in the README', () => {
    const readme = read('README.md');
    const names = (path: string, pattern: RegExp) =>
      [...read(path).matchAll(pattern)].map(([, name]) => name);
    const options = names('lib/config/options.ts', /^ {2}(\w+)\?: /gm);
    const params = names('lib/core/sampling-params.ts', /^ {2}readonly (\w+)\??: .*;$/gm);
    const missing = [...options, ...params].filter((name) => !readme.includes(`\`${name}\``));
    const inner = ['beam', 'vocabSize', 'eosTokenIds', 'badWordIds', 'endTokenIds', 'numLogprobs'];
    inner.push(
      'numPromptLogprobs',
      'allowedIds',
      'biasIds',
      'biasValues',
      'needsOutput',
      'needsPrompt',
    );
    expect(missing.filter((name) => !inner.includes(name))).toEqual([]);
  });
});

it('names of families stand in lib/model/families, not where models are run', () => {
  const names = [...Object.keys(HF_FAMILIES), ...Object.keys(GGUF_FAMILIES)];
  const family = new RegExp(`\\b(${names.join('|')})\\b`, 'i');
  // Kinds of tokenizers are called after families, and ways to write calls; so is a server.
  const exempt =
    /^lib\/(model\/families|text)\/|^lib\/(model\/gguf-tokens|tools\/(named|answer-format)|cli\/bench-flags)\.ts$/;
  const wrong = files.flatMap((path) => {
    if (!/^(lib|native)\//.test(path) || exempt.test(path)) return [];
    const code = read(path).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    const found = family.exec(code);
    return found ? [`${path}: ${found[0]}`] : [];
  });
  expect(wrong).toEqual([]);
  const families = [...sources].filter(([path]) => path.startsWith('lib/model/families/'));
  const long = families.filter(
    ([path, { length }]) => !/shared|index|experts/.test(path) && length > 120,
  );
  expect(long.map(([path]) => path)).toEqual([]);
});

it('tests wait for events: no wait or limit that a busy machine may not keep', () => {
  const waits = /vi\.waitFor\(|^ *\}, [\d_]+\);$/;
  const wrong = [...sources].flatMap(([path, lines]) =>
    path.startsWith('test/') && !path.startsWith('test/tidy')
      ? lines.flatMap((line, i) => (waits.test(line) ? [`${path}:${i + 1}`] : []))
      : [],
  );
  expect(wrong).toEqual([]);
});

it('every test file is found by its suffix', () => {
  const strays = files.filter(
    (f) => /^test\/(?!support|reference)/.test(f) && f.endsWith('.ts') && !/\.test\.ts$/.test(f),
  );
  expect(strays.map((f) => basename(f)).filter((name) => name !== 'support.ts')).toEqual([]);
});
