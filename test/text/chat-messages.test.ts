import { expect, it } from 'vitest';
import {
  checkMessages,
  checkOnlyText,
  joinParts,
  parseArguments,
} from '../../lib/text/chat-messages.js';

it('takes messages as transformers does', () => {
  const turns = checkMessages([
    { role: 'user', content: 'a', name: null, x: undefined, thinking: 't' },
  ]);
  expect(turns).toEqual([{ thinking: 't', role: 'user', content: 'a', reasoning_content: 't' }]);
});

it('reads what throws when it is read as no message', () => {
  const trap = new Proxy(
    {},
    {
      get: () => {
        throw new Error('no');
      },
    },
  );
  expect(() => checkMessages([trap])).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_PROMPT' }),
  );
});

it('ends at the first that is wrong, however many follow', () => {
  let numRead = 0;
  const counted = new Proxy([5, 5, 5], {
    get(target, name) {
      if (typeof name === 'string' && /^\d+$/.test(name)) numRead++;
      return Reflect.get(target, name);
    },
  });
  expect(() => checkMessages(counted)).toThrow(/^messages\[0\] must be an object/);
  expect(numRead).toBe(1);
  const parts = [{ role: 'user', content: counted }];
  expect(() => checkMessages(parts)).toThrow(/^messages\[0\]\.content\[0\] must be an object/);
  expect(numRead).toBe(2);
  expect(() => checkMessages(new Array(2 ** 32 - 1))).toThrow(/^messages\[0\]/);
  expect(() => checkMessages([{ role: 'user', content: new Array(3) }])).toThrow(/content\[0\]/);
});

it('joins parts, and refuses those that are no text', () => {
  const part = (type: string) => ({ role: 'user', content: [{ type, text: 'a' }] });
  expect(joinParts([part('text')])).toEqual([{ role: 'user', content: 'a' }]);
  expect(() => checkOnlyText([part('text'), part('image')])).toThrow(
    /^messages\[1\]\.content\[0\] only parts/,
  );
});

it('leaves calls that it does not know as they are', () => {
  const calls = [null, 5, {}, { function: null }, { function: { arguments: '{' } }];
  expect(parseArguments([{ role: 'assistant', tool_calls: calls }])[0].tool_calls).toEqual(calls);
});
