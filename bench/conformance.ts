/**
 * What of JSON Schema is enforced, and at what price, beside llguidance and xgrammar: suites of
 * schemas with valid and invalid instances (`--data FOLDER`), token by token over Llama-3's
 * vocabulary. A case is right where each valid instance is accepted and each other one is not; a
 * schema may be refused by name, and is counted apart. `--python PATH`: one that has the peers; who
 * is not there is left out. `--suite NAME`; `--every N`: each n-th schema; `--slow N`: each n-th of
 * those for xgrammar, which compiles a second; `--wrong FILE`: the cases that are not right.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { engineConfig } from '../lib/config/options.js';
import { Grammars } from '../lib/engine/grammars.js';
import { type Matcher, specSource } from '../lib/grammar/compile.js';
import { native } from '../lib/native.js';
import { type BenchRow, jsonPath, report, saveJson } from './support/report.js';
import {
  type PeerSetup,
  peerVerdicts,
  peerVersion,
  type Verdict,
  writeTokens,
} from './support/schema-peers.js';
import { type SchemaCase, SUITE_NAMES, suiteOf } from './support/suites.js';
import { LLAMA3, tokenizerFile, tokenizerOf } from './support/vocabularies.js';

const { data, python, suite, every, slow, wrong } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/jsonschema' },
    python: { type: 'string', default: 'python3' },
    suite: { type: 'string', default: '' },
    every: { type: 'string', default: '1' },
    slow: { type: 'string', default: '32' },
    wrong: { type: 'string' },
    json: { type: 'string' },
  },
}).values;

/** Milliseconds that a case may take: a process that does not keep to it is ended. */
const LIMIT = 15_000;

const tokenizer = tokenizerOf(LLAMA3);
const end = tokenizer.tokenToId(LLAMA3.eosToken)!;
/** The suites have schemas longer than a server takes by default. */
const options = engineConfig({ grammarMaxSchemaBytes: 2 ** 20, grammarMaxEnumBytes: 2 ** 20 });
const model = { vocabSize: LLAMA3.vocabSize, eosTokenIds: [end] };
const grammars = new Grammars(native(), tokenizer, model, { ...options, grammarCacheBytes: 0 });
const mask = new Int32Array(Math.ceil(LLAMA3.vocabSize / 32));

/** As generation goes: mask by mask, where one takes long on another thread. */
async function accepts(
  matcher: Matcher,
  ids: readonly number[],
  times: number[],
): Promise<boolean> {
  try {
    for (const id of ids) {
      const start = performance.now();
      while (!matcher.fillMask(mask, 0)) await matcher.settle();
      const allowed = ((mask[id >> 5] >>> (id & 31)) & 1) === 1;
      if (allowed && !matcher.advance(id)) throw new Error(`a mask allows ${id} wrongly`);
      times.push((performance.now() - start) * 1000);
      if (matcher.failure) throw new Error(matcher.failure);
      if (!allowed) return false;
    }
    while (matcher.complete() === null) await matcher.settle();
    return matcher.complete() === true;
  } finally {
    matcher.close();
  }
}

async function ownVerdict({ schema, instances }: SchemaCase): Promise<Verdict> {
  const begin = performance.now();
  try {
    const grammar = await grammars.compile(specSource({ json: schema }, grammars.limits));
    const compile = (performance.now() - begin) * 1000;
    const masks: number[] = [];
    const taken: boolean[] = [];
    for (const ids of instances) taken.push(await accepts(grammar.start(), ids, masks));
    grammar.close();
    return { taken, compile, masks };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== 'ERR_GRAMMAR') return { broken: message };
    // A schema of no value at all: nothing that is asked for can be refused by it.
    const none = /no value is valid/.test(message);
    return none ? { taken: instances.map(() => false) } : { refused: message };
  }
}

type Outcome = 'right' | 'refused' | 'falseAccepts' | 'falseRejects' | 'broken';

function outcomeOf({ refused, taken }: Verdict, { valid }: SchemaCase): Outcome {
  if (refused !== undefined) return 'refused';
  if (taken === undefined) return 'broken';
  if (taken.some((one, i) => one && !valid[i])) return 'falseAccepts';
  return taken.some((one, i) => !one && valid[i]) ? 'falseRejects' : 'right';
}

function countsOf(verdicts: readonly Verdict[], cases: readonly SchemaCase[]) {
  const counts = { right: 0, refused: 0, falseAccepts: 0, falseRejects: 0, broken: 0 };
  verdicts.forEach((verdict, i) => {
    counts[outcomeOf(verdict, cases[i])]++;
  });
  return counts;
}

/** Milliseconds of compiling, microseconds of a mask and its token. */
function timesOf(verdicts: readonly Verdict[]) {
  const at = (sorted: readonly number[], share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const compile = verdicts.flatMap((one) =>
    one.compile === undefined ? [] : [one.compile / 1000],
  );
  const masks = verdicts.flatMap(({ masks }) => masks ?? []);
  for (const all of [compile, masks]) all.sort((a, b) => a - b);
  const percentiles = (name: string, all: readonly number[]) => ({
    [`${name} p50`]: at(all, 0.5),
    [`${name} p95`]: at(all, 0.95),
    [`${name} p99`]: at(all, 0.99),
    [`${name} max`]: all.at(-1),
  });
  return { ...percentiles('compile ms', compile), ...percentiles('mask µs', masks) };
}

const notRight: object[] = [];

function rowOf(
  name: string,
  engine: string,
  verdicts: readonly Verdict[],
  cases: readonly SchemaCase[],
): BenchRow {
  verdicts.forEach((verdict, i) => {
    const outcome = outcomeOf(verdict, cases[i]);
    const { masks: _, ...rest } = verdict;
    if (outcome !== 'right') notRight.push({ suite: name, engine, outcome, ...cases[i], ...rest });
  });
  const counts = countsOf(verdicts, cases);
  const share = (100 * counts.right) / cases.length;
  const row = { name, engine, cases: cases.length, value: share, unit: '% right', ...counts };
  return { ...row, ...timesOf(verdicts) };
}

async function measureSuite(name: string, peers: readonly Peer[], tokens: string) {
  const { cases, path } = await suiteOf(name, data, tokenizer, Number(every));
  const own: Verdict[] = [];
  for (const one of cases) own.push(await ownVerdict(one));
  const rows = [rowOf(name, 'octavo', own, cases)];
  const setup: PeerSetup = { python, tokens, limit: LIMIT };
  for (const { engine, about } of peers) {
    const isSlow = engine === 'xgrammar' && name === 'MaskBench';
    const step = isSlow ? Number(slow) : 1;
    const some = isSlow
      ? await suiteOf(name, data, tokenizer, Number(every) * step)
      : { cases, path };
    const verdicts = await peerVerdicts(engine, setup, some.path, some.cases.length);
    if (isSlow) {
      const same = own.filter((_, i) => i % step === 0);
      rows.push(rowOf(name, 'octavo, the same', same, some.cases));
    }
    rows.push(rowOf(name, about, verdicts, some.cases));
  }
  return rows;
}

interface Peer {
  readonly engine: string;
  readonly about: string;
}

function findPeers(): Peer[] {
  return ['llguidance', 'xgrammar'].flatMap((engine) => {
    const about = peerVersion(python, engine);
    if (about === undefined) console.log(`${python} has no ${engine}: it is left out`);
    return about === undefined ? [] : [{ engine, about }];
  });
}

await grammars.warmUp();
const peers = findPeers();
const rows: BenchRow[] = [];
for (const name of SUITE_NAMES.filter((one) => one.includes(suite))) {
  const tokens = writeTokens(tokenizer, tokenizerFile(LLAMA3), LLAMA3.vocabSize, end);
  rows.push(...(await measureSuite(name, peers, tokens)));
  saveJson({ bench: 'conformance', rows, json: jsonPath() });
}
if (wrong !== undefined) writeFileSync(wrong, JSON.stringify(notRight, null, 1));
report({ bench: 'conformance', rows, json: jsonPath() });
