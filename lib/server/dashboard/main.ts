/** The live page: watches a model of its server, and shows what comes. */
import type { LiveMessage } from '../live-frames.js';
import { BeamPane } from './beams.js';
import { Charts } from './charts.js';
import { hasKey, Refusal, setKey, watch } from './connection.js';
import { byId, say, tag } from './dom.js';
import { drawFigures, drawInfo, drawPrefixes, drawTiles } from './figures.js';
import { drawHistograms } from './histograms.js';
import { Playground } from './playground.js';
import { PoolMap } from './pool-map.js';
import { hasBegun, LiveState, type SpanView } from './state.js';
import { Timeline } from './timeline.js';

/** Between tries of a server that is gone. */
const RETRY_MS = 2000;

/** A server says something each second: without that for so long, nobody knows how things are. */
const QUIET_MS = 3000;

/** Then it is given up, and asked anew. */
const PATIENCE_MS = 15_000;

class Page {
  readonly #pool = new PoolMap();
  readonly #timeline = new Timeline();
  readonly #beams = new BeamPane();
  readonly #playground = new Playground();
  readonly #charts: Charts;
  #state: LiveState | null = null;
  #stream: AbortController | null = null;
  #model: string | null = null;
  #picked: SpanView | null = null;
  #isPaused = false;
  /** When something came of the stream. */
  #heardAt = 0;
  #retry = 0;

  constructor() {
    byId('main').hidden = false; // charts measure themselves
    this.#charts = new Charts();
    byId('main').hidden = true;
    this.#timeline.onPick = (span) => {
      this.#picked = span;
      if (span.beams !== null && hasBegun(span)) this.#beams.show(span);
    };
    byId('key-form').addEventListener('submit', (event) => {
      event.preventDefault();
      setKey(byId<HTMLInputElement>('key').value.trim());
      this.connect();
    });
    byId('pause').addEventListener('click', () => this.#pause());
    byId('model').addEventListener('change', () => {
      this.#model = byId<HTMLSelectElement>('model').value;
      this.connect();
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    setInterval(() => this.#tick(), 250);
  }

  connect(): void {
    clearTimeout(this.#retry);
    this.#stream?.abort();
    const stream = new AbortController();
    this.#stream = stream;
    this.#say('connecting', 'connecting');
    this.#heardAt = performance.now();
    const onMessage = (message: LiveMessage) => {
      if (!stream.signal.aborted) this.#take(message);
    };
    const onBytes = () => {
      if (!stream.signal.aborted) this.#heardAt = performance.now();
    };
    watch(this.#model, stream.signal, onMessage, onBytes).then(
      () => this.#lost(stream, 'the stream ended'),
      (error) => this.#lost(stream, error),
    );
  }

  #take(message: LiveMessage): void {
    switch (message.type) {
      case 'hello': {
        this.#state = new LiveState(message, this.#state);
        this.#picked = null;
        this.#beams.clear();
        this.#unlock();
        this.#models(message.models, message.model);
        drawInfo(message);
        this.#playground.show(message);
        this.#pool.show(this.#state);
        this.#say('live', 'live');
        break;
      }
      case 'idle':
        this.#state?.idle(message.now);
        this.#again();
        break;
      case 'bye':
        this.#say('gone', 'the server takes no more');
        break;
      default:
        this.#state?.apply(message);
        this.#again();
    }
  }

  /** What is shown is how things are. */
  #again(): void {
    this.#say('live', 'live');
    this.#draw();
  }

  /** What is shown is how things were. */
  #lose(): void {
    this.#state?.lose();
    this.#draw();
  }

  /** From the key's form the focus goes to what it has opened. */
  #unlock(): void {
    const form = byId('key-form');
    const hadFocus = form.contains(document.activeElement);
    form.hidden = true;
    for (const id of ['main', 'model-label', 'pause']) byId(id).hidden = false;
    if (hadFocus) byId('main').focus({ preventScroll: true });
  }

  #lost(stream: AbortController, error: unknown): void {
    if (stream.signal.aborted) return;
    stream.abort();
    this.#lose();
    if (error instanceof Refusal && error.status === 401) {
      for (const id of ['main', 'model-label', 'pause']) byId(id).hidden = true;
      byId('key-form').hidden = false;
      say(byId('key-problem'), hasKey() ? error.message : '');
      this.#say('locked', 'locked');
      byId('key').focus();
      return;
    }
    const why = error instanceof Refusal ? error.message : 'the server does not answer';
    this.#say('gone', `${why}; trying again`);
    this.#retry = window.setTimeout(() => this.connect(), RETRY_MS);
  }

  #models(names: readonly string[], name: string): void {
    this.#model = name;
    const select = byId<HTMLSelectElement>('model');
    const options = names.map((one) => tag('option', '', one) as HTMLOptionElement);
    select.replaceChildren(...options);
    select.value = name;
    select.disabled = names.length === 1;
  }

  #pause(): void {
    this.#isPaused = !this.#isPaused;
    byId('pause').setAttribute('aria-pressed', String(this.#isPaused));
    this.#draw();
  }

  #tick(): void {
    const quietMs = performance.now() - this.#heardAt;
    const stream = this.#stream;
    if (stream !== null && !stream.signal.aborted) {
      if (quietMs >= PATIENCE_MS) this.#lost(stream, null);
      else if (quietMs >= QUIET_MS && this.#state?.isLive) {
        this.#lose();
        this.#say('gone', 'the server does not answer');
      }
    }
    if (this.#timeline.isMoving && !this.#isPaused) {
      this.#timeline.draw();
    }
  }

  #draw(): void {
    const state = this.#state;
    if (state === null || state.frame === null || this.#isPaused || document.hidden) return;
    const { frame } = state;
    drawTiles(state);
    drawFigures(frame);
    this.#charts.show(state.points);
    drawPrefixes(state.prefixes);
    if (frame.type !== 'frame') return;
    this.#pool.draw();
    drawHistograms(frame, state.hello.boundsMs);
    this.#timeline.show(state);
    const searches = [...state.spans.values()].filter(({ beams }) => beams !== null);
    const newest = searches.sort((a, b) => a.key - b.key).findLast(hasBegun) ?? null;
    const picked = this.#picked;
    this.#beams.show(picked?.beams && hasBegun(picked) ? picked : newest);
  }

  #say(state: string, sentence: string): void {
    const status = byId('status');
    status.dataset.state = state;
    say(status, sentence);
  }
}

new Page().connect();
