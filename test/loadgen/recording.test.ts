import { describe, expect, it } from 'vitest';
import { type Outcome, outcomeOf, type Recording } from '../../lib/loadgen/recording.js';
import { chatChunk, completionChunk, event, usageChunk } from '../support/openai-server.js';
import { type Random, random } from '../support/random.js';

/** Texts with the times they came at; sent at 100. */
function recording(
  parts: readonly (readonly [number, string | Buffer])[],
  more: Partial<Recording> = {},
): Recording {
  return {
    sentAt: 100,
    status: 200,
    chunks: parts.map(([, text]) => Buffer.from(text as string)),
    times: parts.map(([time]) => 100 + time),
    error: null,
    ...more,
  };
}

const DONE = event('[DONE]');

function close(outcome: Outcome) {
  const rounded = (x: number) => Number(x.toFixed(9));
  return {
    ...outcome,
    ttft: rounded(outcome.ttft),
    itl: outcome.itl.map(rounded),
    latency: rounded(outcome.latency),
  };
}

describe('a completion', () => {
  it('its times, its text, the usage at its end', () => {
    const outcome = outcomeOf(
      recording([
        [0.25, completionChunk('a')],
        [0.5, completionChunk('')], // half a character: a token without text
        [0.75, completionChunk('é', 'length')],
        [1, usageChunk(7, 3)],
        [1.5, DONE],
      ]),
    );
    expect(outcome).toEqual({
      success: true,
      error: '',
      startTime: 100,
      ttft: 0.25,
      itl: [0.25, 0.25],
      latency: 0.75, // usage and [DONE] bring no token
      text: 'aé',
      promptTokens: 7,
      outputTokens: 3,
    });
  });

  it('an empty chunk that says why it finished ends it and is no token', () => {
    const parts = [
      [1, completionChunk('a')],
      [2, completionChunk('b')],
      [2.5, completionChunk('', 'stop') + DONE],
    ] as const;
    expect(outcomeOf(recording(parts))).toMatchObject({ success: true, itl: [1], latency: 2.5 });
  });

  it('pings, CRLF, usage in every chunk, no usage at all', () => {
    const chunk = (text: string, n: number) =>
      `data: ${JSON.stringify({ choices: [{ text }], usage: { prompt_tokens: 2, completion_tokens: n } })}\r\n\r\n`;
    const counted = outcomeOf(
      recording([
        [1, `: ping\r\n\r\n${chunk('a', 1)}`],
        [2, chunk('b', 2)],
        [3, DONE],
      ]),
    );
    expect(counted).toMatchObject({
      success: true,
      text: 'ab',
      outputTokens: 2,
      promptTokens: 2,
      ttft: 1,
    });
    const bare = outcomeOf(
      recording([
        [1, completionChunk('a')],
        [2, DONE],
      ]),
    );
    expect(bare).toMatchObject({ success: true, outputTokens: null, promptTokens: null });
    const wrong = outcomeOf(recording([[1, completionChunk('a') + usageChunk(1.5, -2) + DONE]]));
    expect(wrong).toMatchObject({ outputTokens: null, promptTokens: null });
  });
});

describe('a chat', () => {
  it('the role that opens it is no token; reasoning, content and calls are', () => {
    const outcome = outcomeOf(
      recording([
        [0.1, chatChunk({ role: 'assistant', content: '' })],
        [1, chatChunk({ reasoning: 'hm', reasoning_content: 'hm' })],
        [1.5, chatChunk({ content: 'yes' })],
        [2, chatChunk({ tool_calls: [{ index: 0 }] })],
        [3, chatChunk({}, 'stop')],
        [3, usageChunk(9, 4) + DONE],
      ]),
    );
    expect(outcome).toMatchObject({
      ttft: 1,
      itl: [0.5, 0.5],
      latency: 3,
      text: 'hmyes',
      outputTokens: 4,
    });
  });

  it('a role that comes with the first text is one', () => {
    const parts = [
      [1, chatChunk({ role: 'assistant', content: 'a' })],
      [2, chatChunk({ content: 'b' }, 'stop')],
    ] as const;
    expect(outcomeOf(recording(parts))).toMatchObject({ success: true, ttft: 1, itl: [1] });
  });
});

describe('what fails', () => {
  it.each<[string, Recording, string | RegExp]>([
    [
      'a status',
      recording([[1, '{"error":{"message":"too long","code":400}}']], { status: 400 }),
      'HTTP 400: too long',
    ],
    [
      'a page',
      recording([[1, '<html>bad gateway</html>']], { status: 502 }),
      'HTTP 502: <html>bad gateway</html>',
    ],
    [
      'no answer',
      recording([], { status: 0, error: 'connect ECONNREFUSED' }),
      'connect ECONNREFUSED',
    ],
    [
      'a cut stream',
      recording([[1, completionChunk('a')]], { error: 'the connection was cut' }),
      'the connection was cut',
    ],
    [
      'an early end',
      recording([[1, completionChunk('a')]]),
      'the stream ended without a finish_reason or [DONE]',
    ],
    [
      'an error inside',
      recording([[1, completionChunk('a') + event({ error: { message: 'boom' } }) + DONE]]),
      'boom',
    ],
    ['an error as text', recording([[1, event({ error: 'boom' })]]), 'boom'],
    [
      'no JSON',
      recording([[1, completionChunk('a') + event('{oops') + DONE]]),
      'a chunk is no JSON object: {oops',
    ],
    ['JSON that is no object', recording([[1, event('[1]')]]), 'a chunk is no JSON object: [1]'],
    ['no token', recording([[1, usageChunk(1, 0) + DONE]]), 'the stream brought no token'],
    ['nothing', recording([[1, DONE]]), 'the stream brought no token'],
  ])('%s', (_, made, error) => {
    expect(outcomeOf(made)).toMatchObject({ success: false, error });
  });
});

/** A stream of random tokens with the outcome that it stands for. */
function randomStream(rng: Random) {
  const texts = ['a', ' b', 'ünï', '😀', '', '\n\ndata: x', '"'];
  const tokens = Array.from({ length: 1 + rng.integer(6) }, () => texts[rng.integer(texts.length)]);
  const chat = rng.integer(2) === 1;
  const chunk = (text: string) => (chat ? chatChunk({ content: text }) : completionChunk(text));
  const events = tokens.map((text) => ({ text: chunk(text), isToken: true }));
  if (chat) events.unshift({ text: chatChunk({ role: 'assistant', content: '' }), isToken: false });
  events.push(
    { text: usageChunk(5, tokens.length), isToken: false },
    { text: DONE, isToken: false },
  );
  return { tokens, events };
}

it('however the bytes are cut, an event counts when its last byte is there', () => {
  for (let seed = 0; seed < 300; seed++) {
    const rng = random(seed);
    const { tokens, events } = randomStream(rng);
    const bytes = Buffer.from(events.map(({ text }) => text).join(''));
    const parts: [number, Buffer][] = [];
    const cuts: { end: number; time: number }[] = [];
    for (let at = 0, time = 0; at < bytes.length; ) {
      const size = Math.min(bytes.length - at, 1 + rng.integer(rng.integer(2) ? 10 : 400));
      time += rng.uniform();
      parts.push([time, bytes.subarray(at, at + size)]);
      cuts.push({ end: (at += size), time });
    }
    let end = 0;
    const times = events.flatMap(({ text, isToken }) => {
      end += Buffer.byteLength(text);
      return isToken ? [cuts.find((cut) => cut.end >= end)!.time] : [];
    });
    const want = {
      success: true,
      text: tokens.join(''),
      ttft: Number(times[0].toFixed(9)),
      itl: times.slice(1).map((time, i) => Number((time - times[i]).toFixed(9))),
      latency: Number(times.at(-1)!.toFixed(9)),
      outputTokens: tokens.length,
    };
    expect(close(outcomeOf(recording(parts))), `seed ${seed}`).toMatchObject(want);
  }
});
