/** The types that users' programs see. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './support/addon.js';

/** All declarations that index.d.ts leads to, and the packages they name. */
function packagesNamed(path: string, seen = new Set<string>()): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  const named = [...readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*['"]([^'"]+)['"]/g)];
  return named.flatMap(([, from]) => {
    if (!from.startsWith('.')) return from;
    return packagesNamed(join(dirname(path), from).replace(/\.js$/, '.d.ts'), seen);
  });
}

it('name no other package: a caller may have none of them, or another compiler', () => {
  for (const index of ['index.d.ts', 'server/index.d.ts']) {
    const named = packagesNamed(join(ROOT, 'dist', index));
    expect(named.filter((name) => !name.startsWith('node:'))).toEqual([]);
  }
});

const USE = `
import { createServer } from 'node:http';
import { LLM, type ChatMessage, type ChatOutput, type EngineOptions, type SamplingParams } from 'octavo';
import { createServer as handlerOf } from 'octavo/server';
const options: EngineOptions = { maxLogprobs: -1 };
const params: SamplingParams = { maxTokens: 12, stop: 'x' };
const messages: ChatMessage[] = [{ role: 'assistant', content: null, tool_calls: [] }];
// @ts-expect-error misspelt
const misspelt: SamplingParams = { maxToken: 12 };
export async function use(): Promise<string> {
  const llm = await LLM.load(options);
  const [first] = await llm.generate(['a'], params, { onOutput: (output) => output.outputs[0].text });
  for await (const { outputs } of llm.stream('b', params)) console.log(outputs[0].delta, misspelt);
  createServer(handlerOf({ a: llm }, { apiKey: 'key' })).listen(8000);
  const said: ChatOutput = await llm.chat(messages, { beamWidth: 2 }, { timeoutMs: 5 });
  const content: string = said.outputs[0].content;
  // @ts-expect-error of a prompt that is no conversation there is none
  const none: string = first.outputs[0].content;
  await llm.close();
  return first.outputs[0].text + content + none;
}
`;

/** What the compiler says of a program in a CommonJS project that has octavo and @types/node. */
function compiled(source: string, settings: object) {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-types-'));
  try {
    mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
    symlinkSync(ROOT, join(folder, 'node_modules', 'octavo'));
    symlinkSync(
      join(ROOT, 'node_modules', '@types', 'node'),
      join(folder, 'node_modules', '@types', 'node'),
    );
    writeFileSync(join(folder, 'package.json'), '{"name": "user", "private": true}');
    writeFileSync(join(folder, 'use.ts'), source);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      target: 'es2022',
      types: ['node'],
      ...settings,
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['use.ts'] }),
    );
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    expect(existsSync(tsc)).toBe(true);
    const { stdout, status } = spawnSync(process.execPath, [tsc, '-p', folder], {
      encoding: 'utf8',
    });
    return { stdout, status };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it.each([
  { module: 'nodenext' },
  { module: 'node20' },
  { module: 'preserve', moduleResolution: 'bundler' },
])(
  'compile in a CommonJS project that checks the declarations of its libraries: %j',
  (settings) => {
    expect(compiled(USE, settings)).toEqual({ stdout: '', status: 0 });
  },
);

it.each(['node16', 'node18'])('%s knows no require() of ES modules, but import()', (module) => {
  expect(compiled(USE, { module }).stdout).toMatch(/TS1479/);
  const late = `export const load = async () => (await import('octavo')).LLM.load();`;
  expect(compiled(late, { module })).toEqual({ stdout: '', status: 0 });
});
