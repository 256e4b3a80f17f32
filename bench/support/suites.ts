/**
 * Suites of schemas with instances, as they lie beside the repository: MaskBench (jsonschemabench)
 * and the JSON-Schema-Test-Suite's mandatory files.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import { type JsonText, member, readJson, writeJson } from '../../test/support/json-text.js';

/** A schema and what is to be judged by it. */
export interface SchemaCase {
  readonly name: string;
  /** The schema's text. */
  readonly schema: string;
  /** Instances as token ids, and whether each is valid. */
  readonly instances: readonly (readonly number[])[];
  readonly valid: readonly boolean[];
}

interface RawCase {
  readonly name: string;
  readonly schema: string;
  readonly tests: readonly JsonText[];
}

const list = (value: JsonText | undefined): readonly JsonText[] =>
  value?.kind === 'array' ? value.items : [];

const jsonFiles = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ name, json: readJson(readFileSync(join(folder, name), 'utf8')) }));

function unpack(folder: string, archive: string): string {
  const into = join('.bench', 'suites', archive);
  if (existsSync(into)) return into;
  mkdirSync(into, { recursive: true });
  execFileSync('tar', ['xf', resolve(folder, `${archive}.tar.xz`), '-C', into]);
  return into;
}

function maskBench(folder: string): RawCase[] {
  return jsonFiles(unpack(folder, 'maskbench')).map(({ name, json }) => ({
    name,
    schema: writeJson(member(json, 'schema')!),
    tests: list(member(json, 'tests')),
  }));
}

/** Each group names its draft, which only its folder says. */
function testSuite(folder: string, draft: string, uri: string): RawCase[] {
  const files = join(unpack(folder, 'json-schema-test-suite'), 'tests', draft);
  return jsonFiles(files).flatMap(({ name, json }) =>
    list(json).map((group, i) => {
      const schema = member(group, 'schema')!;
      const value: JsonText = { kind: 'string', value: uri };
      const said: JsonText =
        schema.kind === 'object' && member(schema, '$schema') === undefined
          ? { kind: 'object', members: [['$schema', value], ...schema.members] }
          : schema;
      const tests = list(member(group, 'tests'));
      return { name: `${name}#${i}`, schema: writeJson(said), tests };
    }),
  );
}

const SUITES: Readonly<Record<string, (folder: string) => RawCase[]>> = {
  MaskBench: maskBench,
  '2020-12': (folder) =>
    testSuite(folder, 'draft2020-12', 'https://json-schema.org/draft/2020-12/schema'),
  'draft 7': (folder) => testSuite(folder, 'draft7', 'http://json-schema.org/draft-07/schema#'),
};

export const SUITE_NAMES = Object.keys(SUITES);

/**
 * The cases of a suite, and the file that has a line of JSON for each.
 * @param every which of its schemas: each n-th
 */
export async function suiteOf(
  name: string,
  folder: string,
  tokenizer: Tokenizer,
  every: number,
): Promise<{ cases: SchemaCase[]; path: string }> {
  const raw = SUITES[name](folder).filter((_, i) => i % every === 0);
  const cases: SchemaCase[] = [];
  for (const { name, schema, tests } of raw) {
    const texts = tests.map((test) => writeJson(member(test, 'data')!));
    const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
    const instances = await Promise.all(texts.map(encode));
    const valid = tests.map((test) => writeJson(member(test, 'valid')!) === 'true');
    cases.push({ name, schema, instances, valid });
  }
  const path = resolve(join('.bench', 'suites', `${name}-${every}.jsonl`));
  const lines = cases.map(({ schema, instances }) => JSON.stringify({ schema, instances }));
  writeFileSync(path, `${lines.join('\n')}\n`);
  return { cases, path };
}
