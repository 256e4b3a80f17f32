import { expect, it } from 'vitest';
import { ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { OutputText } from '../../lib/text/output-text.js';
import { SEED } from '../support/seed.js';
import { demoTokenizer, goldenMetadata, random } from './support.js';

const tokenizer = demoTokenizer();
const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

it('streams text, stops in the step of the token, and keeps the stop string out', async () => {
  const ids = await encode('Call me Ishmael. Some years ago');
  const output = new OutputText(tokenizer, { stop: ['mael. So', 'years'] });
  let text = '';
  let pushed = 0;
  let stop: string | null = null;
  for (const id of ids) {
    const verdict = output.push(id);
    text += verdict.delta;
    pushed++;
    if ((stop = verdict.stop) !== null) break;
  }
  expect([text, stop, output.text]).toEqual(['Call me Ish', 'mael. So', 'Call me Ish']);
  expect((await tokenizer.decode(ids.slice(0, pushed - 1))).includes('mael. So')).toBe(false);
});

it('includes the stop string when asked', async () => {
  const output = new OutputText(tokenizer, { stop: ['me'], includeStopStrInOutput: true });
  const stops = (await encode('Call me Ishmael')).map(
    (id) => output.text.endsWith('me') || output.push(id).stop,
  );
  expect(stops).toContain('me');
  expect(output.text).toBe('Call me');
});

it('gives back at the end what was held', async () => {
  const output = new OutputText(tokenizer, { stop: [' years!'] });
  let text = '';
  for (const id of await encode('Some years')) text += output.push(id).delta;
  expect(text).toBe('Some');
  expect(output.finish()).toBe(' years');
  expect(output.text).toBe('Some years');
});

it('passes over a stop string before the gate, finds one across it and after it', async () => {
  const ids = await encode('one. two. three.');
  const dots = ids.filter((id) => tokenizer.idToToken(id) === '.').length;
  expect(dots).toBe(3);
  const run = (gate: number, stop: string) => {
    const output = new OutputText(tokenizer, { stop: [stop] });
    const end = ids.findIndex((id, i) => output.push(id, { mayStop: i >= gate }).stop !== null);
    return end < 0 ? output.text + output.finish() : output.text;
  };
  const second = ids.findIndex((id) => tokenizer.idToToken(id) === '.') + 1;
  expect(run(0, '.')).toBe('one');
  expect(run(second, '.')).toBe('one. two');
  expect(run(second, '. tw')).toBe('one');
  expect(run(ids.length, '.')).toBe('one. two. three.');
});

it('forks', async () => {
  const spm = await ggufTokenizer(goldenMetadata('spm'));
  const ids = await spm.encode('the 日本語 whale', { addSpecialTokens: false });
  for (let cut = 0; cut <= ids.length; cut++) {
    const one = new OutputText(spm, { stop: ['語 wx'], promptTail: [5, 300] });
    for (const id of ids.slice(0, cut)) one.push(id);
    const two = one.clone();
    for (const id of ids.slice(cut)) one.push(id);
    for (const id of ids) two.push(id);
    one.finish();
    two.finish();
    expect(one.text).toBe(' the 日本語 whale');
    const both = await spm.decode([400, ...ids.slice(0, cut), ...ids]);
    expect(two.text).toBe(both.slice((await spm.decode([400])).length));
  }
});

it('is the decoded text cut at the stop string, for random ids and stops', async () => {
  const next = random(SEED);
  for (let round = 0; round < 300; round++) {
    const ids = Array.from({ length: 30 }, () => 3 + Math.floor(next() * (round % 2 ? 4000 : 260)));
    const whole = await tokenizer.decode(ids);
    const at = Math.floor(next() * whole.length);
    const stop = whole.slice(at, at + 1 + Math.floor(next() * 6));
    if (/\p{Surrogate}|\ufffd|^$/u.test(stop)) continue;
    const output = new OutputText(tokenizer, { stop: [stop] });
    const hit = ids.some((id) => output.push(id).stop === stop);
    expect(hit, `seed ${SEED} round ${round}`).toBe(true);
    expect(output.text).toBe(whole.slice(0, whole.indexOf(stop)));
  }
});

it('says what is new since it was last asked, and forks with it', () => {
  const ids = [...'The sea, the sea!'].map((c) => tokenizer.tokenToId(c)!).filter((id) => id >= 0);
  const output = new OutputText(tokenizer);
  let taken = '';
  let fork: OutputText | undefined;
  for (const [i, id] of ids.entries()) {
    output.push(id);
    if (i === 4) fork = output.clone();
    if (i % 3 === 0) taken += output.takeDelta();
    expect(output.text.startsWith(taken)).toBe(true);
  }
  output.finish();
  taken += output.takeDelta();
  expect(taken).toBe(output.text);
  expect(output.takeDelta()).toBe('');
  expect(fork!.text.length).toBeGreaterThan(0);
  expect(taken.startsWith(fork!.text)).toBe(true);
});
