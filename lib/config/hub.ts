/**
 * Where models that are given by name come from and are kept: the environment that Python's
 * huggingface_hub reads, so that both find the same files. HF_ENDPOINT, HF_HUB_CACHE (or HF_HOME,
 * XDG_CACHE_HOME), HF_TOKEN (or HF_TOKEN_PATH), HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { shown } from '../arguments.js';
import { octavoError } from '../errors.js';

export interface HubConfig {
  /** https://huggingface.co, or another hub; no slash at its end. */
  readonly endpoint: string;
  /** The folder with models--org--name. */
  readonly cacheDir: string;
  readonly token: string | undefined;
  /** Nothing is asked over a network. */
  readonly offline: boolean;
  /** A hub that says nothing for so long is not there. */
  readonly timeoutMs: number;
}

/**
 * As the environment is now.
 * @throws ERR_INVALID_OPTION naming the variable
 */
export function hubConfig(): HubConfig {
  const env = process.env;
  const cache = env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const home = expanded(env.HF_HOME || join(cache, 'huggingface'));
  return Object.freeze({
    endpoint: endpointOf(env.HF_ENDPOINT || 'https://huggingface.co'),
    cacheDir: expanded(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: tokenOf(expanded(env.HF_TOKEN_PATH || join(home, 'token'))),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    timeoutMs: timeoutOf(env.HF_HUB_DOWNLOAD_TIMEOUT),
  });
}

function isTrue(word: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(word ?? '');
}

/** `~` and `$NAME` as Python expands them; a name that is not set stays. */
function expanded(path: string): string {
  return path
    .replace(/^~(?=\/|$)/, () => homedir())
    .replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, a, b) => process.env[a ?? b] ?? all);
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, '');
  throw refused('HF_ENDPOINT', `is ${shown(text)}; it must be an address: https://huggingface.co`);
}

/** The environment's, else that which `hf auth login` left. */
function tokenOf(path: string): string | undefined {
  if (isTrue(process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const given = process.env.HF_TOKEN || process.env.HUGGING_FACE_HUB_TOKEN;
  const token = (given ?? fileText(path)).trim();
  if (token === '') return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw refused(given === undefined ? path : 'HF_TOKEN', 'is no token: it has spaces or line ends');
}

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined || text === '') return 10_000;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 86_400) return seconds * 1000;
  const sentence = `is ${shown(text)}; it must be seconds, above 0`;
  throw refused('HF_HUB_DOWNLOAD_TIMEOUT', sentence);
}

function refused(param: string, why: string) {
  return octavoError('ERR_INVALID_OPTION', `${param} ${why}`, { param });
}
