import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { build, byteIds } from '../../lib/text/tokenizer-build.js';
import { demoJson, FIXTURES } from './support.js';

describe('build()', () => {
  it('gives the library its file, and keeps what else is read of it', () => {
    const { library, head, rules } = build(demoJson(), 'demo', undefined);
    expect(library.getVocabSize(true)).toBe(4096);
    expect(head.added_tokens?.map(({ content }) => content)).toContain('<|bos|>');
    expect(rules).toBeUndefined();
  });

  it('switches off what the file says of lengths', async () => {
    const json = JSON.parse(readFileSync(`${FIXTURES}hf-320.json`, 'utf8'));
    const truncation = { max_length: 2, strategy: 'LongestFirst', stride: 0, direction: 'Right' };
    const { library } = build(JSON.stringify({ ...json, truncation }), 'short', undefined);
    expect((await library.encode('a long text of words', null)).getLength()).toBeGreaterThan(2);
  });

  it('names the file that cannot be read', () => {
    for (const json of ['', '{}', '[1]', demoJson().slice(0, 1000)]) {
      expect(() => build(json, 'my.json', undefined)).toThrow(
        expect.objectContaining({ code: 'ERR_TOKENIZER', param: 'my.json' }),
      );
    }
  });

  it('finds byte tokens only where the decoder takes them for bytes', () => {
    const { library } = build(demoJson(), 'demo', undefined);
    expect(byteIds(library, { type: 'ByteFallback' }).size).toBe(0);
    library.addTokens(['<0x41>']);
    expect([...byteIds(library, { type: 'ByteFallback' }).values()]).toEqual([0x41]);
    expect(byteIds(library, { type: 'Fuse' }).size).toBe(0);
  });
});
