/** `octavo embed` and `octavo rank`, and what other commands say of a model that is loaded to pool. */

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';
import { ENCODER, encoderFolder } from '../support/encoder-model.js';
import { temporaryFolder, write } from '../support/write-model.js';

const BIN = join(ROOT, 'bin', 'octavo.js');
const folder = temporaryFolder();
const TEXTS = ['The sea was calm.', 'baca dede fifi', 'A ship, and no wind'];
const LONG = 'baca '.repeat(200);
const encoder = encoderFolder('vectors');
const reranker = encoderFolder(['relevant']);

let vectors: LLM;
let ranker: LLM;
beforeAll(async () => {
  vectors = await LLM.load({ model: encoder });
  ranker = await LLM.load({ model: reranker });
});
afterAll(() => Promise.all([vectors.close(), ranker.close()]));

function octavo(args: readonly string[], input = '') {
  const options = { encoding: 'utf8', input, timeout: 300_000 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], options);
  const lines = stdout === '' ? [] : stdout.trimEnd().split('\n');
  return { status, stderr, stdout, lines };
}

const embed = (args: readonly string[], input?: string) =>
  octavo(['embed', '--model', encoder, ...args], input);
const rank = (args: readonly string[], input?: string) =>
  octavo(['rank', '--model', reranker, ...args], input);

const numbers = (outputs: readonly { readonly embedding: Float32Array }[]) =>
  outputs.map(({ embedding }) => Array.from(embedding));

describe('octavo embed', () => {
  it('prints a line for each text: of arguments, a file, stdin', async () => {
    const expected = numbers(await vectors.embed(TEXTS));
    const file = write(folder, 'texts.txt', `${TEXTS[0]}\n\n${TEXTS[1]}\r\n${TEXTS[2]}\n`);
    for (const { status, stderr, lines } of [
      embed(TEXTS),
      embed(['--input', file]),
      embed([], TEXTS.join('\n')),
      embed(['-'], `${TEXTS.join('\n')}\n`),
    ]) {
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(lines.map((line) => JSON.parse(line))).toEqual(expected);
    }
  });

  it('has the options of embed(), and says more with --json', async () => {
    const flags = ['--pooling', 'cls', '--no-normalize', '--dimensions', '8', '--truncate'];
    const { lines } = embed(['x', LONG, ...flags, '--json']);
    const options = { pooling: 'cls', normalize: false, dimensions: 8, truncate: true } as const;
    const outputs = await vectors.embed(['x', LONG], options);
    expect(lines.map((line) => JSON.parse(line))).toEqual(
      outputs.map(({ embedding, ...rest }, index) => ({
        ...{ index, embedding: Array.from(embedding), ...rest },
      })),
    );
    expect(outputs[1].isTruncated).toBe(true);
  });

  it('cuts to so many tokens', async () => {
    const [{ embedding }] = await vectors.embed([LONG], { truncate: 7 });
    const { lines } = embed([LONG, '--truncate-to', '7']);
    expect(lines.map((line) => JSON.parse(line))).toEqual([Array.from(embedding)]);
    const { status, stderr } = embed(['x', '--truncate-to', 'x']);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/--truncate-to must be an integer/),
    ]);
  });

  it('reads more texts than it takes at once', () => {
    const { lines } = embed(['--json', '--dimensions', '4'], 'baca\n'.repeat(1500));
    const said = lines.map((line) => JSON.parse(line));
    expect(said.map(({ index }) => index)).toEqual(Array.from({ length: 1500 }, (_, i) => i));
    expect(said[1499].embedding).toEqual(said[0].embedding);
  });

  it('ends at Ctrl-C, also while it waits for more to read', async () => {
    const child = spawn(process.execPath, [BIN, 'embed', '--model', encoder]);
    const ended = new Promise((resolve) => child.on('close', resolve));
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      if (printed === '') child.kill('SIGINT');
      printed += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.write('baca\n'.repeat(1500));
    expect(await ended).toBe(130);
    expect(printed).toMatch(/^\[/);
  });

  it('says which line is wrong, and how', () => {
    const file = write(folder, 'long.txt', `x\n\n${LONG}\n`);
    const long = embed(['--input', file]);
    expect(long).toMatchObject({ status: 2, stdout: '' });
    expect(long.stderr).toMatch(/^octavo: .*long\.txt, line 3: .*\(ERR_FILE\)\n$/);
    const wrong: [string[], RegExp][] = [
      [[LONG], /ERR_PROMPT_TOO_LONG/],
      [['x', '--input', file], /exclude each other/],
      [['--input', join(folder, 'none.txt')], /cannot read .*none\.txt/],
      [[], /there is no text/],
      [['x', '--dimensions', `${ENCODER.hidden + 1}`], /dimensions/],
      [['x', '--pooling', 'max'], /pooling must be one of/],
      [['x', '--prompt-name', 'none'], /no prompt "none"/],
      [['x', '--runner', 'generate'], /runner/],
    ];
    for (const [args, sentence] of wrong) {
      const { status, stderr } = embed(args);
      expect([args, status, stderr]).toEqual([args, 2, expect.stringMatching(sentence)]);
    }
  });

  it('makes vectors with any decoder', async () => {
    await using llm = await LLM.load({ runner: 'pooling' });
    const { lines } = octavo(['embed', TEXTS[0]]);
    expect(lines.map((line) => JSON.parse(line))).toEqual(numbers([await llm.embed(TEXTS[0])]));
  });
});

describe('octavo rank', () => {
  const query = 'Is the sea calm?';

  it('prints documents, the best first', async () => {
    const ranked = await ranker.rank(query, TEXTS);
    const expected = ranked.map(
      ({ index, score, document }) => `${score.toFixed(4)}\t${index}\t${document}`,
    );
    for (const { status, stderr, lines } of [
      rank([query, ...TEXTS]),
      rank([query], TEXTS.join('\n')),
      rank([query, '--input', write(folder, 'documents.txt', TEXTS.join('\n'))]),
    ]) {
      expect({ status, stderr, lines }).toEqual({ status: 0, stderr: '', lines: expected });
    }
    expect(rank([query, ...TEXTS, '--top-n', '1']).lines).toEqual(expected.slice(0, 1));
    const [best] = rank([query, ...TEXTS, '--json']).lines;
    const { logits, ...rest } = ranked[0];
    expect(JSON.parse(best)).toEqual({ ...rest, logits: Array.from(logits ?? []) });
  });

  it('says what is wrong', () => {
    const wrong: [string[], RegExp][] = [
      [[query], /there is no document/],
      [[query, 'x', '--tokens', 'no,yes'], /tokens means nothing/],
      [[query, 'x', '--top-n', '0'], /topN/],
      [[query, LONG], /ERR_PROMPT_TOO_LONG/],
    ];
    for (const [args, sentence] of wrong) {
      const { status, stderr } = rank(args);
      expect([args, status, stderr]).toEqual([args, 2, expect.stringMatching(sentence)]);
    }
  });
});

describe('octavo embed and octavo rank', () => {
  it.each(['embed', 'rank'])('%s lists the flags that mean something to it', (command) => {
    const { stdout } = octavo([command, '--help']);
    for (const flag of ['device', 'max-num-batched-tokens', 'quantize', 'truncate-to']) {
      expect(stdout).toContain(`--${flag} `);
    }
    expect(stdout).not.toMatch(
      /--[\w-]*(runner|cache|swap|preemption|scheduling|prefill|trace|blocks)/,
    );
    const { status, stderr } = octavo([command, 'x', '--swap-space', '1']);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/unknown option '--swap-space'/)]);
  });

  it('name what asks a model that makes something else', () => {
    const labels = encoderFolder(['calm', 'rough', 'frozen']);
    for (const [args, sentence] of [
      [['embed', '--model', labels, 'x'], /makes labels.*octavo serve.*\/classify/],
      [['embed', '--model', reranker, 'x'], /makes scores.*octavo rank/],
      [['rank', '--model', labels, 'x', 'y'], /several labels.*octavo serve.*\/classify/],
    ] as const) {
      const { status, stderr } = octavo(args);
      expect([status, stderr]).toEqual([2, expect.stringMatching(sentence)]);
      expect(stderr).not.toContain('()');
    }
  });
});

describe('other commands', () => {
  it('octavo generate says what asks a model that makes vectors', () => {
    const { status, stderr } = octavo(['generate', '--model', encoder, 'x']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/octavo embed.*ERR_MODEL_TASK/);
  });

  it('octavo run-batch answers lines of vectors and scores', async () => {
    const [{ embedding }] = await vectors.embed([TEXTS[0]]);
    const [{ score }] = await ranker.score('x', TEXTS[0]);
    const [best] = await ranker.rank('x', TEXTS);
    const of = (lines: object[], model: string) => {
      const output = join(folder, `${model.split('/').at(-2)}.jsonl`);
      const text = lines.map((line) => JSON.stringify({ method: 'POST', ...line })).join('\n');
      const input = write(folder, 'in.jsonl', text);
      const { status, stderr } = octavo(['run-batch', model, '-i', input, '-o', output]);
      expect([status, stderr]).toEqual([0, `octavo: ${lines.length} answered, 0 failed\n`]);
      const written = readFileSync(output, 'utf8').trimEnd().split('\n');
      const answers = written.map((line) => JSON.parse(line));
      return Object.fromEntries(answers.map((one) => [one.custom_id, one.response.body]));
    };
    const ofVectors = of(
      [{ custom_id: 'a', url: '/v1/embeddings', body: { input: [TEXTS[0]] } }],
      encoder,
    );
    expect(ofVectors.a.data[0].embedding).toEqual(Array.from(embedding));
    const ofScores = of(
      [
        { custom_id: 'b', url: '/v1/score', body: { text_1: 'x', text_2: TEXTS[0] } },
        { custom_id: 'c', url: '/v1/rerank', body: { query: 'x', documents: TEXTS } },
      ],
      reranker,
    );
    expect(ofScores.b.data[0].score).toBe(score);
    expect(ofScores.c.results[0]).toMatchObject({
      ...{ index: best.index, relevance_score: best.score },
    });
  });
});
