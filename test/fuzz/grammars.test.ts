/**
 * Damaged schemas, regexes and grammars all the way into native code, some of them with their
 * programs damaged as well: masks that agree with what is then taken, or ERR_GRAMMAR; and nothing
 * holds up the event loop.
 */
import { expect, it } from 'vitest';
import { Budget } from '../../lib/grammar/budget.js';
import { compileSpec, type GrammarSpec } from '../../lib/grammar/index.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import type { NativeMatcher, NativeVocabulary } from '../../lib/native.js';
import { testAddon } from '../support/addon.js';
import { sample } from '../support/all.js';
import { type Random, random } from '../support/random.js';
import { SEED } from '../support/seed.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? sample(1_500, 50_000));
const addon = testAddon();
const LIMITS = { maxStates: 20_000, maxBytes: 2 ** 22, maxMs: 200 };
const TOKENS = ['a', 'b', '"', '{', '}', '[', ']', ':', ',', ' ', '0', '1', 'ab', '{"', '":', 'é'];
const END = TOKENS.length;

const SOURCES: readonly (readonly [keyof GrammarSpec, string])[] = [
  ['regex', '^(?:[a-z0-9]+(?:\\.[a-z0-9]+)*)@(?:[a-z]{2,5}\\.)+[a-z]{2,}$'],
  ['regex', '(?:a|ab|b{2,4}){0,30}(?:[^a-c]|\\p{L}){1,3}'],
  ['grammar', 'root ::= "a" [^b-z\\]]{2,3} (x | "b"?)*\nx ::= "{" root? "}" | [0-9] x x\n'],
  [
    'grammar',
    'start: a* "b"i ~2..3 | [A] -> alias\n a: "[" start "]"\nA: "0".."9"+\n%ignore " "\n',
  ],
  [
    'json',
    '{"type":"object","properties":{"a":{"type":"integer","minimum":-10},"b":{"enum":[1,"b"]}},"required":["a"]}',
  ],
  [
    'json',
    '{"type":"array","items":{"$ref":"#"},"minItems":1,"maxItems":3,"contains":{"const":[]}}',
  ],
  ['json', '{"type":"string","pattern":"^a+b?","minLength":2,"maxLength":9,"not":{"const":"ab"}}'],
  ['json', '{"anyOf":[{"type":"number","multipleOf":0.5},{"format":"date","type":"string"}]}'],
];
const BITS = [...'()[]{}|*+?^$\\"/:.,#-_= \n0129abé', '{2,}', '::=', '"type"', '{99999}', 'null'];

function damaged(source: string, rng: Random): string {
  let text = source;
  for (let n = rng.integer(4); n > 0; n--) {
    const at = rng.integer(text.length + 1);
    const put = rng.integer(2) === 0 ? '' : BITS[rng.integer(BITS.length)];
    text = text.slice(0, at) + put + text.slice(at + rng.integer(4));
  }
  return text;
}

function spoil(words: Int32Array, rng: Random): Int32Array {
  const out = Int32Array.from(words);
  for (let n = 1 + rng.integer(3); n > 0; n--) {
    const at = rng.integer(out.length);
    const values = [out[at] + 1, out[at] - 1, 0, -1, 2 ** 31 - 1, out[at] ^ (1 << rng.integer(32))];
    out[at] = values[rng.integer(values.length)];
  }
  return rng.integer(5) === 0 ? out.subarray(0, rng.integer(out.length)) : out;
}

async function walk(matcher: NativeMatcher, rng: Random): Promise<void> {
  const mask = new Int32Array(1);
  let isTrusted = false;
  for (let step = 0; step < 8; step++) {
    while (!matcher.fillMask(mask, 0)) await matcher.settle();
    if (isTrusted) expect(mask[0]).toBe(0);
    const isComplete = matcher.complete();
    if (matcher.failure !== '') return;
    expect((mask[0] >>> END) & 1).toBe(isComplete ? 1 : 0);
    const id = rng.integer(END);
    const isAllowed = ((mask[0] >>> id) & 1) === 1;
    const isTaken = matcher.advance(id);
    if (isAllowed) expect(isTaken).toBe(true);
    else isTrusted ||= isTaken;
  }
}

async function vocabularyOf(): Promise<NativeVocabulary> {
  const bytes = [...TOKENS, ''].map((token) => Buffer.from(token));
  const offsets = [0];
  for (const b of bytes) offsets.push(offsets.at(-1)! + b.length);
  const ends = Int32Array.of(END);
  return addon.Vocabulary.build(
    Uint8Array.from(Buffer.concat(bytes)),
    Int32Array.from(offsets),
    ends,
  );
}

/** What became of it. */
async function tryOut(vocabulary: NativeVocabulary, rng: Random): Promise<string> {
  const [kind, source] = SOURCES[rng.integer(SOURCES.length)];
  try {
    const spec = { [kind]: damaged(source, rng) } as GrammarSpec;
    let words = encodeProgram(compileSpec(spec, {}, new Budget()).grammar);
    const isSpoilt = rng.integer(3) === 0;
    if (isSpoilt) words = spoil(words, rng);
    const grammar = await addon.Grammar.compile(vocabulary, words, LIMITS);
    const matcher = grammar.start();
    await walk(matcher, rng);
    matcher.close();
    grammar.close();
    return isSpoilt ? 'spoilt' : 'taken';
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_GRAMMAR') throw error;
    return 'refused';
  }
}

it('damaged grammars: masks as they should be, or ERR_GRAMMAR', async () => {
  const rng = random(SEED);
  const vocabulary = await vocabularyOf();
  const ends: Record<string, number> = { taken: 0, spoilt: 0, refused: 0 };
  for (let run = 0; run < RUNS; run++) ends[await tryOut(vocabulary, rng)]++;
  expect(Math.min(...Object.values(ends))).toBeGreaterThan(RUNS / 50);
});
