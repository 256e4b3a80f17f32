import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { LLM } from '../../lib/index.js';
import { type NativeAddon, type NativeLoaded, native } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';

const folder = mkdtempSync(join(tmpdir(), 'octavo-load-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Files this process has open. */
const openFiles = () => readdirSync('/proc/self/fd').length;

/** An addon whose executors load nothing, say what they are told to, and are counted. */
function fakeAddon(loaded: () => Promise<Partial<NativeLoaded>>) {
  const counts = { made: 0, open: 0 };
  class Executor {
    #open = true;
    constructor() {
      counts.made++;
      counts.open++;
    }
    load = loaded;
    step = () => Promise.reject(new Error('not asked for'));
    async close() {
      if (this.#open) counts.open--;
      this.#open = false;
    }
  }
  return { counts, addon: { ...native(), Executor } as unknown as NativeAddon };
}

describe('what cannot be is refused before anything is loaded', () => {
  it.each([
    ['maxNumBatchedTokens', { maxNumSeqs: 512, maxNumBatchedTokens: 256 }],
    ['maxNumBatchedTokens', { enableChunkedPrefill: false, maxNumBatchedTokens: 300 }],
    ['maxModelLen', { maxModelLen: 2 ** 20 }],
    ['maxModelLen', { maxModelLen: 500, numGpuBlocksOverride: 5 }],
    ['kvCacheDtype', { kvCacheDtype: 'fp8' as const }],
  ])('%s of %j', async (param, options) => {
    const { counts, addon } = fakeAddon(async () => ({}));
    const traceFile = join(folder, 'refused.jsonl');
    const files = openFiles();
    const call = LLM.loadWith({ device: 'cpu', ...options, traceFile }, addon);
    await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', param });
    expect(counts.made).toBe(0);
    expect(existsSync(traceFile)).toBe(false);
    expect(openFiles()).toBe(files);
  });
});

describe('a load that fails late leaves nothing', () => {
  const late = async (loaded: () => Promise<Partial<NativeLoaded>>, options = {}) => {
    const { counts, addon } = fakeAddon(loaded);
    const files = openFiles();
    const call = LLM.loadWith(
      { device: 'cpu', traceFile: join(folder, 'late.jsonl'), ...options },
      addon,
    );
    const error = await call.then(
      () => undefined,
      (reason: { code: string }) => reason,
    );
    expect({ ...counts, files: openFiles() }).toEqual({ made: counts.made, open: 0, files });
    return error?.code;
  };

  it('native counts other blocks', async () => {
    const code = await late(async () => ({ numBlocks: 1, blockBytes: 1 }));
    expect(code).toBe('ERR_NATIVE_MISMATCH');
  });

  it('native fails', async () => {
    const failed = Object.assign(new Error('no memory'), { code: 'ERR_OUT_OF_MEMORY' });
    expect(await late(() => Promise.reject(failed))).toBe('ERR_OUT_OF_MEMORY');
  });

  it('a model to pool of which something is wrong only once it is there', async () => {
    const loaded = { isa: 'scalar', numThreads: 1 };
    Object.defineProperty(loaded, 'weightBytes', {
      get: () => {
        throw new Error('no answer');
      },
    });
    const { counts, addon } = fakeAddon(async () => loaded);
    const model = join(ROOT, 'test', 'fixtures', 'embeddings', 'bert-mean');
    await expect(LLM.loadWith({ model, device: 'cpu' }, addon)).rejects.toThrow('no answer');
    expect(counts).toEqual({ made: 1, open: 0 });
  });

  it('a trace that cannot be written', async () => {
    const traceFile = join(folder, 'no', 'such', 'folder');
    expect(await late(async () => ({}), { traceFile })).toBe('ERR_FILE');
  });
});

describe('a load that is aborted ends with ERR_ABORTED, and leaves nothing', () => {
  const aborted = { code: 'ERR_ABORTED', name: 'AbortError', message: 'the load was aborted' };

  it('before anything is read', async () => {
    const { counts, addon } = fakeAddon(async () => ({}));
    const loading = { signal: AbortSignal.abort() };
    await expect(LLM.loadWith({ device: 'cpu' }, addon, loading)).rejects.toMatchObject(aborted);
    expect(counts.made).toBe(0);
    await expect(LLM.load({}, loading)).rejects.toMatchObject(aborted);
  });

  it.each([[{}], [{ model: join(ROOT, 'test', 'fixtures', 'embeddings', 'bert-mean') }]])(
    'while the weights of %j are read',
    async (options) => {
      const files = openFiles();
      const stop = new AbortController();
      const { counts, addon } = fakeAddon(async () => {
        stop.abort(new Error('enough'));
        return {};
      });
      const call = LLM.loadWith({ device: 'cpu', ...options }, addon, { signal: stop.signal });
      await expect(call).rejects.toMatchObject({ ...aborted, cause: new Error('enough') });
      expect({ ...counts, files: openFiles() }).toEqual({ made: 1, open: 0, files });
    },
  );
});

it('an EOS that the model has no row for is said, and left out', async () => {
  const demo = join(ROOT, 'models', 'octavo-demo');
  const model = join(folder, 'foreign-eos');
  mkdirSync(model);
  for (const name of readdirSync(demo)) {
    if (name !== 'config.json') symlinkSync(join(demo, name), join(model, name));
  }
  const config = JSON.parse(readFileSync(join(demo, 'config.json'), 'utf8'));
  const eos = [config.eos_token_id, config.vocab_size, 2 ** 30].flat();
  writeFileSync(join(model, 'config.json'), JSON.stringify({ ...config, eos_token_id: eos }));
  const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
  const llm = await LLM.load({ model });
  expect(warn.mock.calls.flat()).toContainEqual(expect.stringMatching(/4096, 1073741824 as end/));
  warn.mockRestore();
  expect(llm.info.eosTokenIds).toEqual(eos.filter((id: number) => id < config.vocab_size));
  // It was one request's ban of such an id that ended all of its step.
  const outputs = await llm.generate(
    ['A', 'B'],
    [{ maxTokens: 6, minTokens: 5 }, { maxTokens: 6 }],
  );
  expect(outputs.map((o) => o.finished)).toEqual([true, true]);
  await llm.close();
});
