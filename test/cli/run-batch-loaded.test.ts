/** `octavo run-batch` with a model of its own. */
import { existsSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { OutputLine } from '../../lib/batch/output.js';
import { LLM } from '../../lib/index.js';
import { sample, someOf } from '../support/all.js';
import { runCli } from '../support/run-cli.js';
import { temporaryFolder, write } from '../support/write-model.js';

const folder = temporaryFolder();
let count = 0;

const greedy = { max_tokens: 24, temperature: 0, ignore_eos: true };

/** Lines of all kinds of requests; what they ask has one right answer. */
const requests = Array.from({ length: 40 }, (_, i) => {
  const prompt = `Line ${i} of the sea`;
  const messages = [{ role: 'user', content: prompt }];
  const [url, body] = (
    [
      ['/v1/completions', { prompt }],
      ['/v1/chat/completions', { messages }],
      ['/v1/messages', { messages }],
    ] as const
  )[i % 3];
  return { custom_id: `id-${i}`, method: 'POST', url, body: { ...body, ...greedy } };
});
const input = requests.map((one) => JSON.stringify(one)).join('\n');

function batch(text: string, more: readonly string[] = []) {
  count++;
  const output = join(folder, `${count}-out.jsonl`);
  const args = ['run-batch', '-i', write(folder, `${count}-in.jsonl`, text), '-o', output];
  const written = () => (existsSync(output) ? readFileSync(output, 'utf8') : '');
  const lines = () =>
    written()
      .split('\n')
      .slice(0, -1)
      .map((one) => JSON.parse(one) as OutputLine);
  return { args: [...args, ...more], output, lines };
}

interface Said {
  readonly choices?: readonly { readonly text?: string; readonly message?: { content: string } }[];
  readonly content?: readonly { readonly text: string }[];
}

const said = ({ response }: OutputLine) => {
  const { choices: [one] = [], content: [block] = [] } = (response as { body: Said }).body;
  return one?.text ?? one?.message?.content ?? block?.text;
};

/** What was said, by custom_id. */
const answers = (lines: OutputLine[]) =>
  Object.fromEntries(lines.map((one) => [one.custom_id, said(one)]));

describe('octavo run-batch with a model of its own', () => {
  it('answers as the library does, all lines together', async () => {
    const { args, lines } = batch(input, ['--max-num-seqs', '8']);
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: '',
      stderr: 'octavo: 40 answered, 0 failed\n',
    });
    await using llm = await LLM.load();
    const params = { maxTokens: 24, temperature: 0, ignoreEos: true };
    const prompts = requests.map(({ body }) =>
      'messages' in body
        ? { messages: body.messages as { role: string; content: string }[] }
        : (body as { prompt: string }).prompt,
    );
    // /v1/messages knows no ignore_eos.
    const outputs = await llm.generate(
      prompts,
      prompts.map((_, i) => (i % 3 === 2 ? { maxTokens: 24, temperature: 0 } : params)),
    );
    const texts = outputs.map(({ outputs: [one] }, i) => [`id-${i}`, one.text]);
    expect(answers(lines())).toEqual(Object.fromEntries(texts));
  });

  it('killed in the middle, the same command goes on: nothing lost, nothing twice', async () => {
    const whole = batch(input, ['--max-num-seqs', '2']);
    expect((await runCli(whole.args)).status).toBe(0);
    for (const least of [12, 1, 30].slice(0, sample(1, 3))) {
      const { args, lines, output } = batch(input, ['--max-num-seqs', '2']);
      write(folder, `${count}-out.jsonl`, '');
      const killed = await runCli(args, (child) => {
        const watcher = watch(output, () => {
          if (lines().length >= least) child.kill('SIGKILL');
        });
        child.on('close', () => watcher.close());
      });
      expect(killed.status).toBeNull();
      const had = lines();
      expect(had.length).toBeGreaterThanOrEqual(least);
      expect(had.length).toBeLessThan(40);
      const { status, stderr } = await runCli(args);
      expect({ status, stderr }).toEqual({
        status: 0,
        stderr: `octavo: ${40 - had.length} answered, 0 failed; ${had.length} were there before\n`,
      });
      expect(lines()).toHaveLength(40);
      expect(lines().slice(0, had.length)).toEqual(had);
      expect(answers(lines())).toEqual(answers(whole.lines()));
    }
  });

  it('a queue that is full is waited for', async () => {
    const limits = ['--max-num-seqs', '1', '--max-num-waiting', '1'];
    const { args, lines } = batch(input.split('\n').slice(0, 6).join('\n'), limits);
    expect(await runCli([...args, '--max-concurrency', '6'])).toMatchObject({
      status: 0,
      stderr: 'octavo: 6 answered, 0 failed\n',
    });
    expect(lines()).toHaveLength(6);
  });

  it('bad lines, routes, bodies and models are lines of the output', async () => {
    const one = (id: string, more: object) =>
      JSON.stringify({ ...requests[0], custom_id: id, ...more });
    const text = [
      one('good', {}),
      '{oops',
      one('route', { url: '/v1/nowhere' }),
      one('body', { body: { prompt: 5 } }),
      one('model', { body: { prompt: 'x', model: 'gpt-5' } }),
    ].join('\n');
    const { args, lines } = batch(text);
    expect(await runCli(args)).toMatchObject({
      status: 1,
      stderr: 'octavo: 1 answered, 4 failed\n',
    });
    const statuses = lines().map(({ custom_id: id, response, error }) => [
      id,
      response?.status_code ?? error?.code,
    ]);
    expect(Object.fromEntries(statuses)).toEqual({
      good: 200,
      null: 'invalid_request',
      route: 404,
      body: 400,
      model: 404,
    });
    const named = batch(one('model', { body: { prompt: 'x', model: 'gpt-5' } }));
    expect(await runCli([...named.args, '--served-model-name', '*'])).toMatchObject({ status: 0 });
  });

  const wrong: [string[], RegExp][] = [
    [['/nowhere', '--model', '/nowhere'], /named twice/],
    [['--block-size', '7'], /blockSize: must be 8, 16 or 32/],
    [['--chat-template', '/nowhere'], /cannot read \/nowhere/],
    [['--generation-config', 'x'], /must be auto or vllm/],
    [['--header', 'a=b'], /header is for a server/],
    [['--max-retries', '1'], /maxRetries is for a server/],
    [['--base-url', 'http://x', '--max-num-seqs', '3'], /maxNumSeqs is of a model/],
    [['/nowhere', '--base-url', 'http://x'], /model is of a model that is loaded here/],
    [['-i', '/absent'], /cannot read \/absent/],
  ];
  it.each(someOf(wrong, 2))('%s is one sentence and exit code 2', async (more, message) => {
    const { args, output } = batch(input, more);
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^octavo: .+ \(ERR_\w+\)\n$/);
    expect(existsSync(output)).toBe(false);
  });
});
