import { describe, expect, it } from 'vitest';
import { checkQueueName, queueAddress } from '../../lib/queue/address.js';
import { refusal } from '../support/write-model.js';

describe('the address of a queue', () => {
  it.each([
    [
      'redis://h',
      { kind: 'redis', tls: false, host: 'h', port: 6379, db: 0, shown: 'redis://h:6379' },
    ],
    ['rediss://h:1/2', { kind: 'redis', tls: true, port: 1, db: 2, shown: 'rediss://h:1/2' }],
    ['redis://u:p%40%2F@h', { user: 'u', password: 'p@/', shown: 'redis://h:6379' }],
    ['redis://:p@h', { user: undefined, password: 'p' }],
    ['nats://h', { kind: 'nats', tls: false, port: 4222, shown: 'nats://h:4222' }],
    [
      'tls://u:p@[::1]:5',
      { kind: 'nats', tls: true, host: '::1', user: 'u', shown: 'tls://[::1]:5' },
    ],
    ['nats://s3cret@h', { token: 's3cret', shown: 'nats://h:4222' }],
  ])('%s', (text, expected) => {
    expect(queueAddress(text)).toMatchObject(expected);
  });

  it.each([
    ['', /must be redis/],
    ['somewhere', /must be redis/],
    ['http://u:s3cret@h', /must be redis/],
    ['redis://', /must be redis/],
    ['redis://u:s3cret/@h', /must be redis/],
    ['redis://h?db=1', /nothing behind \?/],
    ['redis://u:s3cret@h/name', /a number of its databases/],
    ['nats://h/name', /takes no path/],
    ['redis://u:s3cret%@h', /write %25/],
  ])('%s is refused, and no password said', async (text, message) => {
    const { code, message: said } = await refusal((async () => queueAddress(text))());
    expect(code).toBe('ERR_INVALID_OPTION');
    expect(said).toMatch(message);
    expect(said).not.toContain('s3cret');
  });

  it('has a name that both brokers take', () => {
    expect(checkQueueName('octavo_2-x')).toBe('octavo_2-x');
    for (const name of ['', 'a.b', 'a:b', 'a b', '*', 'x'.repeat(65)]) {
      expect(() => checkQueueName(name)).toThrow(/letters, digits/);
    }
  });
});
