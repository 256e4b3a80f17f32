import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { nestModel } from '../support/nest-model.js';
import { temporaryFolder } from '../support/write-model.js';

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
    timeout: 300_000,
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

const ended = (child: ChildProcess) => new Promise((resolve) => child.on('close', resolve));

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
    [['--prompt-token-ids', '5,6'], 2], // beside a prompt
  ])('%s is one sentence and an exit code', (args, code) => {
    const { status, stdout, stderr } = octavo(['generate', 'A', ...(args as string[])]);
    expect({ status, stdout }).toEqual({ status: code, stdout: '' });
    expect(stderr).toMatch(/^octavo: .+ \(ERR_\w+\)\n$/);
  });

  it.each([['--max-token', '5'], ['--max-tokens'], ['A', 'second', 'argument']])(
    '%s is a mistyped call: exit code 2',
    (...args) => {
      const { status, stdout, stderr } = octavo(['generate', ...args]);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(/^error: /);
    },
  );

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends cleanly with what was generated: %i', async (signal, code) => {
    const slow = ['--max-tokens', '1000', '--num-threads', '1', '--isa', 'scalar'];
    const child = spawn(process.execPath, [BIN, 'generate', 'The sea', '--ignore-eos', ...slow]);
    let stdout = '';
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.stdout.on('data', (data) => {
      if (stdout === '') child.kill(signal);
      stdout += data;
    });
    expect(await ended(child)).toBe(code);
    expect(stderr).toBe('');
    expect(stdout.length).toBeGreaterThan(1);
    expect(stdout.endsWith('\n')).toBe(true);
  });

  it('a bare prompt for a model made for conversations gets a hint', () => {
    const model = join(folder, 'chat');
    const demo = join(ROOT, 'models', 'octavo-demo');
    cpSync(demo, model, { recursive: true });
    writeFileSync(
      join(model, 'chat_template.jinja'),
      '{% for m in messages %}{{ bos_token + m.content + eos_token }}{% endfor %}',
    );
    const run = (...args: string[]) => octavo(['generate', '--model', model, ...args, ...GREEDY]);
    const hint =
      'octavo: this model is made for conversations; --chat asks it as one (this was plain text)\n';
    expect(run(text)).toEqual({ status: 0, stdout: `${greedyText}\n`, stderr: hint });
    for (const knows of [
      ['--chat', text],
      ['--prompt-token-ids', ids.join()],
    ]) {
      expect(run(...knows)).toMatchObject({ status: 0, stderr: '' });
    }
  });

  it('a full disk is one sentence', () => {
    const full = openSync('/dev/full', 'w');
    for (const args of [['generate', 'A', '--max-tokens', '2'], ['inspect']]) {
      const { status, stderr } = spawnSync(process.execPath, [BIN, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', full, 'pipe'],
      });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: 'octavo: cannot write to stdout: ENOSPC: no space left on device, write\n',
      });
    }
    closeSync(full);
  });

  it('a reader of stderr that goes away harms nothing', async () => {
    const child = spawn(process.execPath, [BIN, 'generate', text, '--stats', ...GREEDY]);
    child.stderr.destroy();
    let stdout = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    expect(await ended(child)).toBe(0);
    expect(stdout).toBe(`${greedyText}\n`);
  });

  it('events go to a file, or to a FIFO that somebody reads', async () => {
    const path = join(folder, 'events');
    expect(octavo(['generate', text, '--events', path, ...GREEDY]).status).toBe(0);
    expect(JSON.parse(readFileSync(path, 'utf8').trim().split('\n').at(-1)!)).toMatchObject({
      generationTokens: 48,
    });
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const { status, stderr } = octavo(['generate', text, '--events', fifo]);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `octavo: cannot write ${fifo}: nobody reads it (ERR_FILE)\n`,
    });
    const reader = spawn('tail', ['-n', '1', fifo]);
    const read = ended(reader);
    let last = '';
    reader.stdout.on('data', (data) => {
      last += data;
    });
    // Again until the reader has the FIFO open.
    while (octavo(['generate', text, '--events', fifo, ...GREEDY]).status !== 0);
    await read;
    expect(JSON.parse(last)).toMatchObject({ generationTokens: 48 });
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

it('a command that is none is a mistyped call: exit code 2', () => {
  const { status, stdout, stderr } = octavo(['serf']);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^error: unknown command 'serf'/);
  expect(octavo(['--version']).status).toBe(0);
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
    const mixed = join(ROOT, 'test', 'fixtures', 'models', 'gemma3');
    const short = ['--max-num-seqs', '2', '--max-model-len', '100'];
    // 100 tokens in the one, at most the window and a step of 256 in the others.
    const rows = octavo(['inspect', mixed, ...short]).stdout;
    expect(rows).toMatch(
      /KV groups +3 layers in 3 groups: a window of 20 in blocks of 16; 1 layer /,
    );
    expect(rows).toMatch(
      /KV pool here +57 blocks of all groups, 228 KiB: at least 2 sequences of 100 tokens/,
    );
    expect(JSON.parse(octavo(['inspect', mixed, ...short, '--json']).stdout)).toMatchObject({
      ...{ numBlocks: 57, blockBytes: 4096, numFullSeqs: 2 },
      kvGroups: [20, 20, 20, 0].map((window) => ({ window, blockSize: 16, numLayers: 1 })),
    });
    const folder = temporaryFolder();
    const plain = join(ROOT, 'test', 'fixtures', 'models', 'mistral-window');
    nestModel(plain, folder, 'model.language_model.', { model_type: 'mistral3' });
    expect(octavo(['inspect', folder]).stdout).toMatch(/passed over +vision \(1 tensors\)/);
    expect(JSON.parse(octavo(['inspect', folder, '--json']).stdout)).toMatchObject({
      skipped: { vision: 1 },
      slidingWindows: [24],
    });
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

  it('needs no more of a model than its vocabulary', () => {
    const file = join(ROOT, 'test', 'fixtures', 'tokenizers', 'wordpiece.gguf');
    const pieces = JSON.parse(octavo(['tokenize', 'The sea', '--json', '--model', file]).stdout);
    expect(pieces[0]).toEqual({ id: 2, token: '[CLS]' });
    expect(pieces[1].token).toBe('the');
    expect(pieces.at(-1)).toEqual({ id: 3, token: '[SEP]' });
  });
});
