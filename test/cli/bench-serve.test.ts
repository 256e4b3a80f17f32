import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  chatChunk,
  completion,
  json,
  type Script,
  scriptedServer,
  stream,
  usageChunk,
  wordIds,
} from '../support/openai-server.js';
import { runCli } from '../support/run-cli.js';
import { temporaryFolder } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(script: Script, options?: { tokenize: boolean }) {
  const server = await scriptedServer(script, options);
  closers.push(server.close);
  const bench = (...args: string[]) =>
    runCli(['bench', 'serve', '--base-url', server.url, ...args]);
  return { ...server, bench };
}

const answers: Script = ({ body }, response) =>
  stream(response, completion(body.max_tokens, body.prompt.length));
const folder = temporaryFolder();

const RAMP = ['--ramp-up-strategy', 'linear', '--ramp-up-start-rps', '1', '--ramp-up-end-rps'];

describe('octavo bench serve', () => {
  it('prints the table, writes the JSON under its name and a plot', async () => {
    const { bench, asked } = await serve(answers, { tokenize: true });
    const results = join(folder, 'results');
    const plot = join(folder, 'plot.svg');
    const args = ['--num-prompts', '12', '--random-input-len', '9', '--random-output-len', '4'];
    args.push(
      '--request-rate',
      '200',
      '--burstiness',
      '0.5',
      '--max-concurrency',
      '5',
      '--seed',
      '3',
    );
    args.push('--goodput', 'ttft:60000', 'e2el:60000', '--metric-percentiles', '50,90');
    args.push(
      '--save-detailed',
      '--result-dir',
      results,
      '--plot',
      plot,
      '--metadata',
      'host=here',
    );
    const { status, stdout, stderr } = await bench(...args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /^=+ Serving Benchmark Result =+\nSuccessful requests: +12\nFailed requests: +0\n/,
    );
    expect(stdout).toMatch(/Total input tokens: +108\nTotal generated tokens: +48\n/);
    for (const name of ['TTFT', 'TPOT', 'ITL', 'E2EL', 'normalized latency']) {
      expect(stdout).toContain(`Mean ${name} (ms):`);
      expect(stdout).toContain(`P90 ${name} (ms):`);
    }
    const [name, ...others] = readdirSync(results);
    expect(name).toMatch(/^openai-200\.0qps-concurrency5-scripted-\d{8}-\d{6}\.json$/);
    expect(others).toEqual([]);
    const record = JSON.parse(readFileSync(join(results, name), 'utf8'));
    expect(record).toMatchObject({
      model_id: 'org/scripted',
      host: 'here',
      completed: 12,
      failed: 0,
    });
    expect(record.request_goodput).toBe(record.request_throughput);
    expect(record.itls.map((gaps: number[]) => gaps.length)).toEqual(Array(12).fill(3));
    expect(record.errors).toEqual(Array(12).fill(''));
    expect(readFileSync(plot, 'utf8')).toMatch(/^<svg/);
    // One to warm up. Ids are those that the server's tokenizer knows; random ignores EOS.
    expect(asked).toHaveLength(13);
    for (const { body } of asked) {
      expect(body).toMatchObject({ model: 'org/scripted', max_tokens: 4, ignore_eos: true });
      expect(body.prompt).toHaveLength(9);
      for (const id of body.prompt) expect(id).toBeLessThan(100 + 997);
    }
  });

  it('the same seed asks the same, another something else', async () => {
    const { bench, asked } = await serve(answers, { tokenize: true });
    const prompts = async (seed: string) => {
      const from = asked.length;
      await bench(
        '--num-prompts',
        '3',
        '--random-input-len',
        '5',
        '--seed',
        seed,
        '--output-len',
        '1',
      );
      return asked
        .slice(from)
        .map(({ body }) => body.prompt.join())
        .sort();
    };
    expect(await prompts('1')).toEqual(await prompts('1'));
    expect(await prompts('1')).not.toEqual(await prompts('2'));
  });

  it('a server without /tokenize gets text, and its usage counts', async () => {
    const script: Script = (_, response) => stream(response, completion(2, 77));
    const { bench, asked } = await serve(script);
    const args = ['--num-prompts', '2', '--random-input-len', '6', '--no-ignore-eos'];
    const { status, stdout, stderr } = await bench(...args);
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /^octavo: the server has no \/tokenize: prompts are text of so many words/,
    );
    expect(stdout).toMatch(/Total input tokens: +154\n/);
    expect(asked[0].body.prompt.split(' ')).toHaveLength(6);
    expect(asked[0].body).not.toHaveProperty('ignore_eos');
    await bench('--num-prompts', '1', '--random-input-len', '50', '--vocab-size', '10');
    expect(Math.max(...asked.at(-1)!.body.prompt)).toBeLessThan(10);
  });

  it('chat: text of as many tokens, headers and keys, members of --extra-body', async () => {
    const script: Script = (_, response) =>
      stream(response, [chatChunk({ content: 'a' }), chatChunk({}, 'stop'), usageChunk(11, 1)]);
    const { bench, asked } = await serve(script, { tokenize: true });
    const args = [
      '--backend',
      'openai-chat',
      '--dataset-name',
      'prefix_repetition',
      '--num-prompts',
      '40',
    ];
    args.push('--prefix-repetition-prefix-len', '7', '--prefix-repetition-suffix-len', '4');
    args.push('--prefix-repetition-num-prefixes', '2', '--temperature', '0', '--model', 'm');
    args.push('--api-key', 'k', '--header', 'x-a=b=c', 'x-b=d');
    args.push('--extra-body', '{"seed": 9223372036854775807}');
    args.push('--header', 'x-c=e', '--logprobs', '2', '--presence-penalty', '-1', '--disable-tqdm');
    args.push('--request-id-prefix', 'run-');
    expect(await bench(...args)).toMatchObject({ status: 0, stderr: '' });
    expect(asked).toHaveLength(41);
    for (const { path, headers, body, text } of asked) {
      expect(path).toBe('/v1/chat/completions');
      expect(text).toContain('"seed":9223372036854775807');
      expect(headers).toMatchObject({ authorization: 'Bearer k', 'x-a': 'b=c' });
      expect(headers).toMatchObject({ 'x-b': 'd', 'x-c': 'e' });
      expect(body).toMatchObject({ logprobs: true, top_logprobs: 2, presence_penalty: -1 });
      expect(body).toMatchObject({
        model: 'm',
        temperature: 0,
        max_completion_tokens: 128,
      });
      expect(body).not.toHaveProperty('ignore_eos');
      expect(wordIds(body.messages[0].content)).toHaveLength(11);
    }
    // The first one warms up, and has none of the run's.
    const ids = asked.map(({ headers }) => headers['x-request-id']);
    expect(ids).toEqual([undefined, ...Array.from({ length: 40 }, (_, i) => `run-${i}`)]);
    const prefix = (text: string) => text.split(' ').slice(0, 5).join(' ');
    expect(new Set(asked.slice(1).map(({ body }) => prefix(body.messages[0].content))).size).toBe(
      2,
    );
  });

  it('a rate that grows, and results behind those of another run', async () => {
    const { bench, asked } = await serve(answers, { tokenize: true });
    const args = ['--num-prompts', '6', '--random-input-len', '3', '--random-output-len', '2'];
    args.push('--ramp-up-strategy', 'exponential', '--ramp-up-start-rps', '50');
    args.push(
      '--ramp-up-end-rps',
      '500',
      '--result-dir',
      folder,
      '--result-filename',
      'both.jsonl',
    );
    args.push('--append-result', '--logprobs', '1');
    for (const _ of [1, 2]) expect(await bench(...args)).toMatchObject({ status: 0, stderr: '' });
    const lines = readFileSync(join(folder, 'both.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { ramp_up_strategy: 'exponential', ramp_up_start_rps: 50, ramp_up_end_rps: 500 },
      { request_rate: 'inf', completed: 6 },
    ]);
    for (const { body } of asked) expect(body.logprobs).toBe(1);
    const ids = asked.map(({ headers }) => headers['x-request-id'] ?? '');
    expect(new Set(ids).size).toBe(13);
    expect(ids.filter((id) => /^bench-[0-9a-f]{8}-[0-5]$/.test(`${id}`))).toHaveLength(12);
  });

  it('sharegpt: prompts of the file', async () => {
    const path = join(folder, 'share.json');
    const turns = ['one two three four five', 'six seven eight nine'];
    writeFileSync(path, JSON.stringify([{ conversations: turns.map((value) => ({ value })) }]));
    const { bench, asked } = await serve(answers, { tokenize: true });
    const args = ['--dataset-name', 'sharegpt', '--dataset-path', path, '--num-prompts', '2'];
    expect((await bench(...args)).status).toBe(0);
    expect(asked[0].body).toMatchObject({ prompt: turns[0], max_tokens: wordIds(turns[1]).length });
  });

  it('failures are told, counted and kept; all failed is exit code 1', async () => {
    const script: Script = (asked, response, index) =>
      index % 2 === 0 && index < 6
        ? answers(asked, response, index)
        : json(response, 500, { error: { message: 'boom' } });
    const { bench } = await serve(script, { tokenize: true });
    const file = ['--save-result', '--result-dir', folder, '--result-filename', 'failures.json'];
    const args = ['--num-prompts', '5', '--max-concurrency', '1', '--output-len', '2', ...file];
    const { status, stdout, stderr } = await bench(...args);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Successful requests: +2\nFailed requests: +3\n/);
    expect(stderr).toBe('octavo: 3 failed: HTTP 500: boom\n');
    const record = JSON.parse(readFileSync(join(folder, 'failures.json'), 'utf8'));
    expect(record).toMatchObject({ completed: 2, failed: 3 });
    expect(record.errors).toEqual(['HTTP 500: boom', '', 'HTTP 500: boom', '', 'HTTP 500: boom']);

    const dead = await serve((asked, r, i) => (i === 0 ? answers(asked, r, i) : r.destroy()), {
      tokenize: true,
    });
    const all = await dead.bench('--num-prompts', '2', '--output-len', '2');
    expect(all.status).toBe(1);
    expect(all.stdout).toMatch(/Successful requests: +0\nFailed requests: +2\n/);
  });

  it('waits for a server that is not up, before anything is asked of it', async () => {
    const { bench, server, asked } = await serve(answers, { tokenize: true });
    let cut = 3;
    server.prependListener('connection', (socket) => {
      if (cut-- > 0) socket.destroy();
    });
    const args = ['--num-prompts', '2', '--random-input-len', '3', '--output-len', '1'];
    const { status, stderr } = await bench(...args, '--ready-check-timeout-sec', '120');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    // Ids, which only its tokenizer knows.
    for (const { body } of asked) expect(body.prompt).toHaveLength(3);
  });

  it('where its results cannot go, nothing is asked', async () => {
    const { bench, asked } = await serve(answers, { tokenize: true });
    const file = join(folder, 'a-file');
    writeFileSync(file, 'mine');
    const before = readdirSync(folder);
    for (const args of [
      ['--save-result', '--result-dir', file],
      ['--append-result', '--result-dir', join(file, 'deeper')],
      ['--save-detailed', '--result-dir', folder, '--label', 'a/b'],
      ['--save-result', '--result-dir', folder, '--result-filename', '.'],
      ['--plot', folder],
      ['--plot', join(folder, 'absent', 'plot.svg')],
    ]) {
      const { status, stdout, stderr } = await bench('--num-prompts', '2', ...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(/^octavo: cannot write .+ \(ERR_FILE\)\n$/);
    }
    expect(asked).toEqual([]);
    expect(readFileSync(file, 'utf8')).toBe('mine');
    expect(readdirSync(folder)).toEqual(before);
  });

  it('Ctrl-C tells what was measured, with exit code 130', async () => {
    let interrupt = () => {};
    const server = await scriptedServer(
      (asked, response, index) => (index < 3 ? answers(asked, response, index) : interrupt()),
      { tokenize: true },
    );
    closers.push(server.close);
    const args = ['bench', 'serve', '--base-url', server.url, '--max-concurrency', '1'];
    const { status, stdout } = await runCli([...args, '--output-len', '1'], (child) => {
      interrupt = () => child.kill('SIGINT');
    });
    expect(status).toBe(130);
    expect(stdout).toMatch(/Successful requests: +2\nFailed requests: +1\n/);
  });

  it.each<[string[], RegExp]>([
    [['--num-prompts', '0'], /--num-prompts must be a whole number of at least 1/],
    [['--num-prompts', '1.5'], /--num-prompts/],
    [['--ramp-up-strategy', 'steep'], /--ramp-up-strategy must be linear or exponential/],
    [['--ramp-up-start-rps', '1'], /--ramp-up-start-rps is for --ramp-up-strategy/],
    [
      ['--ramp-up-strategy', 'linear', '--ramp-up-start-rps', '1'],
      /--ramp-up-end-rps must be given/,
    ],
    [[...RAMP, '1', '--request-rate', '2'], /--request-rate and --ramp-up-strategy exclude/],
    [[...RAMP, '0.5'], /--ramp-up-end-rps must be at least 1, the start/],
    [['--request-rate', '0'], /--request-rate must be a number above 0/],
    [['--burstiness', '-1'], /--burstiness/],
    [['--random-range-ratio', '1'], /--random-range-ratio/],
    [['--backend', 'tgi'], /--backend must be one of openai,/],
    [['--goodput', 'itl:5'], /--goodput must be ttft:MS/],
    [['--percentile-metrics', 'ttft,xx'], /--percentile-metrics must be of ttft/],
    [
      ['--metric-percentiles', '101'],
      /--metric-percentiles must be a number of at least 0 and at most 100/,
    ],
    [['--extra-body', '[1]'], /--extra-body must be a JSON object/],
    [['--header', 'novalue'], /--header must be KEY=VALUE/],
    [['--dataset-name', 'sharegpt'], /--dataset-path must name the file/],
    [['--dataset-path', 'x'], /--dataset-path is not for --dataset-name random/],
    [['--base-url', 'ftp://x'], /--base-url must be http/],
    [
      ['--base-url', 'http://127.0.0.1:1'],
      /names no model \(.*ECONNREFUSED.*; name one with --model/,
    ],
    [
      ['--base-url', 'http://127.0.0.1:1', '--model', 'm', '--num-prompts', '1'],
      /the server does not answer: .*ECONNREFUSED/,
    ],
  ])('%s is one sentence and exit code 2', async (args, message) => {
    const { status, stdout, stderr } = await runCli(['bench', 'serve', ...args]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    const sentence = stderr.trim().split('\n').at(-1)!;
    expect(sentence).toMatch(message);
    expect(sentence).toMatch(/^octavo: .+ \(ERR_INVALID_PARAM\)$/);
  });

  it('a flag that is none is a mistyped call', async () => {
    expect((await runCli(['bench', 'serve', '--rate', '5'])).status).toBe(2);
    expect((await runCli(['bench', 'sevre'])).status).toBe(2);
  });
});
