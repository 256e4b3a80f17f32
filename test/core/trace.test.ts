import { describe, expect, it } from 'vitest';
import { RecordingScheduler, replayTrace, type TraceEvent } from '../../lib/core/trace.js';
import { group, neverStop, range, resultFor } from '../support/core.js';
import { randomFrom } from '../support/fake-executor.js';
import { SEED } from '../support/seed.js';
import { Simulation, TINY_WORLD } from '../support/simulate.js';

const WORLD = {
  ...TINY_WORLD,
  numRequests: 60,
  abortPercent: 3,
  failPercent: 1,
  beamTenths: 3,
  numHostBlocks: 30,
  schedulingPolicy: 'priority',
} as const;

/** As it comes back from a file. */
const throughJson = (events: readonly TraceEvent[]) =>
  events.map((event) => JSON.parse(JSON.stringify(event)) as TraceEvent);

function recorded(seed: number): TraceEvent[] {
  const events: TraceEvent[] = [];
  new Simulation(seed, WORLD, (event) => events.push(event)).run();
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
});
