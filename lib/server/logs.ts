/** One line of JSON for each request, by pino or whatever has its methods. */
import pino from 'pino';

/** What is asked of a logger; pino's fits. */
export interface Logger {
  /** A request that asks no model: a probe, say. */
  debug(fields: object, message: string): void;
  /** A request of a model that has ended, or one that was refused. */
  info(fields: object, message: string): void;
  /** A request that could not be answered now: 503, say. */
  warn(fields: object, message: string): void;
  /** A fault of the server. */
  error(fields: object, message: string): void;
}

const nothing = () => {};

/** Takes everything, writes nothing. */
export const SILENT: Logger = Object.freeze({
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
});

/** Lines on stdout, with the time as ISO 8601. */
export function jsonLines(level: 'debug' | 'info' | 'error' = 'info'): Logger {
  return pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime });
}
