import { linkSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { OutputLine } from '../../lib/batch/output.js';
import { type BatchOptions, runBatch } from '../../lib/batch/run.js';
import type { BatchTarget } from '../../lib/batch/target.js';
import { octavoError } from '../../lib/errors.js';
import { someOf } from '../support/all.js';
import { random } from '../support/random.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const line = (id: unknown, more: object = {}) =>
  JSON.stringify({
    custom_id: id,
    method: 'POST',
    url: '/v1/completions',
    body: { prompt: id },
    ...more,
  });

const promptOf = (body: string): string => JSON.parse(body).prompt;

const echo: BatchTarget = async (url, body) => ({
  status: 200,
  requestId: 'r',
  body: { url, ...JSON.parse(body) },
});

const folder = temporaryFolder();
let count = 0;

function batch(input: string, more: Partial<BatchOptions> = {}) {
  const number = count++;
  const paths = {
    input: write(folder, `${number}-in.jsonl`, input),
    output: join(folder, `${number}-out.jsonl`),
  };
  const asked: string[] = [];
  const target: BatchTarget = (url, body, signal) => {
    asked.push(promptOf(body));
    return ((more.target ?? echo) as BatchTarget)(url, body, signal);
  };
  return {
    ...paths,
    asked,
    run: (again: Partial<BatchOptions> = {}) =>
      runBatch({ ...paths, maxConcurrency: 3, ...more, ...again, target: again.target ?? target }),
    lines: () =>
      readFileSync(paths.output, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((text) => JSON.parse(text) as OutputLine),
  };
}

const ids = (lines: OutputLine[]) => lines.map((one) => one.custom_id).sort();

describe('a batch', () => {
  it("answers with OpenAI's lines", async () => {
    const b = batch(`${line('a')}\r\n\n${line('b')}`); // CRLF, an empty line, no newline at the end
    expect(await b.run()).toEqual({ answered: 2, failed: 0, skipped: 0, failedBefore: 0 });
    const [one] = b.lines().filter(({ custom_id }) => custom_id === 'b');
    expect(one).toEqual({
      id: expect.stringMatching(/^batch_req_[0-9a-f]{32}$/),
      custom_id: 'b',
      response: {
        status_code: 200,
        request_id: 'r',
        body: { url: '/v1/completions', prompt: 'b' },
      },
      error: null,
    });
    expect(new Set(b.lines().map(({ id }) => id)).size).toBe(2);
  });

  it('is read without its byte order mark, and again', async () => {
    const b = batch(`\uFEFF${line('a')}\n${line('\uFEFFb')}`);
    expect(await b.run()).toMatchObject({ answered: 2, failed: 0 });
    expect(ids(b.lines())).toEqual(['a', '\uFEFFb']);
    expect(await b.run()).toMatchObject({ answered: 0, skipped: 2 });
  });

  it('may ask any route, also what is not under a version', async () => {
    const routes = ['/tokenize', '/v1/completions', '/rerank', '/v1/messages?beta=true', '/a/b:c'];
    const b = batch(routes.map((url) => line(url, { url })).join('\n'));
    expect(await b.run()).toMatchObject({ answered: 5, failed: 0 });
    for (const { custom_id: url, response } of b.lines()) {
      expect(response).toMatchObject({ body: { url } });
    }
  });

  it('writes in the order of completion and holds at most so many at once', async () => {
    const waiting: [string, () => void][] = [];
    let most = 0;
    const target: BatchTarget = (url, body, signal) =>
      new Promise((resolve) => {
        waiting.push([promptOf(body), () => resolve(echo(url, body, signal))]);
        most = Math.max(most, waiting.length);
        // The last that came is answered first.
        if (waiting.length === 3 || promptOf(body) === 'e') {
          setImmediate(() => {
            for (const [, answer] of waiting.splice(0).reverse()) answer();
          });
        }
      });
    const b = batch(['a', 'b', 'c', 'd', 'e'].map((id) => line(id)).join('\n'), {
      target,
      maxConcurrency: 3,
    });
    await b.run();
    expect(b.lines().map(({ custom_id }) => custom_id)).toEqual(['c', 'b', 'a', 'e', 'd']);
    expect(most).toBe(3);
  });

  it.each<[string, string, RegExp]>([
    ['no JSON', '{oops', /^not JSON/],
    ['no object', '[1]', /must be a JSON object/],
    ['no id', line(undefined), /custom_id/],
    ['an empty id', line(''), /custom_id/],
    ['an id that is a number', line(5), /custom_id/],
    ['a method', line('x', { method: 'GET' }), /method must be "POST"/],
    ['no path', line('x', { url: 'http://evil/v1/x' }), /url must be a path/],
    ['a blank in its path', line('x', { url: '/v1/a b' }), /url must be a path/],
    ['a path alone', line('x', { url: 'v1/x' }), /url must be a path/],
    ['no body', line('x', { body: null }), /body must be an object/],
    ['a stream', line('x', { body: { stream: true } }), /not streamed/],
    ['an id twice', line('a'), /used by a line before/],
  ])('a line with %s becomes an error line, once', async (_, bad, message) => {
    const b = batch([line('a'), bad, line('b')].join('\n'), { maxConcurrency: 1 });
    expect(await b.run()).toMatchObject({ answered: 2, failed: 1 });
    expect(b.lines()[1]).toMatchObject({
      response: null,
      error: { code: 'invalid_request', message: expect.stringMatching(message), line: 2 },
    });
    expect(await b.run()).toEqual({ answered: 0, failed: 0, skipped: 3, failedBefore: 1 });
    expect(b.lines()).toHaveLength(3);
    expect(b.asked).toEqual(['a', 'b']);
  });

  it('an answer with a bad status is an answer; a request that gets none is an error line', async () => {
    const target: BatchTarget = async (_url, body) => {
      const prompt = promptOf(body);
      if (prompt === 'a')
        return { status: 400, requestId: null, body: { error: { message: 'no' } } };
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
    };
    const b = batch(`${line('a')}\n${line('b')}\n`, { target, maxConcurrency: 1 });
    expect(await b.run()).toMatchObject({ answered: 0, failed: 2 });
    expect(b.lines()).toMatchObject([
      {
        custom_id: 'a',
        response: { status_code: 400, body: { error: { message: 'no' } } },
        error: null,
      },
      {
        custom_id: 'b',
        response: null,
        error: { code: 'request_failed', message: expect.stringMatching(/hang up/) },
      },
    ]);
  });

  it('nobody to answer ends it: what was not answered has no line, and is asked the next time', async () => {
    const target: BatchTarget = async (url, body, signal) => {
      if (promptOf(body) !== 'a')
        throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      return echo(url, body, signal);
    };
    const b = batch(['a', 'b', 'c', 'd'].map((id) => line(id)).join('\n'), {
      target,
      maxConcurrency: 1,
    });
    expect((await refusal(b.run())).message).toBe(
      'nobody answers (connect ECONNREFUSED); the same command goes on from here',
    );
    expect(ids(b.lines())).toEqual(['a']);
    expect(b.asked).toEqual(['a', 'b']);
    expect(await b.run({ target: echo })).toMatchObject({ answered: 3, skipped: 1 });
    expect(ids(b.lines())).toEqual(['a', 'b', 'c', 'd']);
  });
});

it('a model that is lost ends it as a server that has gone does', async () => {
  const lost = octavoError('ERR_DEVICE_LOST', 'a model is lost');
  const target: BatchTarget = async (url, body, signal) => {
    if (promptOf(body) !== 'a') throw lost;
    return echo(url, body, signal);
  };
  const b = batch(['a', 'b', 'c'].map((id) => line(id)).join('\n'), { target, maxConcurrency: 1 });
  await expect(b.run()).rejects.toBe(lost);
  expect(ids(b.lines())).toEqual(['a']);
});

describe('going on', () => {
  const names = Array.from({ length: 6 }, (_, i) => `ü-${i}`);
  const input = [...names.map((id) => line(id)), '{bad', line('ü-0')].join('\n');

  it('after a kill at every line of the output, or in the middle of one: each line has its answer once', async () => {
    const b = batch(input, { maxConcurrency: 1 });
    await b.run();
    const whole = readFileSync(b.output);
    const ends = [...whole.entries()].flatMap(([i, byte]) => (byte === 10 ? [i, i + 1] : []));
    const others = someOf([...whole.keys()], 40);
    for (const cut of new Set([...ends, ...others])) {
      writeFileSync(b.output, whole.subarray(0, cut));
      const had = whole.subarray(0, cut).toString().split('\n').length - 1;
      b.asked.length = 0;
      const totals = await b.run();
      expect(totals.skipped, `cut at ${cut}`).toBe(had);
      expect(b.asked).toEqual(names.slice(had));
      expect(ids(b.lines())).toEqual([...names, 'ü-0', null].sort());
      expect(b.lines().filter(({ error }) => error)).toHaveLength(2);
    }
  });

  it('after a stop at every line, several at once: nothing lost, nothing twice', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const rng = random(seed);
      const all = Array.from({ length: 20 }, (_, i) => `id${i}`);
      const b = batch(all.map((id) => line(id)).join('\n'), { maxConcurrency: 1 + rng.integer(5) });
      const seen: string[] = [];
      for (let runs = 0; ; runs++) {
        const stop = new AbortController();
        const last = rng.integer(8);
        let begun = 0;
        const target: BatchTarget = async (url, body, signal) => {
          if (begun++ === last) stop.abort();
          for (let i = rng.integer(4); i > 0; i--)
            await new Promise((resolve) => setImmediate(resolve));
          seen.push(promptOf(body));
          return echo(url, body, signal);
        };
        await b.run({ stop: stop.signal, target });
        if (!stop.signal.aborted) break;
        expect(runs).toBeLessThan(40);
        // What ran when it was stopped is finished.
        expect(ids(b.lines())).toEqual(seen.toSorted());
      }
      expect(ids(b.lines())).toEqual(all.toSorted());
      expect(seen.toSorted()).toEqual(all.toSorted());
    }
  });

  it('after a kill in the middle of requests: they have no line and are asked again', async () => {
    const kill = new AbortController();
    const target: BatchTarget = (url, body, signal) =>
      promptOf(body) === 'a'
        ? echo(url, body, signal)
        : new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
            if (promptOf(body) === 'c') setImmediate(() => kill.abort());
          });
    const b = batch(['a', 'b', 'c', 'd'].map((id) => line(id)).join('\n'), {
      target,
      maxConcurrency: 2,
    });
    await b.run({ kill: kill.signal });
    expect(ids(b.lines())).toEqual(['a']);
    await b.run({ target: echo });
    expect(ids(b.lines())).toEqual(['a', 'b', 'c', 'd']);
  });

  it('a file that is something else is left as it is', async () => {
    for (const other of [
      `${line('a')}\n`,
      'notes\n',
      '{"custom_id":5,"response":null,"error":null}\n',
      'null\n',
      // Without a newline at its end it may look like a line that was torn.
      line('a'),
      'notes',
      '{"id":"chatcmpl-1"',
      `{"id":"batch_req_1","custom_id":"b","response":{},"error":null}\nnotes`,
    ]) {
      const b = batch(line('a'));
      writeFileSync(b.output, other);
      expect((await refusal(b.run())).message).toMatch(
        /out\.jsonl, line [12]: no line of a batch's output/,
      );
      expect(readFileSync(b.output, 'utf8')).toBe(other);
    }
  });

  it('the input is no output, whatever it is called', async () => {
    for (const text of ['', '{"id":"batch_req_', line('a')]) {
      const b = batch(text);
      linkSync(b.input, b.output);
      for (const output of [b.input, b.output]) {
        expect((await refusal(b.run({ output }))).message).toMatch(/is the input as well/);
      }
      expect(readFileSync(b.input, 'utf8')).toBe(text);
    }
  });
});

it('files that cannot be read or written are errors with their names', async () => {
  const b = batch(line('a'));
  expect((await refusal(b.run({ input: '/nowhere' }))).message).toMatch(
    /^cannot read \/nowhere: ENOENT/,
  );
  expect((await refusal(b.run({ output: '/nowhere/out' }))).message).toMatch(
    /^cannot write \/nowhere\/out: ENOENT/,
  );
  expect((await refusal(b.run({ output: '/dev/full' }))).message).toMatch(
    /^cannot write the output: ENOSPC/,
  );
});

it('a file of many lines is read as it is answered, not ahead', async () => {
  let answers = 0;
  const many = Array.from({ length: 20_000 }, (_, i) => line(`id${i}`)).join('\n');
  const b = batch(many, {
    target: async () => ({ status: 200, requestId: null, body: ++answers }),
    maxConcurrency: 8,
  });
  let ahead = 0;
  let bytes = 0;
  await b.run({
    onProgress: (read, totals) => {
      expect(read).toBeGreaterThanOrEqual(bytes);
      bytes = read;
      ahead = Math.max(ahead, answers - totals.answered);
    },
  });
  expect(bytes).toBe(Buffer.byteLength(many));
  expect(b.lines()).toHaveLength(20_000);
  expect(ahead).toBeLessThanOrEqual(8);
});
