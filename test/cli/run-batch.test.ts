import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { json, type Script, scriptedServer } from '../support/openai-server.js';
import { runCli } from '../support/run-cli.js';
import { temporaryFolder, write } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const line = (id: string, body: object = { prompt: id }) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/completions', body });
const folder = temporaryFolder();
let count = 0;

async function batch(script: Script, input: string) {
  const server = await scriptedServer(script);
  closers.push(server.close);
  count++;
  const paths = [`${count}-in.jsonl`, `${count}-out.jsonl`];
  const output = join(folder, paths[1]);
  const args = ['run-batch', '-i', write(folder, paths[0], input), '-o', output];
  return {
    ...server,
    args: [...args, '--base-url', server.url],
    output,
    ids: () =>
      existsSync(output)
        ? readFileSync(output, 'utf8')
            .split('\n')
            .slice(0, -1)
            .map((text) => JSON.parse(text).custom_id)
        : [],
  };
}

const names = Array.from({ length: 8 }, (_, i) => `id-${i}`);
const input = names.map((id) => line(id)).join('\n');
const echo: Script = ({ body }, response) =>
  json(response, 200, { choices: [{ text: body.prompt }] });

describe('octavo run-batch', () => {
  it('answers a file', async () => {
    const { args, output, asked } = await batch(echo, input);
    const { status, stdout, stderr } = await runCli([...args, '--api-key', 'k', '--header', 'a=b']);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: '',
      stderr: 'octavo: 8 answered, 0 failed\n',
    });
    const [one] = readFileSync(output, 'utf8').split('\n');
    const { custom_id: id, response } = JSON.parse(one);
    expect(response).toMatchObject({ status_code: 200, body: { choices: [{ text: id }] } });
    expect(asked[0].headers).toMatchObject({ authorization: 'Bearer k', a: 'b' });
  });

  it('asks as many at once as it may, with nothing else to say', async () => {
    const held: (() => unknown)[] = [];
    const script: Script = (asked, response, index) => {
      held.push(() => echo(asked, response, index));
      if (held.length === 40) for (const answer of held) answer();
    };
    const lines = Array.from({ length: 40 }, (_, i) => line(`many-${i}`)).join('\n');
    const { args, ids } = await batch(script, lines);
    expect((await runCli(args)).stderr).toBe('octavo: 40 answered, 0 failed\n');
    expect(new Set(ids()).size).toBe(40);
  });

  it('a bad line or answer is a line of the output, and exit code 1', async () => {
    const script: Script = (asked, response, index) =>
      asked.body.prompt === 'id-3'
        ? json(response, 400, { error: { message: 'no' } })
        : echo(asked, response, index);
    const { args, ids } = await batch(script, `${input}\n{oops\n`);
    const first = await runCli(args);
    expect(first).toMatchObject({ status: 1, stderr: 'octavo: 7 answered, 2 failed\n' });
    expect(ids()).toHaveLength(9);
    expect(await runCli(args)).toMatchObject({
      status: 1,
      stderr: 'octavo: 0 answered, 0 failed; 9 were there before, 2 of them failed\n',
    });
  });

  it('killed at any request, the same command goes on and loses nothing', async () => {
    for (const at of [0, 3, 7]) {
      let kill = () => {};
      const { args, ids, asked } = await batch((one, response, index) => {
        if (index === at) kill();
        else echo(one, response, index);
      }, input);
      const killed = await runCli([...args, '--max-concurrency', '2'], (child) => {
        kill = () => child.kill('SIGKILL');
      });
      expect(killed.status).toBeNull();
      const had = ids();
      const before = asked.length;
      expect((await runCli(args)).status).toBe(0);
      expect(ids().sort()).toEqual(names);
      expect(
        asked
          .slice(before)
          .map(({ body }) => body.prompt)
          .sort(),
      ).toEqual(names.filter((id) => !had.includes(id)));
    }
  });

  it('Ctrl-C finishes what runs and says how to go on; a second one does not wait', async () => {
    for (const signals of [1, 2]) {
      let interrupt: () => void = () => {};
      const held: (() => void)[] = [];
      const { args, ids } = await batch((one, response, index) => {
        if (index < 2) return echo(one, response, index);
        held.push(() => echo(one, response, index));
        if (held.length === 2) interrupt();
      }, input);
      const { status, stderr } = await runCli([...args, '--max-concurrency', '2'], (child) => {
        interrupt = () => child.kill('SIGINT');
        child.stderr!.once('data', () => {
          if (signals === 2) child.kill('SIGINT');
          else for (const answer of held) answer();
        });
      });
      expect(status).toBe(130);
      const answered = signals === 1 ? 4 : 2;
      expect(ids().sort()).toEqual(names.slice(0, answered));
      expect(stderr.split('\n')).toEqual([
        'octavo: finishing what runs; a second signal gives it up',
        `octavo: ${answered} answered, 0 failed; stopped: the same command goes on from here`,
        '',
      ]);
    }
  });

  it.each<[string[], RegExp]>([
    [['--max-concurrency', '0'], /--max-concurrency must be a whole number of at least 1/],
    [['--max-retries', 'x'], /--max-retries/],
    [['--base-url', 'nowhere'], /--base-url must be http/],
    [['--base-url', 'http://127.0.0.1:1', '--max-retries', '0'], /nobody answers \(.*ECONNREFUSED/],
    [['--generation-config', 'nonsense'], /generationConfig is of a model that is loaded here/],
    [['-i', '/nowhere'], /cannot read \/nowhere/],
    [['-o', '/nowhere/out'], /cannot write \/nowhere\/out/],
  ])('%s is one sentence and exit code 2', async (more, message) => {
    const { args } = await batch(echo, input);
    const { status, stdout, stderr } = await runCli([...args, ...more]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^octavo: .+ \(ERR_\w+\)\n$/);
  });
});
