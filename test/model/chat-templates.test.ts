import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { folderTemplates, ggufTemplates } from '../../lib/model/chat-templates.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-templates-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const found = (config: Record<string, unknown> = {}) =>
  folderTemplates(folder, readdirSync(folder), config);

it('reads named templates of every place, a file over the config', async () => {
  expect(await found()).toBeUndefined();
  const list = [
    { name: 'default', template: 'a' },
    { name: 'tool_use', template: 'b' },
  ];
  expect(await found({ chat_template: list })).toEqual(list);
  writeFileSync(join(folder, 'chat_template.jinja'), 'c');
  expect(await found({ chat_template: 'a' })).toBe('c');
  expect(await found({ chat_template: list })).toEqual([
    { name: 'default', template: 'c' },
    list[1],
  ]);
  mkdirSync(join(folder, 'additional_chat_templates'));
  writeFileSync(join(folder, 'additional_chat_templates', 'rag.jinja'), 'd');
  writeFileSync(join(folder, 'additional_chat_templates', 'README.md'), '');
  expect(await found()).toEqual([
    { name: 'default', template: 'c' },
    { name: 'rag', template: 'd' },
  ]);
  await expect(found({ chat_template: 5 })).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' });
});

it("reads a GGUF file's named templates", () => {
  const key = 'tokenizer.chat_template';
  expect(ggufTemplates(new Map())).toBeUndefined();
  expect(ggufTemplates(new Map([[key, 'a']]))).toBe('a');
  expect(
    ggufTemplates(
      new Map([
        [key, 'a'],
        [`${key}.tool_use`, 'b'],
      ]),
    ),
  ).toEqual([
    { name: 'default', template: 'a' },
    { name: 'tool_use', template: 'b' },
  ]);
});
