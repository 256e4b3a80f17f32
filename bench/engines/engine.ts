/** What the table asks of an engine. */
import type { Cell } from './cells.js';

export interface Engine {
  readonly name: string;
  /** Version and settings, for whoever reads the table. */
  readonly about: string;
  /** Seconds that loading took; undefined where every run loads anew. */
  readonly loadSeconds?: number;
  /** A value for each line of the cell; or why it has none. */
  measure(cell: Cell): Promise<number[] | string>;
  peakMiB(): number | undefined;
  stop(): void;
}
