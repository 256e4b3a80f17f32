/** One line of JSON for each request, by pino or whatever has its methods. */
import pino from 'pino';

/** What is asked of a logger; pino's fits. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
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
