/** Where a queue is: redis://user:password@host:6379/0, nats://token@host:4222, and so on. */
import { octavoError } from '../errors.js';

export interface QueueAddress {
  readonly kind: 'redis' | 'nats';
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
  /** Of NATS: what stands alone in front of the @. */
  readonly token?: string;
  /** Of Redis: which of its databases. */
  readonly db: number;
  /** As people are told it: without user, password and token. */
  readonly shown: string;
}

const SCHEMES = {
  'redis:': { kind: 'redis', tls: false, port: 6379 },
  'rediss:': { kind: 'redis', tls: true, port: 6379 },
  'nats:': { kind: 'nats', tls: false, port: 4222 },
  'tls:': { kind: 'nats', tls: true, port: 4222 },
} as const;

/**
 * @throws ERR_INVALID_OPTION; the sentence never holds what may be a password
 */
export function queueAddress(text: string): QueueAddress {
  const url = URL.canParse(text) ? new URL(text) : null;
  const scheme = url && SCHEMES[url.protocol as keyof typeof SCHEMES];
  if (!url || !scheme || url.hostname === '') {
    const known = 'redis://host:6379, rediss:// (TLS), nats://host:4222 or tls:// (NATS with TLS)';
    throw refusal(`must be ${known}; marks such as / and @ in a password are written %2F, %40`);
  }
  if (url.search !== '' || url.hash !== '') throw refusal('takes nothing behind ? or #');
  const { kind, tls } = scheme;
  const port = url.port === '' ? scheme.port : Number(url.port);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const db = databaseOf(url.pathname, kind);
  const shown = `${url.protocol}//${url.hostname}:${port}${db === 0 ? '' : `/${db}`}`;
  const user = plain(url.username);
  const password = plain(url.password);
  const isToken = kind === 'nats' && user !== undefined && password === undefined;
  return {
    ...{ kind, tls, host, port, db, shown },
    ...(isToken ? { token: user } : { user, password }),
  };
}

/** Letters, digits, _ and -: what both brokers take. */
export function checkQueueName(name: string): string {
  if (/^[\w-]{1,64}$/.test(name)) return name;
  const sentence = '--queue-name must be up to 64 letters, digits, _ and -';
  throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'queue-name' });
}

function databaseOf(path: string, kind: 'redis' | 'nats'): number {
  const text = path.replace(/^\//, '');
  if (text === '') return 0;
  if (kind === 'nats') throw refusal('of NATS takes no path; --queue-name names the queue');
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw refusal('of Redis takes a number of its databases as its path; --queue-name is the name');
}

function plain(encoded: string): string | undefined {
  if (encoded === '') return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw refusal('has a % in user or password that is not followed by two digits: write %25');
  }
}

function refusal(sentence: string): Error {
  return octavoError('ERR_INVALID_OPTION', `--queue ${sentence}`, { param: 'queue' });
}
