/** The option `kvEventsConfig`: vLLM's keys in camelCase, or as they are on a command line. */
import { octavoError } from '../errors.js';

/** Events of the KV cache, told to whoever routes requests to the machine that has their prefix. */
export interface KvEventsOptions {
  /** Tell them. Default false. */
  enableKvCacheEvents?: boolean;
  /** `zmq` (default where they are told) or `null`: nobody is told. */
  publisher?: 'zmq' | 'null';
  /** Where the PUB socket is, `tcp://` or `ipc://`. With a `*`, `::` or `0.0.0.0`, and of `ipc://`,
   * it listens there; to any other address it connects. Default `tcp://*:5557`. */
  endpoint?: string;
  /** Where a ROUTER socket listens for who asks for what it has missed. Default: nowhere. */
  replayEndpoint?: string | null;
  /** Messages that are kept to be asked for again. Default 10,000. */
  bufferSteps?: number;
  /** Messages that wait for a slow subscriber; it misses those beyond. Default 100,000. */
  hwm?: number;
  /** Messages that wait to be sent at all; of more the eldest are dropped. Default 100,000. */
  maxQueueSize?: number;
  /** First part of every message. Default empty. */
  topic?: string;
  /** How events are written: `array` (default), positional with the tag in front, as vLLM did until
   * June 2026 and as every reader knows; `map`, by names, as it does since. */
  eventFormat?: 'array' | 'map';
}

export type KvEventsConfig = Readonly<Required<KvEventsOptions>>;

/** Does the option ask for anything? */
export function tellsEvents(config: KvEventsConfig | undefined): config is KvEventsConfig {
  return config?.enableKvCacheEvents === true && config.publisher === 'zmq';
}

/**
 * A command line's JSON, with vLLM's keys (`replay_endpoint`). What is wrong with the values is
 * said when the options are checked.
 * @throws ERR_INVALID_OPTION
 */
export function kvEventsOf(text: string): KvEventsOptions {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The same sentence as for what is no object.
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const example = `'{"enable_kv_cache_events": true, "endpoint": "tcp://*:5557"}'`;
    throw octavoError('ERR_INVALID_OPTION', `--kv-events-config must be JSON: ${example}`, {
      param: 'kvEventsConfig',
    });
  }
  const camel = (name: string) => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [camel(name), of]));
}
