/**
 * The JSON-Schema-Test-Suite (2020-12 and draft 7, mandatory files) and MaskBench, as they lie beside
 * the repository: nothing that a schema forbids is ever taken.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { sample } from '../support/all.js';
import { type JsonText, member, readJson, writeJson } from '../support/json-text.js';
import { byteMatchers } from '../support/native-grammar.js';
import { grammarOf } from '../support/schemas.js';

const SHARED = join(ROOT, '../shared/jsonschema');
const SUITE = join(SHARED, 'json-schema-test-suite.tar.xz');
const MASKBENCH = join(SHARED, 'maskbench.tar.xz');
/** Every which file of MaskBench is run. */
const STEP = sample(33, 1);
/** Milliseconds from which a schema and its texts are told as late; not a bound. */
const LATE_MS = 1_000;

interface Counts {
  right: number;
  falseAccepts: number;
  falseRejects: number;
  refused: number;
}

interface Instance {
  readonly text: string;
  readonly valid: boolean;
}

const LIMITS = { maxSchemaBytes: 1 << 20, maxEnumBytes: 1 << 20 };
const native = byteMatchers();

/** `undefined`: the schema is refused. A schema without any valid value may be refused as such. */
async function judge(schema: unknown, instances: readonly Instance[], wrong: string[]) {
  let accepts: (text: string) => Promise<boolean>;
  try {
    accepts = await (await native)(grammarOf(schema, LIMITS));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== 'ERR_GRAMMAR') throw error;
    if (!/no value is valid/.test(message)) return undefined;
    return instances.map(({ valid }) => (valid ? 'reject' : 'right'));
  }
  const judged: ('right' | 'reject' | 'accept')[] = [];
  for (const { text, valid } of instances) {
    const accepted = await accepts(text);
    if (accepted && !valid) wrong.push(`${JSON.stringify(schema).slice(0, 500)} takes ${text}`);
    judged.push(accepted === valid ? 'right' : valid ? 'reject' : 'accept');
  }
  return judged;
}

function unpack(archive: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-schemas-'));
  execFileSync('tar', ['xf', archive, '-C', folder]);
  return folder;
}

function newCounts(): Counts {
  return { right: 0, falseAccepts: 0, falseRejects: 0, refused: 0 };
}

describe.skipIf(!existsSync(SUITE))('JSON-Schema-Test-Suite (beside the repository)', () => {
  let folder = '';
  beforeAll(() => {
    folder = unpack(SUITE);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['draft2020-12', 'https://json-schema.org/draft/2020-12/schema', 1_080],
    ['draft7', 'http://json-schema.org/draft-07/schema#', 800],
  ])('%s', async (draft, uri, least) => {
    const counts = newCounts();
    const wrong: string[] = [];
    const tests = join(folder, 'tests', draft);
    for (const file of readdirSync(tests).filter((name) => name.endsWith('.json'))) {
      const text = readFileSync(join(tests, file), 'utf8');
      const groups = JSON.parse(text) as { schema: unknown; tests: { valid: boolean }[] }[];
      const raw = readJson(text) as JsonText & { kind: 'array' };
      for (const [i, group] of groups.entries()) {
        const object = typeof group.schema === 'object';
        const schema = object ? { $schema: uri, ...(group.schema as object) } : group.schema;
        const data = (member(raw.items[i], 'tests') as JsonText & { kind: 'array' }).items;
        const instances = group.tests.map(({ valid }, k) => ({
          text: writeJson(member(data[k], 'data')!),
          valid,
        }));
        const judged = await judge(schema, instances, wrong);
        if (judged === undefined) counts.refused += instances.length;
        for (const one of judged ?? []) {
          if (one === 'right') counts.right++;
          else if (one === 'accept') counts.falseAccepts++;
          else counts.falseRejects++;
        }
      }
    }
    console.log(`${draft}: ${JSON.stringify(counts)}`);
    expect(wrong).toEqual([]);
    expect(counts.right).toBeGreaterThan(least);
  });
});

describe.skipIf(!existsSync(MASKBENCH))('MaskBench (beside the repository)', () => {
  let folder = '';
  beforeAll(() => {
    folder = unpack(MASKBENCH);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('takes nothing invalid, and is all right for nine schemas of ten', async () => {
    const counts = newCounts();
    const wrong: string[] = [];
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const some = files.sort().filter((_, i) => i % STEP === 0);
    let late = 0;
    for (const file of some) {
      const text = readFileSync(join(folder, file), 'utf8');
      const { schema } = JSON.parse(text) as { schema: unknown };
      const tests = (member(readJson(text), 'tests') as JsonText & { kind: 'array' }).items;
      const instances = tests.map((test) => ({
        text: writeJson(member(test, 'data')!),
        valid: writeJson(member(test, 'valid')!) === 'true',
      }));
      const begun = performance.now();
      const judged = await judge(schema, instances, wrong);
      if (performance.now() - begun > LATE_MS) late++;
      if (judged === undefined) counts.refused++;
      else if (judged.includes('accept')) counts.falseAccepts++;
      else if (judged.includes('reject')) counts.falseRejects++;
      else counts.right++;
    }
    console.log(`MaskBench, ${some.length} schemas: ${JSON.stringify({ ...counts, late })}`);
    expect(wrong).toEqual([]);
    expect(counts.right / some.length).toBeGreaterThan(0.9);
  });
});
