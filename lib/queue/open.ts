/** Connects to whichever broker an address names. */
import type { Broker, OpenOptions } from './queue.js';

/**
 * @throws ERR_INVALID_OPTION where its package is not installed, ERR_QUEUE where it is not there or
 * refuses
 */
export async function openBroker(options: OpenOptions): Promise<Broker> {
  if (options.address.kind === 'redis') {
    const { openRedis } = await import('./redis.js');
    return openRedis(options);
  }
  const { openNats } = await import('./nats.js');
  return openNats(options);
}
