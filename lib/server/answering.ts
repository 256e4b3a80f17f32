/** Reads the events of a generation, all of them or as they come. */
import type { DeltaEvent, EndEvent, GenerationEvent, StartEvent } from './engine-events.js';
import type { Mailbox } from './mailbox.js';
import { openaiError, type Problem } from './problem.js';
import type { SseWriter } from './sse.js';
import { Turn } from './turn.js';
import { Usage } from './usage.js';

/** Everything of one sample. */
export interface Sample {
  readonly prompt: StartEvent;
  text: string;
  /** The text, read. */
  readonly turn: Turn;
  readonly tokenIds: number[];
  readonly logprobs: NonNullable<DeltaEvent['logprobs']>;
  reason: EndEvent['reason'];
  stopReason: EndEvent['stopReason'];
  problem: Problem | undefined;
}

export interface Collected {
  /** By prompt, then by sample. */
  readonly samples: Sample[];
  readonly usage: Usage;
}

/** Waits for the end. */
export async function collect(mailbox: Mailbox, n: number, numPrompts = 1): Promise<Collected> {
  const usage = new Usage();
  const prompts: StartEvent[] = [];
  const samples: Sample[] = Array(n * numPrompts);
  for (const event of (await mailbox.takeAll()) ?? []) {
    usage.add(event);
    if (event.type === 'start') prompts[event.prompt] = event;
    if (event.type === 'start' || event.type === 'done') continue;
    const sample = (samples[event.prompt * n + event.sample] ??= {
      prompt: prompts[event.prompt],
      text: '',
      turn: new Turn(),
      tokenIds: [],
      logprobs: [],
      reason: 'stop',
      stopReason: null,
      problem: undefined,
    });
    if (event.type === 'delta') add(sample, event);
    else {
      const { reason, stopReason, problem } = event;
      Object.assign(sample, { reason, stopReason, problem });
    }
  }
  // A beam search may end with fewer.
  return { samples: samples.filter(Boolean), usage };
}

function add(sample: Sample, { text, pieces, tokenIds, logprobs }: DeltaEvent): void {
  sample.text += text;
  for (const piece of pieces) sample.turn.add(piece);
  for (const id of tokenIds) sample.tokenIds.push(id);
  for (const entry of logprobs ?? []) sample.logprobs.push(entry);
}

/** What a choice says of why it ended with `error`; nothing of any other. */
export function failureOf({ problem }: Pick<EndEvent, 'problem'>): { error?: object } {
  return problem === undefined ? {} : { error: openaiError(problem) };
}

/** Sends frames for events as they come, no faster than the client reads. */
export async function streamFrames(
  mailbox: Mailbox,
  sse: SseWriter,
  framesOf: (event: GenerationEvent) => readonly object[] | Promise<readonly object[]>,
): Promise<void> {
  for (let events = await mailbox.take(); events !== null; events = await mailbox.take()) {
    const frames: object[] = [];
    for (const event of events) {
      const some = framesOf(event);
      // Few events need to wait for anything, and a turn for nothing costs each token one.
      for (const frame of some instanceof Promise ? await some : some) frames.push(frame);
    }
    sse.sendAll(frames);
    await sse.ready();
  }
}
