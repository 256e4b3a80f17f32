import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { hubConfig } from '../../lib/config/hub.js';
import { temporaryFolder } from '../support/write-model.js';

const home = temporaryFolder();

beforeEach(() => {
  for (const name of Object.keys(process.env)) {
    if (/^(HF_|HUGGING|TRANSFORMERS_OFFLINE|XDG_CACHE)/.test(name)) vi.stubEnv(name, undefined);
  }
  vi.stubEnv('HF_HOME', home);
});
afterEach(() => vi.unstubAllEnvs());

it('is where Python looks', () => {
  expect(hubConfig()).toEqual({
    endpoint: 'https://huggingface.co',
    cacheDir: join(home, 'hub'),
    token: undefined,
    offline: false,
    timeoutMs: 10_000,
  });
  vi.stubEnv('HF_HOME', undefined);
  expect(hubConfig().cacheDir).toBe(join(homedir(), '.cache', 'huggingface', 'hub'));
  vi.stubEnv('XDG_CACHE_HOME', '/x');
  expect(hubConfig().cacheDir).toBe('/x/huggingface/hub');
  vi.stubEnv('HF_HOME', '~/hf');
  expect(hubConfig().cacheDir).toBe(join(homedir(), 'hf', 'hub'));
  vi.stubEnv('HUGGINGFACE_HUB_CACHE', '/old');
  expect(hubConfig().cacheDir).toBe('/old');
  vi.stubEnv('PLACE', '/disk');
  vi.stubEnv('HF_HUB_CACHE', ['$PLACE/$', '{PLACE}/$NO_SUCH_NAME'].join(''));
  expect(hubConfig().cacheDir).toBe('/disk//disk/$NO_SUCH_NAME');
});

it('takes the token of the environment, else that of the login', () => {
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'token'), 'hf_file\n');
  expect(hubConfig().token).toBe('hf_file');
  vi.stubEnv('HF_TOKEN', ' hf_env ');
  expect(hubConfig().token).toBe('hf_env');
  vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '1');
  expect(hubConfig().token).toBeUndefined();
  vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '');
  vi.stubEnv('HF_TOKEN', 'two words');
  expect(hubConfig).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_OPTION', param: 'HF_TOKEN' }),
  );
});

it('knows being offline, other hubs and their patience', () => {
  for (const word of ['1', 'true', 'ON', 'Yes']) {
    vi.stubEnv('HF_HUB_OFFLINE', word);
    expect(hubConfig().offline).toBe(true);
  }
  vi.stubEnv('HF_HUB_OFFLINE', '0');
  expect(hubConfig().offline).toBe(false);
  vi.stubEnv('HF_HUB_OFFLINE', undefined);
  vi.stubEnv('TRANSFORMERS_OFFLINE', '1');
  expect(hubConfig().offline).toBe(true);
  vi.stubEnv('HF_ENDPOINT', 'https://hub.example/hf//');
  vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.5');
  expect(hubConfig()).toMatchObject({ endpoint: 'https://hub.example/hf', timeoutMs: 500 });
  for (const [name, value] of [
    ['HF_HUB_DOWNLOAD_TIMEOUT', 'soon'],
    ['HF_ENDPOINT', 'hub.example'],
  ]) {
    vi.stubEnv(name, value);
    expect(hubConfig).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', param: name }));
    vi.stubEnv(name, undefined);
  }
});
