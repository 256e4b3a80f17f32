/**
 * The engine end to end on GPU 0, on a host with nothing but Node: the checks that the emulator
 * passes in `npm test`, at full length, then what only a real device can show. Prints a line a
 * check; exit code 1 when one fails.
 *   node .bench/bench/gpu-check.js [--device cuda] [--json FILE]
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type EngineOptions, LLM } from '../lib/index.js';
import { type Check, deviceChecks } from '../test/support/device-checks.js';

const { values: args } = parseArgs({
  options: { device: { type: 'string', default: 'cuda' }, json: { type: 'string' } },
});
const device = args.device;
const MiB = 2 ** 20;
// A pool of known size, so that many engines fit beside each other.
const load = (options: EngineOptions = {}) =>
  LLM.load({ device, kvCacheMemoryBytes: 512 * MiB, ...options });

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: { code?: string; message: string }) => `${error.code}: ${error.message}`,
  );

/** MiB on GPU 0, everybody's; undefined where there is no nvidia-smi. */
function askMiB(what: 'memory.used' | 'memory.total'): number | undefined {
  try {
    const query = [`--query-gpu=${what}`, '--format=csv,noheader,nounits', '--id=0'];
    return Number(execFileSync('nvidia-smi', query, { encoding: 'utf8' }).trim());
  } catch {
    return undefined;
  }
}

/** While another process holds half of the memory in a KV pool. */
async function withHungryNeighbour(totalMiB: number, run: () => Promise<string>): Promise<string> {
  const options = { device, kvCacheMemoryBytes: (totalMiB / 2) * MiB, maxModelLen: 64 };
  const library = new URL('../lib/index.js', import.meta.url).href;
  const script = `
    const { LLM } = await import(${JSON.stringify(library)});
    await LLM.load(${JSON.stringify(options)});
    console.log('loaded');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error('the neighbour could not load')));
    });
    return await run();
  } finally {
    if (child.exitCode === null) {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('close', resolve));
    }
  }
}

const attacks: Check[] = [
  [
    'a device that does not exist',
    async () => {
      const message = await code(load({ device: 'cuda:99' }));
      assert.match(message, /^ERR_DEVICE_NOT_FOUND: device cuda:99/);
      return message;
    },
  ],
  [
    'a pool larger than the device',
    async () => {
      const message = await code(
        load({ kvCacheMemoryBytes: 2 ** 45, numGpuBlocksOverride: 2 ** 28 }),
      );
      assert.match(message, /^ERR_OUT_OF_MEMORY/);
      return message;
    },
  ],
  [
    'close() during a step, and two engines on one device',
    async () => {
      const [a, b] = await Promise.all([load(), load()]);
      const cut = code(a.generate('Call me', { maxTokens: 400, ignoreEos: true }));
      const other = b.generate('Call me Ishmael.', {
        temperature: 0,
        maxTokens: 30,
        ignoreEos: true,
      });
      await a.close();
      assert.match(await cut, /^ERR_CLOSED/);
      assert.equal((await other).outputs[0].tokenIds.length, 30);
      await b.close();
      return 'one closed, one went on';
    },
  ],
  [
    'memory is back after close()',
    async () => {
      const warm = await load();
      await warm.close();
      const before = askMiB('memory.used');
      const llm = await load();
      await llm.generate('Call me', { maxTokens: 8, ignoreEos: true });
      const during = askMiB('memory.used');
      await llm.close();
      const after = askMiB('memory.used');
      if (before === undefined || during === undefined || after === undefined) {
        return 'skipped: no nvidia-smi to ask';
      }
      assert(during - before >= 500, `${during} MiB in use with a model, ${before} without`);
      assert(after <= before + 16, `${after} MiB in use after close(), ${before} before load()`);
      return `${before} MiB before, ${during} with a model, ${after} after close()`;
    },
  ],
  [
    'another process that holds half of the memory',
    async () => {
      const total = askMiB('memory.total');
      if (total === undefined) return 'skipped: no nvidia-smi to ask';
      return withHungryNeighbour(total, async () => {
        const message = await code(LLM.load({ device, gpuMemoryUtilization: 0.4 }));
        assert.match(message, /^ERR_OUT_OF_MEMORY: no memory is left/);
        const llm = await load();
        await llm.close();
        return message;
      });
    },
  ],
];

const results: { name: string; ok: boolean; said: string; seconds: number }[] = [];
const seed = Math.floor(Math.random() * 2 ** 31);
const promptLengths = [3, 17, 40, 75, 128, 300, 511, 9, 64, 250];
console.log(`device ${device}, seed ${seed}`);
for (const [name, run] of [
  ...deviceChecks({ load, root: process.cwd(), full: true, promptLengths, seed }),
  ...(device === 'cpu' ? [] : attacks),
]) {
  const start = performance.now();
  const [ok, said] = await run().then(
    (text) => [true, text] as const,
    (error: Error) => [false, `${error.message}`.split('\n').slice(0, 6).join(' | ')] as const,
  );
  const seconds = (performance.now() - start) / 1000;
  results.push({ name, ok, said, seconds });
  console.log(
    `${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s): ${said.slice(0, 300)}`,
  );
  if (args.json)
    writeFileSync(args.json, `${JSON.stringify({ device, seed, results }, null, 1)}\n`);
}
process.exitCode = results.every((r) => r.ok) ? 0 : 1;
