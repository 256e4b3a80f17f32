/** One way for every bench to say what it measured: a table for eyes, JSON for records. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What another engine needs for the same, in the same unit. */
  readonly reference?: number;
  /** value / reference. */
  readonly ratio?: number;
  /** Parameters of the row. */
  readonly [parameter: string]: string | number | boolean | undefined;
}

export interface BenchReport {
  readonly bench: string;
  readonly rows: readonly BenchRow[];
  /** Path to write the JSON to; none = only the table. */
  readonly json?: string;
  /** What was measured on; the CPU's name by default. */
  readonly device?: string;
}

/** The `--json FILE` that every bench understands. */
export function jsonPath(): string | undefined {
  return parseArgs({ options: { json: { type: 'string' } }, strict: false }).values.json as
    | string
    | undefined;
}

export function report({ bench, rows, json, device }: BenchReport): void {
  console.log(`${bench} — ${device ?? thisMachine()}`);
  console.table(rows.map(forTable));
  saveJson({ bench, rows, json, device });
}

/** The JSON alone, for benches that take long: what there is after each part. */
export function saveJson({ bench, rows, json, device }: BenchReport): void {
  if (json === undefined) return;
  const date = new Date().toISOString();
  const text = JSON.stringify(
    { bench, version: version(), device: device ?? thisMachine(), date, rows },
    null,
    2,
  );
  writeFileSync(json, `${text}\n`);
}

function thisMachine(): string {
  return `${cpus()[0]?.model.trim()} (${cpus().length} cores)`;
}

function forTable(row: BenchRow): BenchRow {
  return Object.fromEntries(
    Object.entries(row).map(([key, value]) => [
      key,
      typeof value === 'number' ? round(value) : value,
    ]),
  ) as BenchRow;
}

function round(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(4));
}

/** Benches are started from the root of the repository. */
function version(): string {
  return JSON.parse(readFileSync('package.json', 'utf8')).version;
}
