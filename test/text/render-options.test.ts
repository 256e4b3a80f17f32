import { expect, it } from 'vitest';
import { renderSettings } from '../../lib/text/render-options.js';

it('completes options, and takes other names for variables', () => {
  const now = new Date(0);
  const settings = renderSettings({
    enable_thinking: false,
    variables: { now: 'x', y: 1 },
    now,
    documents: [],
  });
  expect(settings).toEqual({
    addGenerationPrompt: true,
    continued: undefined,
    tools: null,
    documents: [],
    chatTemplate: undefined,
    templateName: undefined,
    now,
    variables: { enable_thinking: false, y: 1 },
  });
  expect(renderSettings({ continueFinalMessage: true })).toMatchObject({
    addGenerationPrompt: false,
    continued: 'content',
  });
  expect(renderSettings({ continueFinalMessage: 'reasoning_content' }).continued).toBe(
    'reasoning_content',
  );
  expect(renderSettings({ add_generation_prompt: false }).addGenerationPrompt).toBe(false);
});

it.each([
  ['addGenerationPrompt', 'yes'],
  ['tools', {}],
  ['documents', 'x'],
  ['chatTemplate', 5],
  ['templateName', null],
  ['now', new Date(Number.NaN)],
  ['variables', []],
  ['continueFinalMessage', 1],
])('refuses %s: %j', (name, value) => {
  expect(() => renderSettings({ [name]: value })).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: `template.${name}` }),
  );
});

it('refuses what is no object, throws when read, or excludes itself', () => {
  const invalid = expect.objectContaining({ code: 'ERR_INVALID_PARAM' });
  for (const options of [null, [], 5, 'x'])
    expect(() => renderSettings(options as never)).toThrow(invalid);
  const trap = {
    get tools(): never {
      throw new Error('no');
    },
  };
  expect(() => renderSettings(trap)).toThrow(invalid);
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  expect(() => renderSettings(revoked.proxy)).toThrow(invalid);
  for (const name of ['variables', 'tools', 'documents', 'now']) {
    const named = expect.objectContaining({ param: `template.${name}` });
    expect(() => renderSettings({ [name]: revoked.proxy })).toThrow(named);
  }
  expect(() => renderSettings({ variables: trap })).toThrow(invalid);
  expect(() => renderSettings({ continueFinalMessage: true, addGenerationPrompt: true })).toThrow(
    /cannot both go on/,
  );
});
