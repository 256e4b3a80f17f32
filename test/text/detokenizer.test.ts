import { beforeAll, describe, expect, it } from 'vitest';
import { Detokenizer } from '../../lib/text/detokenizer.js';
import { ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { SEED } from '../support/seed.js';
import {
  allTokenizers,
  demoTokenizer,
  encoderTokenizers,
  goldenMetadata,
  hf320,
  random,
} from './support.js';

let tokenizers: [string, Tokenizer][];
beforeAll(async () => {
  tokenizers = await allTokenizers();
});

/** Ids of mixed character: anything, special tokens, byte tokens, real text, runs. */
function randomIds(tokenizer: Tokenizer, next: () => number, texts: number[][]): number[] {
  const ids: number[] = [];
  const bytes = Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter(
    (id) => tokenizer.byteOf(id) !== undefined || (tokenizer.idToToken(id) ?? '').length === 1,
  );
  const pick = (list: number[]) => list[Math.floor(next() * list.length)];
  const length = Math.floor(next() * 80);
  while (ids.length < length) {
    const kind = next();
    if (kind < 0.35) ids.push(Math.floor(next() * tokenizer.vocabSize));
    else if (kind < 0.7) for (let i = next() * 8; i > 0; i--) ids.push(pick(bytes));
    else if (kind < 0.75) ids.push(Math.floor(next() * 3));
    else ids.push(...texts[Math.floor(next() * texts.length)]);
  }
  return ids;
}

const TEXTS = ['日本語のテキスト', '👍🏽 👨‍👩‍👧 🇩🇪', ' the whale', '  four', 'naïve café', '\n\n'];

describe('push and flush together equal decode', () => {
  it.each([true, false])(
    'for random ids of every tokenizer, skipSpecialTokens %s',
    async (skip) => {
      for (const [name, tokenizer] of [...tokenizers, ...(await encoderTokenizers())]) {
        const next = random(SEED);
        const texts = await Promise.all(
          TEXTS.map((t) => tokenizer.encode(t, { addSpecialTokens: false })),
        );
        for (let round = 0; round < 150; round++) {
          const ids = randomIds(tokenizer, next, texts);
          const detokenizer = new Detokenizer(tokenizer, { skipSpecialTokens: skip });
          let text = ids.map((id) => detokenizer.push(id)).join('');
          text += detokenizer.flush();
          const whole = await tokenizer.decode(ids, { skipSpecialTokens: skip });
          expect(text, `${name}, seed ${SEED}, ids ${ids}`).toBe(whole);
        }
      }
    },
  );

  it('for long runs of broken bytes', async () => {
    for (const [name, tokenizer] of tokenizers) {
      const id = tokenizer.tokenToId('<0xE2>') ?? tokenizer.tokenToId('â')!;
      const ids = new Array(3000).fill(id);
      const detokenizer = new Detokenizer(tokenizer);
      const text = ids.map((i) => detokenizer.push(i)).join('') + detokenizer.flush();
      expect(text, name).toBe(await tokenizer.decode(ids));
      expect(text).toBe('\ufffd'.repeat(3000));
    }
  });
});

describe('what is certain', () => {
  it('comes with its own token, and never half a character', async () => {
    for (const [name, tokenizer] of tokenizers) {
      const text = 'The whale 日本語 👍🏽 end';
      const ids = await tokenizer.encode(text, { addSpecialTokens: false });
      const detokenizer = new Detokenizer(tokenizer);
      let so = '';
      for (let i = 0; i < ids.length; i++) {
        so += detokenizer.push(ids[i]);
        const whole = await tokenizer.decode(ids.slice(0, i + 1));
        expect(so, name).toBe(whole.replace(/\ufffd+$/, ''));
      }
      expect(so, name).toBe(text);
      expect(detokenizer.flush()).toBe('');
    }
  });

  it('is a newline at once, even as a byte token', async () => {
    const spm = await ggufTokenizer(goldenMetadata('spm'));
    const detokenizer = new Detokenizer(spm);
    expect(detokenizer.push(spm.tokenToId('<0x0A>')!)).toBe('\n');
  });

  it('is nothing for ids without a token', () => {
    const detokenizer = new Detokenizer(hf320());
    expect([detokenizer.push(5000), detokenizer.push(42), detokenizer.flush()]).toEqual([
      '',
      'H',
      '',
    ]);
  });
});

describe('promptTail', () => {
  it('keeps the leading space of a SentencePiece continuation', async () => {
    const spm = await ggufTokenizer(goldenMetadata('spm'));
    const prompt = await spm.encode('hello');
    const world = await spm.encode('world', { addSpecialTokens: false });
    const text = (options: object) => {
      const detokenizer = new Detokenizer(spm, options);
      return world.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
    };
    expect(text({ promptTail: prompt })).toBe(' world');
    expect(text({})).toBe('world');
    expect(text({ promptTail: [1] })).toBe('world');
    expect(text({ promptTail: [1], skipSpecialTokens: false })).toBe(' world');
    expect(text({ promptTail: Int32Array.from([...prompt, 1, 1, 1]) })).toBe(' world');
  });

  it('gives what decoding prompt and output together adds', async () => {
    const next = random(SEED);
    for (const [name, tokenizer] of tokenizers) {
      for (let round = 0; round < 40; round++) {
        const ids = await tokenizer.encode('x the whale 日本語 café 👍🏽 and more  text', {
          addSpecialTokens: false,
        });
        const cut = 2 + Math.floor(next() * (ids.length - 2));
        const detokenizer = new Detokenizer(tokenizer, { promptTail: ids.slice(0, cut) });
        const text =
          ids
            .slice(cut)
            .map((id) => detokenizer.push(id))
            .join('') + detokenizer.flush();
        const prompt = (await tokenizer.decode(ids.slice(0, cut))).replace(/\ufffd+$/, '');
        expect(prompt + text, `${name} seed ${SEED} cut ${cut}`).toBe(await tokenizer.decode(ids));
      }
    }
  });
});

describe('clone', () => {
  it('goes on independently, also in the middle of a character', async () => {
    for (const [name, tokenizer] of tokenizers) {
      const ids = await tokenizer.encode('ab 日本', { addSpecialTokens: false });
      for (let cut = 0; cut <= ids.length; cut++) {
        const one = new Detokenizer(tokenizer);
        const before = ids
          .slice(0, cut)
          .map((id) => one.push(id))
          .join('');
        const two = one.clone();
        const other =
          ids
            .slice(0, 2)
            .map((id) => two.push(id))
            .join('') + two.flush();
        const rest =
          ids
            .slice(cut)
            .map((id) => one.push(id))
            .join('') + one.flush();
        expect(before + rest, name).toBe('ab 日本');
        expect(before + other, name).toBe(
          await tokenizer.decode([...ids.slice(0, cut), ...ids.slice(0, 2)]),
        );
      }
    }
  });
});

describe('other decoders', () => {
  const json = (decoder: unknown) =>
    JSON.stringify({
      version: '1.0',
      added_tokens: [],
      decoder,
      model: {
        type: 'WordLevel',
        vocab: { '\u2581he': 0, '\u2581': 1, llo: 2, 'end</w>': 3, '?': 4 },
        unk_token: '?',
      },
    });
  it.each([
    ['none', null],
    [
      'Metaspace',
      { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true },
    ],
    ['BPEDecoder', { type: 'BPEDecoder', suffix: '</w>' }],
    [
      'Strip of two',
      {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 2, stop: 0 },
        ],
      },
    ],
  ])('%s', async (_, decoder) => {
    const tokenizer = Tokenizer.fromJson(json(decoder));
    const next = random(SEED);
    for (let round = 0; round < 200; round++) {
      const ids = Array.from({ length: Math.floor(next() * 40) }, () => Math.floor(next() * 5));
      const detokenizer = new Detokenizer(tokenizer);
      const text = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
      expect(text, `seed ${SEED} ids ${ids}`).toBe(await tokenizer.decode(ids));
    }
  });
});

it('costs the same per token however long the text is', () => {
  const tokenizer = demoTokenizer();
  const next = random(SEED);
  const ids = Array.from({ length: 60_000 }, () => Math.floor(next() * 4096));
  const detokenizer = new Detokenizer(tokenizer);
  const time = (from: number, to: number) => {
    const start = performance.now();
    for (let i = from; i < to; i++) detokenizer.push(ids[i]);
    return performance.now() - start;
  };
  time(0, 20_000);
  const early = time(20_000, 40_000);
  const late = time(40_000, 60_000);
  console.log(`${(early / 20).toFixed(2)} and ${(late / 20).toFixed(2)} µs a token`);
  // A growth, not a time: a window that grew with the text would make this a hundredfold.
  expect(late).toBeLessThan(20 * early + 200);
});
