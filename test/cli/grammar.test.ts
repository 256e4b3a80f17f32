import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/run-cli.js';

const folder = mkdtempSync(join(tmpdir(), 'octavo-grammar-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const schema = file(
  'schema.json',
  JSON.stringify({
    type: 'object',
    properties: { a: { type: 'integer' } },
    required: ['a'],
    additionalProperties: false,
  }),
);

describe('octavo grammar check', () => {
  it('says that a schema compiles', async () => {
    const { status, stdout } = await runCli(['grammar', 'check', schema]);
    expect(stdout).toMatch(/^compiles in [\d.]+ ms, takes [\d.]+ \w+\n$/);
    expect(status).toBe(0);
  });

  it('says which instances pass, and where others go wrong', async () => {
    const good = file('good.jsonl', '{"a": 1}\n\n{"a":-20}\n');
    expect(await runCli(['grammar', 'check', schema, good])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/\n1: passes\n3: passes\n2 of 2 texts pass\n$/),
    });
    const bad = file('bad.jsonl', '{"a": 1}\n{"a": "é"}\n{"a": 1\n');
    const { status, stdout } = await runCli(['grammar', 'check', schema, bad]);
    expect(stdout).toContain('2: refused at byte 6, between "{\\"a\\": " and "\\"é\\"}"\n');
    expect(stdout).toContain('3: ends too early\n1 of 3 texts pass\n');
    expect(status).toBe(1);
    const asJson = await runCli(['grammar', 'check', schema, bad, '--json']);
    const [grammar, ...texts] = asJson.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(grammar).toMatchObject({ warnings: [] });
    expect(texts).toEqual([
      { line: 1, passes: true, refusedAt: null },
      { line: 2, passes: false, refusedAt: 6 },
      { line: 3, passes: false, refusedAt: 7 },
    ]);
  });

  it('takes grammars and regular expressions', async () => {
    const grammar = file('list.gbnf', 'root ::= "- " [a-z]+');
    const texts = file('list.txt', '- abc\n* abc\n');
    const { status, stdout } = await runCli(['grammar', 'check', grammar, texts]);
    expect([status, stdout]).toEqual([1, expect.stringContaining('1 of 2 texts pass')]);
    const regex = file('regex', '[a-z]{2}\\d');
    const one = file('regex.txt', 'ab1\n');
    const args = ['grammar', 'check', regex, one, '--kind', 'regex'];
    expect((await runCli(args)).status).toBe(0);
  });

  it('refuses what cannot be enforced, by its pointer, unless told to leave it out', async () => {
    const strange = file(
      'strange.json',
      JSON.stringify({
        type: 'object',
        properties: { a: { type: 'string', pattern: '(?=b)a' } },
      }),
    );
    const refused = await runCli(['grammar', 'check', strange]);
    expect(refused.stderr).toMatch(/^octavo: .*\/properties\/a\/pattern.*\(ERR_GRAMMAR\)\n$/);
    expect(refused.status).toBe(2);
    const lenient = await runCli(['grammar', 'check', strange, '--no-strict']);
    expect(lenient.stdout).toMatch(/\nnot enforced: .*\/properties\/a\/pattern/);
    expect(lenient.status).toBe(0);
    expect((await runCli(['grammar', 'check', join(folder, 'none.json')])).status).toBe(2);
  });

  it('names a file that is empty, or no JSON', async () => {
    for (const [name, text, why] of [
      ['empty.json', '\n', 'is empty'],
      ['empty.gbnf', '', 'is empty'],
      ['half.json', '{"type":', 'is no JSON'],
    ]) {
      const path = file(name, text);
      const { status, stderr } = await runCli(['grammar', 'check', path]);
      expect([status, stderr]).toEqual([2, expect.stringContaining(`${path} ${why}`)]);
    }
  });
});

describe('octavo generate', () => {
  it('keeps to a schema, a choice and the like', async () => {
    const rest = ['A', '--max-tokens', '40', '--seed', '5'];
    const json = await runCli(['generate', ...rest, '--json-schema', schema]);
    expect(JSON.parse(json.stdout)).toEqual({ a: expect.any(Number) });
    const chosen = await runCli(['generate', ...rest, '--choice', 'yes', '--choice', 'no']);
    expect(chosen.stdout).toMatch(/^(yes|no)\n$/);
    const regex = await runCli(['generate', ...rest, '--regex', '[0-9]{3}']);
    expect(regex.stdout).toMatch(/^\d{3}\n$/);
    const inline = await runCli(['generate', ...rest, '--json-schema', '{"type": "object"}']);
    expect([inline.status, inline.stderr]).toEqual([
      2,
      expect.stringContaining('--json-schema takes the name of a file'),
    ]);
    const both = await runCli(['generate', ...rest, '--regex', 'a', '--choice', 'b']);
    expect([both.status, both.stderr]).toEqual([2, expect.stringContaining('exclude each other')]);
  });
});
