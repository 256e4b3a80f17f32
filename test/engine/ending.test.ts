import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/addon.js';
import { sample } from '../support/all.js';

/** How processes and workers end that have engines open, or are ended in the middle of a call. */

const entry = JSON.stringify(join(ROOT, 'dist', 'index.js'));
const TIMEOUT = 240_000;

function script(body: string) {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', body],
    { encoding: 'utf8', timeout: TIMEOUT },
  );
  return { status, signal, stdout, stderr };
}
const CLEAN = { status: 0, signal: null, stderr: '' };

describe('engines that nobody closes', () => {
  const load = `import { LLM } from ${entry}; globalThis.all = [];
    const load = async () => all.push(await LLM.load({ numThreads: 1 }));`;

  it.each([1, 2, 3])(
    '%i at the end of a process',
    (num) => {
      expect(script(`${load} for (let i = 0; i < ${num}; i++) await load();`)).toMatchObject(CLEAN);
    },
    TIMEOUT,
  );

  it(
    'two and one that was closed, one that steps, one that loads',
    () => {
      expect(
        script(`${load} for (let i = 0; i < 4; i++) await load(); await all[1].close();
        all[2].generate('A', { maxTokens: 30, ignoreEos: true }); load();`),
      ).toMatchObject(CLEAN);
    },
    TIMEOUT,
  );

  it.each(['ends by itself', 'is terminated'])(
    'two in a worker that %s',
    (how) => {
      const worker = `import(${entry}).then(async ({ LLM }) => {
      const { parentPort } = await import('node:worker_threads');
      globalThis.all = [await LLM.load({ numThreads: 1 }), await LLM.load({ numThreads: 1 })];
      ${how === 'is terminated' ? 'setInterval(() => {}, 1e6);' : ''}
      parentPort.postMessage('up');
    })`;
      expect(
        script(`import { Worker } from 'node:worker_threads';
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        await new Promise((resolve) => worker.once('message', resolve));
        ${how === 'is terminated' ? 'await worker.terminate();' : 'await ended;'}
        console.log('lives on');`),
      ).toMatchObject({ ...CLEAN, stdout: 'lives on\n' });
    },
    TIMEOUT,
  );
});

// Terminated at any time: while the addon registers, in load(), step() and close().
it(
  'workers that are terminated while they load, generate and close',
  () => {
    const worker = `import(${entry}).then(async ({ LLM }) => {
      const { parentPort } = await import('node:worker_threads');
      parentPort.postMessage('begins');
      for (;;) {
        const llm = await LLM.load({ numThreads: 1 });
        await llm.generate('A', { maxTokens: 2 });
        await llm.close();
      }
    })`;
    expect(
      script(`import { Worker } from 'node:worker_threads';
      for (let i = 0; i < ${sample(12, 40)}; i++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, (i * 13) % 60));
        await worker.terminate();
      }
      console.log('lives on');`),
    ).toMatchObject({ ...CLEAN, stdout: 'lives on\n' });
  },
  TIMEOUT,
);

// Each ends in the tick in which it has asked for a step, which the thread has not begun yet.
it(
  'workers that end with a step that waits for its thread',
  () => {
    const addon = JSON.stringify(join(ROOT, 'build', 'Release', 'octavo.node'));
    const worker = `import(${entry}).then(async ({ LLM }) => {
      const { createRequire } = await import('node:module');
      const addon = createRequire(${entry})(${addon});
      let left = 3;
      class Executor extends addon.Executor {
        step(...args) {
          const promise = super.step(...args);
          if (--left === 0) process.exit();
          return promise;
        }
      }
      const llm = await LLM.loadWith({ numThreads: 1 }, { ...addon, Executor });
      llm.generate('A', { maxTokens: 30, ignoreEos: true });
    })`;
    expect(
      script(`import { Worker } from 'node:worker_threads';
      for (let i = 0; i < ${sample(8, 40)}; i++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        const code = await new Promise((resolve) => worker.once('exit', resolve));
        if (code !== 0) throw new Error('exit code ' + code);
      }
      console.log('lives on');`),
    ).toMatchObject({ ...CLEAN, stdout: 'lives on\n' });
  },
  TIMEOUT,
);

// With no address space left for a stack, as where pids.max or ulimit -u is reached.
it(
  'a process that may start no more threads is told so',
  () => {
    const addon = JSON.stringify(join(ROOT, 'build', 'Release', 'octavo.node'));
    expect(
      script(`import { execFileSync } from 'node:child_process';
      import { readFileSync } from 'node:fs';
      import { createRequire } from 'node:module';
      const { Executor } = createRequire(import.meta.url)(${addon});
      const executors = [new Executor()];
      const pages = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[0]);
      execFileSync('prlimit', ['--pid', process.pid, '--as=' + (pages * 4096 + 2 ** 22)]);
      try {
        executors.push(new Executor());
      } catch ({ code, message }) {
        console.log(code, /no thread could be started/.test(message));
      }`),
    ).toMatchObject({ ...CLEAN, stdout: 'ERR_OUT_OF_MEMORY true\n' });
  },
  TIMEOUT,
);
