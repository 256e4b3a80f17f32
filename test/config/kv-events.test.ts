import { describe, expect, it } from 'vitest';
import { kvEventsOf } from '../../lib/config/kv-events.js';
import { engineConfig } from '../../lib/config/options.js';

const refusedFor = (param: string, message: RegExp) =>
  expect.objectContaining({
    code: 'ERR_INVALID_OPTION',
    param,
    message: expect.stringMatching(message),
  });

describe('kvEventsConfig', () => {
  it("has vLLM's defaults", () => {
    expect(engineConfig({ kvEventsConfig: {} }).kvEventsConfig).toEqual({
      enableKvCacheEvents: false,
      publisher: 'zmq',
      endpoint: 'tcp://*:5557',
      replayEndpoint: null,
      bufferSteps: 10_000,
      hwm: 100_000,
      maxQueueSize: 100_000,
      topic: '',
      eventFormat: 'array',
    });
    expect(engineConfig({}).kvEventsConfig).toBeUndefined();
  });

  it.each([
    [{ endpoint: 'localhost:5557' }, 'kvEventsConfig.endpoint', /must be tcp:\/\/HOST:PORT/],
    [{ endpoint: 'tcp://*:65536' }, 'kvEventsConfig.endpoint', /must be tcp:\/\/HOST:PORT/],
    [{ endpoint: 'tcp://*' }, 'kvEventsConfig.endpoint', /must be tcp:\/\/HOST:PORT/],
    [{ bufferSteps: 0 }, 'kvEventsConfig.bufferSteps', /bufferSteps/],
    [{ publisher: 'kafka' }, 'kvEventsConfig.publisher', /publisher/],
    [{ buffer_steps: 5 }, 'buffer_steps', /option kvEventsConfig has no .*buffer_steps/],
    [5, 'kvEventsConfig', /kvEventsConfig/],
  ])('refuses %j by its name', (kvEventsConfig, param, message) => {
    const options = { kvEventsConfig } as Parameters<typeof engineConfig>[0];
    expect(() => engineConfig(options)).toThrow(refusedFor(param, message));
  });

  it('is refused beside a prefix cache that is off, unless nobody is told', () => {
    const told = { enableKvCacheEvents: true };
    const off = { enablePrefixCaching: false };
    expect(() => engineConfig({ ...off, kvEventsConfig: told })).toThrow(
      refusedFor('kvEventsConfig', /enablePrefixCaching/),
    );
    for (const kvEventsConfig of [{}, { ...told, publisher: 'null' as const }]) {
      expect(engineConfig({ ...off, kvEventsConfig }).enablePrefixCaching).toBe(false);
    }
  });
});

describe('of a command line', () => {
  it("is JSON with vLLM's keys", () => {
    const text = '{"enable_kv_cache_events": true, "replay_endpoint": null, "topic": "kv@a_b"}';
    expect(kvEventsOf(text)).toEqual({
      enableKvCacheEvents: true,
      replayEndpoint: null,
      topic: 'kv@a_b',
    });
  });

  it.each(['', '{', '[]', 'null', 'true'])('%j is none', (text) => {
    expect(() => kvEventsOf(text)).toThrow(refusedFor('kvEventsConfig', /must be JSON/));
  });
});
