import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readPrompt, readPromptsFile } from '../../lib/cli/prompt-input.js';
import { temporaryFolder } from '../support/write-model.js';

const folder = temporaryFolder();

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('a prompts file', () => {
  it('is one prompt a line, whatever ends the lines; empty ones count but are passed over', async () => {
    const read = await readPromptsFile(file('a.txt', '\uFEFFone\r\n\n  \ntwo\n three '));
    expect(read).toEqual([
      { line: 1, prompt: 'one', params: {} },
      { line: 4, prompt: 'two', params: {} },
      { line: 5, prompt: ' three ', params: {} },
    ]);
  });

  it('may be large: characters and lines across the pieces it is read in', async () => {
    const lines = Array.from({ length: 30_000 }, (_, i) => `${i} 𝄞 é ${'x'.repeat(i % 50)}`);
    lines.push('é'.repeat(300_000));
    const read = await readPromptsFile(file('large.txt', lines.join('\n')));
    expect(read.map(({ prompt }) => prompt)).toEqual(lines);
    expect(read.at(-1)!.line).toBe(30_001);
  });

  it('may be a FIFO', async () => {
    const path = join(folder, 'fifo.jsonl');
    execFileSync('mkfifo', [path]);
    const line = '{"prompt": "a", "maxTokens": 3}';
    spawn('sh', ['-c', 'printf %s "$1" > "$2"', 'sh', line, path]);
    expect(await readPromptsFile(path)).toEqual([
      { line: 1, prompt: { prompt: 'a' }, params: { maxTokens: 3 } },
    ]);
  });

  it('that is empty, missing, a folder or no UTF-8 is refused', async () => {
    const refused = async (path: string, why: RegExp) =>
      expect(readPromptsFile(path)).rejects.toMatchObject({
        code: 'ERR_FILE',
        message: expect.stringMatching(why),
      });
    await refused(file('empty.txt', '\n \n'), /has no prompt/);
    await refused(join(folder, 'none'), /cannot read .*none: ENOENT/);
    await refused(folder, /cannot read .*EISDIR/);
    await refused(file('latin.txt', Uint8Array.of(65, 10, 0xe9, 10)), /cannot read .*not valid/);
    await refused(file('cut.txt', Uint8Array.of(65, 0xc3)), /cannot read .*not valid/);
  });
});

it('a prompt from a file is its text without the last line end', async () => {
  expect(await readPrompt(undefined, file('p.txt', 'é\n\n'))).toBe('é\n');
  await expect(readPrompt(undefined, join(folder, 'none'))).rejects.toThrow(/cannot read .*none/);
});
