import { describe, expect, it } from 'vitest';
import { endMarkOf, Markers } from '../../lib/tools/matching.js';
import { CALL_FORMATS } from '../../lib/tools/named.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

describe('markers', () => {
  it('are found where each is looked for at each place', () => {
    const { integer } = random(SEED);
    const word = (length: number, letters = 'ab.[') =>
      Array.from({ length }, () => letters[integer(letters.length)]).join('');
    for (let i = 0; i < 2000; i++) {
      const texts = Array.from({ length: integer(4) }, () => word(integer(5)));
      const markers = new Markers(texts);
      const some = texts.filter((text) => text !== '');
      expect(markers.isEmpty).toBe(some.length === 0);
      const text = word(integer(12));
      const from = integer(text.length + 1);
      let wanted: { at: number; marker: string } | null = null;
      for (let at = from; at < text.length && wanted === null; at++) {
        const here = some.filter((one) => text.startsWith(one, at));
        const longest = here.toSorted((a, b) => b.length - a.length)[0];
        if (longest !== undefined) wanted = { at, marker: longest };
      }
      expect(markers.find(text, from)).toEqual(wanted);
      let held = 0;
      for (let length = 1; length <= text.length; length++) {
        const end = text.slice(text.length - length);
        if (some.some((one) => one !== end && one.startsWith(end))) held = length;
      }
      expect([text, texts, markers.held(text)]).toEqual([text, texts, held]);
    }
  });
});

it('the end of a call is known among what is no argument', () => {
  const marks = Object.fromEntries(
    Object.entries(CALL_FORMATS).map(([name, format]) => [name, endMarkOf(format)]),
  );
  expect(marks).toMatchObject({
    ...{ hermes: '</tool_call>', qwen3_coder: '</tool_call>', glm45: '</tool_call>' },
    ...{ minimax_m2: '</invoke>', deepseek_v32: '</｜DSML｜invoke>', llama3_json: '}' },
    ...{ pythonic: ')', mistral: '', mistral_v3: ', "id": "' },
  });
});
