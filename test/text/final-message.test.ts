import { expect, it } from 'vitest';
import { ChatTemplate } from '../../lib/text/chat-template.js';

const template = new ChatTemplate(
  '{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ m.reasoning_content }}{{ eos_token }}{% endfor %}' +
    '[assistant]',
  { eosToken: '</s>' },
);
const go = (last: object, member: boolean | string = true) =>
  template.render([{ role: 'user', content: 'Hi' }, { role: 'assistant', ...last } as never], {
    continueFinalMessage: member,
  });

it('ends where the last message ends', () => {
  expect(go({ content: 'One,' })).toBe('[user]Hi</s>[assistant]One,');
  expect(go({ content: 'One, ' })).toBe('[user]Hi</s>[assistant]One,');
  expect(go({ content: [{ type: 'text', text: 'One,' }] })).toBe('[user]Hi</s>[assistant]One,');
  expect(go({ content: 'a', reasoning: 'because ' }, 'reasoning')).toBe(
    '[user]Hi</s>[assistant]abecause ',
  );
});

it.each([
  [{ content: [{ type: 'image' }] }, true, /only parts of type "text"|none of its parts/],
  [{ content: 'a' }, 'reasoning', /has no reasoning/],
  [{ content: 'a', other: 'b' }, 'other', /reads no other/],
])('refuses %j by %j', (last, member, why) => {
  expect(() => go(last, member)).toThrow(why);
});

it('refuses a template that drops the message', () => {
  const drops = new ChatTemplate('content{{ messages[0].content }}');
  const turns = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ];
  expect(() => drops.render(turns, { continueFinalMessage: true })).toThrow(
    /does not stand in the rendered text/,
  );
});
