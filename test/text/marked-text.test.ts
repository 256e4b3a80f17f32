import { describe, expect, it } from 'vitest';
import { MarkedText } from '../../lib/text/marked-text.js';
import { OutputText } from '../../lib/text/output-text.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { demoTokenizer } from './support.js';

const none = { ofId: () => undefined };

describe('a marked text', () => {
  it('has each mark where its spelling would be, however late the text is told', () => {
    const { integer } = random(SEED);
    for (let round = 0; round < 300; round++) {
      const marked = new MarkedText(none);
      let raw = '';
      let wanted = '';
      let told = 0;
      let got = '';
      for (let i = 0; i < 12; i++) {
        if (integer(3) === 0) {
          const spelled = integer(2) === 0 ? '' : `<${i}>`;
          marked.place('M', raw.length, raw.length + spelled.length);
          raw += spelled;
          wanted += 'M';
        } else {
          const text = 'abcdefg'.slice(0, integer(7));
          raw += text;
          wanted += text;
        }
        const to = told + integer(raw.length - told + 1);
        marked.tell(raw.slice(told, to));
        told = to;
        got += marked.take();
      }
      marked.tell(raw.slice(told));
      expect(got + marked.take()).toBe(wanted);
    }
  });

  it('leaves out marks behind the place where the text is cut', () => {
    const marked = new MarkedText(none);
    marked.place('M', 2, 2);
    marked.place('N', 5, 8);
    marked.tell('abcd');
    expect(marked.take()).toBe('abMcd');
    const fork = marked.clone();
    marked.tell('e');
    expect(marked.take()).toBe('eN');
    expect(fork.take()).toBe('');
  });
});

describe('a text of tokens', () => {
  const tokenizer = demoTokenizer();
  const [first, second] = ['<|bos|>', '<|eos|>'].map((one) => tokenizer.tokenToId(one) as number);
  const marks = { ofId: (id: number) => (id === first ? 'M' : undefined) };
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

  it('is marked, whether it spells its special tokens or not, and is the text otherwise', async () => {
    const ids = [...(await encode('The sea, ')), first, ...(await encode('Grüße')), second, first];
    for (const skipSpecialTokens of [true, false]) {
      const text = new OutputText(tokenizer, { marks, skipSpecialTokens, stop: ['never'] });
      let told = '';
      for (const id of ids) {
        text.push(id);
        told += text.takeMarked();
      }
      text.finish();
      told += text.takeMarked();
      expect(text.text).toBe(await tokenizer.decode(ids, { skipSpecialTokens }));
      const spelled = skipSpecialTokens ? '' : tokenizer.idToToken(second);
      expect(told).toBe(`The sea, MGrüße${spelled}M`);
    }
  });

  it('knows no mark of what was not asked for, and forks', async () => {
    const plain = new OutputText(tokenizer);
    plain.push(first);
    expect(plain.takeMarked()).toBe('');
    const text = new OutputText(tokenizer, { marks, stop: ['sea'] });
    for (const id of await encode('The se')) text.push(id);
    text.push(first);
    const fork = text.clone();
    text.finish();
    expect([text.takeMarked(), fork.takeMarked()]).toEqual(['The seM', 'The ']);
  });

  it('is cut by a stop string that a control token stands in', async () => {
    const text = new OutputText(tokenizer, { marks, stop: ['sea'] });
    const stops = [...(await encode('The se')), first, ...(await encode('a'))].map(
      (id) => text.push(id).stop,
    );
    expect(stops.at(-1)).toBe('sea');
    expect([text.text, text.takeMarked()]).toEqual(['The ', 'The ']);
  });

  it('gives up a character that a control token cuts in two', async () => {
    // Both bytes stand for themselves in byte-level vocabularies.
    const bytes = ['Ã', '©'].map((byte) => tokenizer.tokenToId(byte) as number);
    const text = new OutputText(tokenizer, { marks });
    for (const id of [bytes[0], first, ...(await encode('{}'))]) text.push(id);
    expect(text.takeMarked()).toBe('\ufffdM{}');
    const whole = new OutputText(tokenizer, { marks });
    for (const id of [...bytes, first]) whole.push(id);
    expect(whole.takeMarked()).toBe('éM');
  });
});
