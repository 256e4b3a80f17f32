/** The stream of frames; and whatever else is asked of the server, with the key. */
import { createParser } from 'eventsource-parser';
import type { LiveMessage } from '../live-frames.js';

/** Where the server's routes begin: this page is its /dashboard. */
const BASE = location.pathname.replace(/\/dashboard\/*$/, '');

const KEY = 'octavo-key';

/** Of this tab; a browser that keeps nothing keeps it as long as the page is there. */
let key = '';
try {
  key = sessionStorage.getItem(KEY) ?? '';
} catch {}

export function setKey(text: string): void {
  key = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {}
}

export const hasKey = () => key !== '';

export const urlOf = (path: string) => `${location.origin}${BASE}${path}`;

/** An answer that is no 2xx, in the server's words. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** @throws Refusal */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key !== '') headers.set('authorization', `Bearer ${key}`);
  const response = await fetch(urlOf(path), { ...init, headers, cache: 'no-store' });
  if (response.ok) return response;
  const text = await response.text();
  let sentence = text.slice(0, 300);
  try {
    sentence = JSON.parse(text).error.message;
  } catch {}
  throw new Refusal(response.status, sentence);
}

/**
 * The data of the events of an answer, one by one.
 * @param onBytes called for whatever comes, comments too
 */
export async function readEvents(
  response: Response,
  onData: (data: string) => void,
  onBytes: () => void = () => {},
): Promise<void> {
  const parser = createParser({ onEvent: ({ data }) => onData(data) });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    parser.feed(value);
  }
}

/** Resolves when the stream has ended. @throws Refusal, or the browser's own error */
export async function watch(
  model: string | null,
  signal: AbortSignal,
  onMessage: (message: LiveMessage) => void,
  onBytes: () => void,
): Promise<void> {
  const query = model === null ? '' : `?model=${encodeURIComponent(model)}`;
  const response = await ask(`/dashboard/events${query}`, { signal });
  await readEvents(response, (data) => onMessage(JSON.parse(data)), onBytes);
}
