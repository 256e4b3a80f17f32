/** A request by hand, its answer as it streams, and how likely each token was. */

import type { HelloFrame } from '../live-frames.js';
import { ask, Refusal, readEvents, urlOf } from './connection.js';
import { byId, say, tag } from './dom.js';

interface Token {
  readonly text: string;
  readonly logprob: number;
  readonly top: readonly (readonly [text: string, logprob: number])[];
}

interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly top_logprobs: readonly { readonly token: string; readonly logprob: number }[];
}

interface Choice {
  readonly index: number;
  readonly text?: string;
  readonly delta?: { readonly content?: string; readonly reasoning?: string };
  readonly message?: { readonly content: string | null };
  readonly finish_reason: string | null;
  readonly logprobs?: {
    readonly content?: readonly ChatLogprob[] | null;
    readonly tokens?: readonly string[];
    readonly token_logprobs?: readonly (number | null)[];
    readonly top_logprobs?: readonly (Readonly<Record<string, number>> | null)[];
  } | null;
}

const NUM_TOP = 5;

const input = (id: string) => byId<HTMLInputElement>(id);

/** A field that is empty leaves it to the server. */
function numberOf(name: string, id: string): Record<string, number> {
  const { value } = input(id);
  return value.trim() === '' ? {} : { [name]: Number(value) };
}

export class Playground {
  #model = '';
  #running: AbortController | null = null;

  constructor() {
    byId('play').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#send();
    });
    byId('stop').addEventListener('click', () => this.#running?.abort());
    byId('curl').addEventListener('click', () => void this.#copy());
    byId('answers').addEventListener('keydown', (event) => moveToken(event));
    for (const type of ['focusin', 'pointerover']) {
      byId('answers').addEventListener(type, ({ target }) => tellToken(target as HTMLElement));
    }
  }

  show({ model, info }: HelloFrame): void {
    this.#model = model;
    input('send').disabled = info.runner === 'pooling';
    byId<HTMLSelectElement>('route').value = info.hasChatTemplate ? 'chat' : 'completions';
  }

  get #path(): string {
    const isChat = byId<HTMLSelectElement>('route').value === 'chat';
    return isChat ? '/v1/chat/completions' : '/v1/completions';
  }

  /** @throws SyntaxError where the schema is no JSON */
  #body(): Record<string, unknown> {
    const isChat = this.#path.includes('chat');
    const isBeam = input('beam').checked;
    const prompt = byId<HTMLTextAreaElement>('prompt').value;
    const schema = byId<HTMLTextAreaElement>('schema').value.trim();
    const logprobs = isChat ? { logprobs: true, top_logprobs: NUM_TOP } : { logprobs: NUM_TOP };
    return {
      model: this.#model,
      ...(isChat ? { messages: [{ role: 'user', content: prompt }] } : { prompt }),
      ...numberOf('max_tokens', 'max-tokens'),
      ...numberOf('n', 'samples'),
      ...(isBeam
        ? { use_beam_search: true }
        : { ...numberOf('temperature', 'temperature'), stream: true, ...logprobs }),
      ...(schema === '' ? {} : { structured_outputs: { json: JSON.parse(schema) } }),
    };
  }

  async #send(): Promise<void> {
    const status = byId('play-status');
    let body: Record<string, unknown>;
    try {
      body = this.#body();
    } catch (error) {
      say(status, `The schema is no JSON: ${(error as Error).message}`);
      return;
    }
    const running = new AbortController();
    this.#running = running;
    this.#setRunning(true);
    say(status, 'runs');
    const answers = new Answers();
    try {
      const init = {
        ...{ method: 'POST', body: JSON.stringify(body), signal: running.signal },
        headers: { 'content-type': 'application/json' },
      };
      const response = await ask(this.#path, init);
      if (body.stream === true) {
        await readEvents(response, (data) => {
          if (data === '[DONE]') return;
          const event = JSON.parse(data);
          if (event.error !== undefined) throw new Refusal(event.error.code, event.error.message);
          answers.add(event.choices);
        });
      } else {
        answers.add((await response.json()).choices);
      }
      say(status, answers.summary);
    } catch (error) {
      const sentence = (error as Error).message;
      say(status, running.signal.aborted ? `stopped; ${answers.summary}` : sentence);
    } finally {
      this.#setRunning(false);
    }
  }

  #setRunning(is: boolean): void {
    const [send, stop] = [input('send'), input('stop')];
    const hadFocus = document.activeElement === (is ? send : stop);
    send.disabled = is;
    stop.disabled = !is;
    if (hadFocus) (is ? stop : send).focus();
  }

  async #copy(): Promise<void> {
    const status = byId('play-status');
    try {
      const quoted = JSON.stringify(this.#body()).replaceAll("'", "'\\''");
      const json = "'content-type: application/json'";
      const headers = [json, '"authorization: Bearer $OCTAVO_API_KEY"'];
      const asked = headers.map((one) => `-H ${one}`).join(' ');
      const command = `curl ${urlOf(this.#path)} ${asked} -d '${quoted}'`;
      await navigator.clipboard.writeText(command);
      say(status, 'copied');
    } catch (error) {
      say(status, `not copied: ${(error as Error).message}`);
    }
  }
}

/** One panel for each sample. */
class Answers {
  readonly #started = performance.now();
  readonly #texts = new Map<number, HTMLElement>();
  #numTokens = 0;
  #ended: string[] = [];

  constructor() {
    byId('answers').replaceChildren();
    say(byId('token'), 'Tokens are tinted by their probability; pick one to see the others.');
  }

  add(choices: readonly Choice[]): void {
    for (const choice of choices) {
      const text = this.#textOf(choice.index);
      const tokens = tokensOf(choice);
      this.#numTokens += tokens.length;
      for (const token of tokens) text.append(tokenElement(token, text));
      const { message, delta } = choice;
      const plain = choice.text ?? message?.content ?? delta?.content ?? '';
      if (tokens.length === 0 && plain !== '') text.append(plain);
      if (choice.finish_reason === null) continue;
      this.#ended.push(choice.finish_reason);
      text.dataset.reason = choice.finish_reason;
    }
  }

  get summary(): string {
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = this.#numTokens > 0 ? `, ${(this.#numTokens / seconds).toFixed(0)} tokens/s` : '';
    return `${this.#ended.join(', ') || 'no end'} after ${seconds.toFixed(2)} s${rate}`;
  }

  #textOf(index: number): HTMLElement {
    let text = this.#texts.get(index);
    if (text !== undefined) return text;
    text = tag('div', 'answer');
    text.setAttribute('role', 'group');
    text.setAttribute('aria-label', `Answer ${index + 1}`);
    this.#texts.set(index, text);
    byId('answers').append(text);
    return text;
  }
}

function tokensOf({ logprobs }: Choice): Token[] {
  if (logprobs == null) return [];
  if (logprobs.content != null) {
    return logprobs.content.map(({ token: text, logprob, top_logprobs }) => ({
      ...{ text, logprob },
      top: top_logprobs.map((one) => [one.token, one.logprob] as const),
    }));
  }
  return (logprobs.tokens ?? []).map((text, i) => ({
    text,
    logprob: logprobs.token_logprobs?.[i] ?? 0,
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {}),
  }));
}

/** In five tints: from what had to come to what nobody expected. */
function tokenElement({ text, logprob, top }: Token, parent: HTMLElement): HTMLElement {
  const p = Math.exp(logprob);
  const tint = [0.8, 0.5, 0.2, 0.05].findIndex((least) => p >= least);
  const made = tag('span', `token tint${tint < 0 ? 4 : tint}`, text);
  const shown = (one: string) => JSON.stringify(one);
  const share = (one: number) => `${(100 * Math.exp(one)).toFixed(1)} %`;
  const others = [...top]
    .sort((a, b) => b[1] - a[1])
    .map(([one, l]) => `${shown(one)} ${share(l)}`);
  made.dataset.told = `${shown(text)} ${share(logprob)}; likeliest: ${others.join(', ')}`;
  made.tabIndex = parent.querySelector('.token') === null ? 0 : -1;
  return made;
}

function tellToken(target: HTMLElement): void {
  if (target.dataset.told !== undefined) say(byId('token'), target.dataset.told);
}

function moveToken(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const next =
    event.key === 'ArrowRight'
      ? target.nextElementSibling
      : event.key === 'ArrowLeft'
        ? target.previousElementSibling
        : null;
  if (!(next instanceof HTMLElement) || !next.classList.contains('token')) return;
  event.preventDefault();
  target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
