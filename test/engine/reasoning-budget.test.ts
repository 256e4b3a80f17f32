import { beforeAll, describe, expect, it } from 'vitest';
import { BudgetConstraint, ReasoningWatch } from '../../lib/engine/chat-tools.js';
import type { CachedGrammar, Matcher } from '../../lib/grammar/compile.js';
import { bytesOfToken } from '../../lib/text/token-bytes.js';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { demoTokenizer } from '../text/support.js';

let tokenizer: Tokenizer;
/** Ids of single bytes. */
const byteIds = new Map<number, number>();
beforeAll(() => {
  tokenizer = demoTokenizer();
  for (let id = 0; id < 4096; id++) {
    const bytes = bytesOfToken(tokenizer, id);
    if (bytes.length === 1) byteIds.set(bytes[0], id);
  }
  expect(byteIds.size).toBe(256);
});

const fence = { start: '<think>', end: '</think>' };
const idsOf = (text: string | readonly number[]) =>
  [...Buffer.from(text as string)].map((byte) => byteIds.get(byte) as number);

/** Takes anything; tells which of the two it is. */
const matcher = (name: string, closed: string[]): Matcher =>
  ({
    advance: () => true,
    fork: () => matcher(name, closed),
    close: () => closed.push(name),
    name,
  }) as unknown as Matcher;

function constraint(left: number, closed: string[] = []) {
  const watch = new ReasoningWatch(fence, true, tokenizer);
  const ending = { start: () => matcher('ending', closed) } as unknown as CachedGrammar;
  return new BudgetConstraint(matcher('free', closed), 4096, {
    ...{ watch, ending, left, isOver: false },
  });
}

const nameOf = (own: BudgetConstraint) => (own.matcher as unknown as { name: string }).name;

/** After how many of the tokens reasoning has to end. */
function endsAfter(ids: readonly number[], budget: number, closed: string[] = []): number | null {
  const own = constraint(budget, closed);
  for (const [i, id] of ids.entries()) {
    own.advance(id);
    if (nameOf(own) === 'ending') return i + 1;
  }
  return null;
}

describe('a budget of reasoning', () => {
  it.each(['abcdef', 'é日👍', 'a👍b', '日本語'])('of %j ends between characters', (text) => {
    const ids = idsOf(text);
    const ends = new Set<number>();
    let at = 0;
    for (const char of text) ends.add((at += Buffer.byteLength(char)));
    for (let budget = 1; budget <= ids.length; budget++) {
      const wanted = [...ends].find((end) => end >= budget);
      expect([budget, endsAfter(ids, budget)]).toEqual([budget, wanted]);
    }
  });

  it('waits for no character that does not come', () => {
    // First bytes alone are no characters, however many there are.
    for (const lead of [0xc3, 0xe6, 0xf0]) {
      const ids = idsOf(Array(9).fill(lead));
      expect(endsAfter(ids, 2)).toBe(5);
    }
    const broken = idsOf([0xf0, 0x9f, 0x41, 0x42]);
    expect(endsAfter(broken, 1)).toBe(3);
    expect(endsAfter(idsOf([0x41, 0x80, 0x80, 0x80, 0x80, 0x80]), 2)).toBe(2);
  });

  it('closes the grammar that it leaves, and forks with what is left', () => {
    const closed: string[] = [];
    const own = constraint(3, closed);
    const [a] = idsOf('a');
    own.advance(a);
    const fork = own.fork();
    own.advance(a);
    own.advance(a);
    expect([nameOf(own), nameOf(fork), closed]).toEqual(['ending', 'free', ['free']]);
    fork.advance(a);
    fork.advance(a);
    expect(nameOf(fork)).toBe('ending');
  });

  it('never cuts a text at random within a character', () => {
    const { integer } = random(SEED);
    const chars = ['a', ' ', 'ß', '—', '日', '👍', '\n'];
    for (let i = 0; i < 300; i++) {
      const text = Array.from({ length: 20 }, () => chars[integer(chars.length)]).join('');
      const end = endsAfter(idsOf(text), 1 + integer(15)) as number;
      const cut = Buffer.from(text).subarray(0, end);
      expect(() => new TextDecoder('utf-8', { fatal: true }).decode(cut)).not.toThrow();
    }
  });
});

describe('reasoning', () => {
  const stateAfter = (text: string, begun: boolean) => {
    const watch = new ReasoningWatch(fence, begun, tokenizer);
    for (const id of idsOf(text)) watch.push(id);
    return watch.state;
  };

  it.each([
    ['\n<think>', false, 'reasoning'],
    ['<think>a</think>', false, 'over'],
    ['So it is, and so it stays.', false, 'over'],
    ['<thin', false, 'before'],
    ['a </thin> b', true, 'reasoning'],
    ['a </think', true, 'reasoning'],
    ['a </think>', true, 'over'],
  ])('%j, begun %s: %s', (text, begun, state) => {
    expect(stateAfter(text, begun)).toBe(state);
  });

  it('is seen where its beginning and its end are one token', () => {
    const one = {
      isSpecial: () => true,
      idToToken: () => '<think></think>',
    } as unknown as Tokenizer;
    expect(new ReasoningWatch(fence, false, one).push(1)).toBe('over');
  });
});
