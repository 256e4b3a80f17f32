import { describe, expect, it } from 'vitest';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { appendTokens } from '../../lib/core/step-result.js';
import type { TokenConstraint } from '../../lib/core/structured.js';
import { RecordingScheduler, replayTrace, type TraceEvent } from '../../lib/core/trace.js';
import { group, neverStop, range, resultFor } from '../support/core.js';
import { randomFrom } from '../support/fake-executor.js';
import { SEED } from '../support/seed.js';
import { Simulation, TINY_WORLD, type World } from '../support/simulate.js';

const WORLD = {
  ...TINY_WORLD,
  numRequests: 60,
  abortPercent: 3,
  failPercent: 1,
  beamTenths: 3,
  numHostBlocks: 30,
  schedulingPolicy: 'priority',
} as const;

/** Takes so many tokens, and then none. */
class Few implements TokenConstraint {
  constructor(private left: number) {}
  advance(): boolean {
    return --this.left >= 0;
  }
  fork(): Few {
    return new Few(this.left);
  }
  close(): void {}
}

/** As it comes back from a file. */
const throughJson = (events: readonly TraceEvent[]) =>
  events.map((event) => JSON.parse(JSON.stringify(event)) as TraceEvent);

function recorded(seed: number, world: World = WORLD): TraceEvent[] {
  const events: TraceEvent[] = [];
  new Simulation(seed, world, (event) => events.push(event)).run();
  return throughJson(events);
}

describe('a trace', () => {
  it('replays to the same decisions, whatever happened in it', () => {
    for (const seed of [1, 2, 3, 4]) {
      const events = recorded(seed);
      const summary = replayTrace(events);
      const plans = events.filter((e) => e.type === 'schedule' && e.plan !== null);
      expect(summary.numSteps).toBe(plans.length);
      expect(summary.numRequests).toBe(events.filter((e) => e.type === 'add').length);
      expect(summary.numUnfinished).toBe(0);
      expect(summary.numPreemptions).toBeGreaterThan(0);
    }
  });

  it('of an older version of the format replays, too', () => {
    const events = recorded(7).map((event) => {
      if (event.type !== 'commit') return event;
      const { stops, ...rest } = event;
      return { ...rest, verdicts: stops } as unknown as TraceEvent;
    });
    expect(replayTrace(events).numUnfinished).toBe(0);
  });

  it('of states and records replays, and another decision about them is told', () => {
    const recurrent = { numSlots: 17, numRecords: 8 * 16 + 5, interval: 32, numHostSlots: 8 };
    const events = recorded(5, { ...WORLD, recurrent });
    expect(replayTrace(events).numUnfinished).toBe(0);
    const isPlan = (event: TraceEvent) =>
      event.type === 'schedule' && (event.plan?.states ?? []).some((slot) => slot > 3);
    const at = events.findIndex(isPlan);
    const changed = JSON.parse(JSON.stringify(events[at]));
    changed.plan.records[0]++;
    expect(() => replayTrace(events.with(at, changed))).toThrow(/the trace decided/);
  });

  it('that was cut off replays as far as it goes', () => {
    const events = recorded(5);
    const summary = replayTrace(events.slice(0, Math.floor(events.length / 2)));
    expect(summary.numUnfinished).toBeGreaterThan(0);
  });

  it('whose decisions, tokens or arrivals were changed is refused at the step it matters', () => {
    const events = recorded(6);
    const change = (type: TraceEvent['type'], alter: (event: never) => void) => {
      const copy = throughJson(events);
      alter(copy.filter((e) => e.type === type)[20] as never);
      return () => replayTrace(copy);
    };
    const refused = /ERR_TRACE|cannot be replayed/;
    expect(
      change('schedule', (e: { plan: { copies: number[] } }) => e.plan.copies.push(1, 2)),
    ).toThrow(refused);
    expect(change('commit', (e: { tokenIds: number[] }) => e.tokenIds.push(1))).toThrow(/samples/);
    const without = events.filter((e, i) => e.type !== 'add' || i > 10);
    expect(() => replayTrace(without)).toThrow(/the trace decided/);
  });

  it.each<[string, unknown[]]>([
    ['nothing', []],
    ['another version', [{ type: 'config', version: 99, config: {} }]],
    ['no config', [{ type: 'schedule', plan: null }]],
    [
      'an event that is none',
      [{ type: 'config', version: 1, config: { numBlocks: 9, maxModelLen: 9 } }, { type: 'x' }],
    ],
    [
      'an end without a step',
      [
        { type: 'config', version: 1, config: { numBlocks: 9, maxModelLen: 9 } },
        { type: 'discard' },
      ],
    ],
  ])('of %s is refused', (_, events) => {
    expect(() => replayTrace(events as TraceEvent[])).toThrow(/cannot be replayed/);
  });

  it('of sizes that no memory holds is refused, of a huge pool replays', () => {
    const replay = (config: object) =>
      replayTrace([
        { type: 'config', version: 1, config: { numBlocks: 9, maxModelLen: 64, ...config } },
        { type: 'schedule', plan: null },
      ]);
    for (const config of [
      { numBlocks: 2 ** 31 },
      { numBlocks: 2 ** 30, blockSize: 64 },
      { maxNumSeqs: 2 ** 20, maxNumBatchedTokens: 2 ** 20 },
      { maxModelLen: 2 ** 30 },
    ]) {
      expect(() => replay(config)).toThrow(expect.objectContaining({ code: 'ERR_TRACE' }));
    }
    expect(replay({ numBlocks: 2 ** 25, numHostBlocks: 2 ** 30 }).numUnfinished).toBe(0);
  });

  it('damaged anywhere is refused with its code, or replays', () => {
    const seed = SEED;
    const random = randomFrom(seed);
    const events = recorded(7);
    const values = [null, -1, 2 ** 31, 'x', [], {}, 0.5, true, undefined];
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const copy = throughJson(events.slice(0, 200));
      const at = random(copy.length);
      const event = copy[at] as unknown as Record<string, unknown>;
      // A pool of any size may be asked for: the config is not what is damaged here.
      const target =
        at > 0 && random(2) === 0 && event.params ? (event.params as typeof event) : event;
      const keys = Object.keys(target);
      if (at > 0) target[keys[random(keys.length)]] = values[random(values.length)];
      if (random(5) === 0) copy.splice(random(copy.length), 1);
      try {
        replayTrace(copy);
      } catch (error) {
        expect((error as { code?: string }).code, `seed ${seed}, run ${i}: ${error}`).toBe(
          'ERR_TRACE',
        );
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it('holds resets and keeps refused requests out', () => {
    const events: TraceEvent[] = [];
    const scheduler = new RecordingScheduler({ numBlocks: 9, maxModelLen: 16, blockSize: 4 }, (e) =>
      events.push(e),
    );
    expect(() => scheduler.add(group('a', range(40)))).toThrow(/ERR_PROMPT|no room/);
    scheduler.add(group('b', range(4), { maxTokens: 1 }));
    const step = scheduler.schedule()!;
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      neverStop,
    );
    scheduler.resetPrefixCache();
    expect(events.map((e) => e.type)).toEqual(['config', 'add', 'schedule', 'commit', 'reset']);
    expect(replayTrace(throughJson(events)).numTokens).toBe(4);
  });

  it('holds what constraints refused of the tokens that were drawn', () => {
    for (const [fits, forced] of [
      [0, []],
      [1, []],
      [2, [6, 7, 8]],
    ] as const) {
      const events: TraceEvent[] = [];
      const scheduler = new RecordingScheduler(
        { numBlocks: 20, maxModelLen: 16, blockSize: 4 },
        (event) => events.push(event),
      );
      const refused = group('a', range(4), { maxTokens: 9 });
      refused.sequences[0].obey(new Few(fits));
      scheduler.add(refused);
      scheduler.add(group('b', range(5), { maxTokens: 6 }));
      let numSteps = 0;
      for (let step = scheduler.schedule(); step !== null; step = scheduler.schedule()) {
        const drawn = resultFor(scheduler, step, () => 5);
        const more = range(step.numSamples).map((i) =>
          scheduler.sequenceAt(step.sampleRows[i])?.group === refused ? forced : [],
        );
        scheduler.commit(step, appendTokens(drawn, more), neverStop);
        numSteps++;
      }
      const [sequence] = refused.sequences;
      expect([sequence.finishReason, sequence.numOutputTokens]).toEqual(['error', fits + 1]);
      const commits = events.flatMap((e) => (e.type === 'commit' && e.refused ? [e.refused] : []));
      expect(commits).toEqual([[[0, forced.length === 0 ? 1 : fits + 1]]]);
      const told = throughJson(events);
      expect(replayTrace(told)).toMatchObject({ numSteps, numUnfinished: 0 });
      // Without it the sequence would go on.
      const silent = told.map((event) => {
        const { refused: _, ...rest } = event as TraceEvent & { refused?: unknown };
        return rest as TraceEvent;
      });
      expect(() => replayTrace(silent)).toThrow(/the trace decided/);
    }
  });

  it('holds what they refused of beams', () => {
    const events: TraceEvent[] = [];
    const scheduler = new RecordingScheduler(
      { numBlocks: 40, maxModelLen: 32, blockSize: 4 },
      (event) => events.push(event),
    );
    const limits = { vocabSize: 1000, eosTokenIds: [999], seed: 7 };
    const params = completeBeamParams({ beamWidth: 3, maxTokens: 9, ignoreEos: true }, limits);
    const constraint = new Few(3);
    scheduler.add(new SequenceGroup({ id: 'a', promptTokens: range(6), params, constraint }));
    scheduler.add(group('b', range(5), { maxTokens: 12 }));
    for (let step = scheduler.schedule(); step !== null; step = scheduler.schedule()) {
      const result = resultFor(scheduler, step, () => 5);
      scheduler.commit(step, result, neverStop);
    }
    const commits = events.flatMap((e) => (e.type === 'commit' && e.refused ? [e.refused] : []));
    expect(commits).toHaveLength(1);
    expect(replayTrace(throughJson(events)).numUnfinished).toBe(0);
  });
});
