import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';

const BIN = join(ROOT, 'bin', 'octavo.js');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function octavo(args: string[], input?: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    encoding: 'utf8',
    input: input ?? '',
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const golden = JSON.parse(
  readFileSync(join(ROOT, 'test', 'fixtures', 'octavo-demo', 'golden.json'), 'utf8'),
) as { prompts: { text: string; greedy_text: string; prompt_token_ids: number[] }[] };
const { text, greedy_text: greedyText, prompt_token_ids: ids } = golden.prompts[0];
const GREEDY = ['--temperature', '0', '--max-tokens', '48'];

describe('octavo generate', () => {
  it('prints plain text: from an argument, stdin, a file, ids', () => {
    const expected = { status: 0, stdout: `${greedyText}\n`, stderr: '' };
    expect(octavo(['generate', text, ...GREEDY])).toEqual(expected);
    expect(octavo(['generate', ...GREEDY], text)).toEqual(expected);
    expect(octavo(['generate', '-', ...GREEDY], `${text}\n`)).toEqual(expected);
    expect(octavo(['generate', '--file', file('p.txt', text), ...GREEDY])).toEqual(expected);
    expect(octavo(['generate', '--prompt-token-ids', ids.join(), ...GREEDY])).toEqual(expected);
  });

  it('searches with beams: scores with the text, JSON, lines of a file', () => {
    const beams = ['--beam', '3', '--max-tokens', '8', '--length-penalty', '0.5'];
    const { stdout } = octavo(['generate', text, ...beams, '--early-stopping', 'never', '--json']);
    const { outputs } = JSON.parse(stdout);
    expect(outputs).toHaveLength(3);
    const scores = outputs.map((o: { score: number }) => o.score);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    const plain = octavo(['generate', text, ...beams, '--early-stopping', 'never']).stdout;
    expect(plain.startsWith(`[0] (${scores[0].toFixed(4)}) ${outputs[0].text}`)).toBe(true);

    const path = file(
      'beams.jsonl',
      [
        JSON.stringify({ prompt: text, beamWidth: 2, earlyStopping: true }),
        JSON.stringify({ prompt: text, beamWidth: 2, earlyStopping: 'perhaps' }),
      ].join('\n'),
    );
    const refused = octavo(['generate', '--prompts-file', path, '--temperature', '0.5']);
    expect(refused).toMatchObject({ status: 2, stdout: '' });
    expect(refused.stderr).toMatch(/line 2: earlyStopping must be true, false or "never"/);
    writeFileSync(path, readFileSync(path, 'utf8').split('\n')[0]);
    const lines = octavo(['generate', '--prompts-file', path, '--temperature', '0.5', '--json']);
    expect(JSON.parse(lines.stdout).outputs).toHaveLength(2);
    expect(octavo(['generate', text, '--beam', '0']).stderr).toMatch(/beamWidth must be/);
    expect(octavo(['generate', text, '--beam', '2', '--n', '2']).stderr).toMatch(
      /no parameter "n"/,
    );
  });

  it('prints JSON, samples, stats', () => {
    const { stdout, stderr } = octavo([
      'generate',
      text,
      '--n',
      '3',
      '--seed',
      '5',
      '--json',
      '--logprobs',
      '1',
      '--stats',
    ]);
    const output = JSON.parse(stdout);
    expect(output.outputs).toHaveLength(3);
    expect(output).toMatchObject({ finished: true, seed: 5 });
    expect(output.outputs[0].logprobs[0].top).toHaveLength(1);
    for (const word of ['TTFT', 'tokens/s', 'KV peak', 'cache hits', 'blocks shared', 'copies']) {
      expect(stderr).toContain(word);
    }
    const plain = octavo(['generate', text, '--n', '3', '--seed', '5']).stdout;
    for (const o of output.outputs) expect(plain).toContain(`[${o.index}] ${o.text}\n`);
  });

  it('runs a file of lines and of objects, in order', () => {
    const lines = golden.prompts.slice(0, 5);
    const plain = octavo([
      'generate',
      '--prompts-file',
      file('many.txt', lines.map((p) => `${p.text}\n`).join('\n')),
      '--json',
      ...GREEDY,
    ]);
    expect(plain.status).toBe(0);
    const outputs = plain.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(outputs.map((o) => o.prompt)).toEqual(lines.map((p) => p.text));
    const jsonl = file(
      'many.jsonl',
      [
        { prompt: text, temperature: 0, maxTokens: 48 },
        { promptTokenIds: ids, temperature: 0, maxTokens: 4 },
        { messages: [{ role: 'user', content: 'Hello' }], maxTokens: 5, seed: 1 },
      ]
        .map((o) => JSON.stringify(o))
        .join('\n'),
    );
    const objects = octavo(['generate', '--prompts-file', jsonl, '--json']);
    const [a, b, c] = objects.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(a.outputs[0].text).toBe(greedyText);
    expect(b.outputs[0].tokenIds).toHaveLength(4);
    expect(c.prompt).toContain('Hello');
  });

  it.each([
    ['not JSON', '{"prompt": "a"}\n{oops', 'line 2'],
    ['no prompt', '{"prompt": "a"}\n\n{"maxTokens": 3}', 'line 3'],
    ['a bad parameter', '{"prompt": "a", "temperature": -1}', 'line 1'],
    ['an unknown one', '{"prompt": "a"}\n{"prompt": "b", "tmp": 1}', 'line 2'],
    ['too long', `{"prompt": "a"}\n{"prompt": "${'whale '.repeat(2000)}"}`, 'line 2'],
  ])(
    'a prompts file with %s fails with the line, before anything is generated',
    (_, content, where) => {
      const { status, stdout, stderr } = octavo([
        'generate',
        '--prompts-file',
        file('bad.jsonl', content),
      ]);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toContain(where);
      expect(stderr.trim().split('\n')).toHaveLength(1);
    },
  );

  it.each([
    [['--temperature', 'hot'], 2],
    [['--top-p', '7'], 2],
    [['--max-tokens', '0'], 2],
    [['--model', '/nowhere'], 1],
    [['--device', 'cuda'], 1],
    [['--block-size', '5'], 2],
    [['--file', '/nowhere'], 2],
    [['--logit-bias', 'x:1'], 2],
  ])('%s is one sentence and an exit code', (args, code) => {
    const { status, stdout, stderr } = octavo(['generate', 'A', ...(args as string[])]);
    expect({ status, stdout }).toEqual({ status: code, stdout: '' });
    expect(stderr).toMatch(/^octavo: .+ \(ERR_\w+\)\n$/);
  });

  it('Ctrl-C ends cleanly with what was generated', async () => {
    const child = spawn(process.execPath, [
      BIN,
      'generate',
      'The sea',
      '--ignore-eos',
      '--max-tokens',
      '1000',
      '--seed',
      '1',
      '--num-threads',
      '1',
      '--isa',
      'scalar',
    ]);
    let stdout = '';
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.stdout.on('data', (data) => {
      if (stdout === '') child.kill('SIGINT');
      stdout += data;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
    expect(stdout.length).toBeGreaterThan(1);
    expect(stdout.endsWith('\n')).toBe(true);
  });

  it('a reader that goes away is no error', () => {
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', `"${process.execPath}" "${BIN}" generate A --ignore-eos --max-tokens 900 | head -c 5`],
      { encoding: 'utf8' },
    );
    expect(stdout.length).toBeGreaterThan(0);
    expect(stderr).toBe('');
  });
});

describe('octavo inspect, tokenize', () => {
  it('tells what a model is', () => {
    const { stdout } = octavo(['inspect']);
    for (const word of ['llama', '5,475,584', 'BF16', '3.00 KiB', 'blocks of 16']) {
      expect(stdout).toContain(word);
    }
    const gguf = join(ROOT, 'test', 'fixtures', 'gguf', 'llama-q8_0.gguf');
    const record = JSON.parse(octavo(['inspect', gguf, '--json', '--block-size', '8']).stdout);
    expect(record).toMatchObject({ architecture: 'llama', numLayers: 3, blockSize: 8 });
    expect(Object.keys(record.dtypes)).toContain('Q8_0');
  });

  it('encodes and decodes', () => {
    const pieces = JSON.parse(octavo(['tokenize', text, '--json']).stdout);
    expect(pieces.map((p: { id: number }) => p.id)).toEqual(ids);
    expect(octavo(['tokenize', '--decode', '--no-special-tokens', ids.join()]).stdout).toBe(
      `${text}\n`,
    );
    const bad = octavo(['tokenize', '--decode', '5,99999']);
    expect(bad.status).toBe(2);
    expect(bad.stderr).toContain('99999');
  });
});
