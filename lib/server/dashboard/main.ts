/** The live page: watches a model of its server, and shows what comes. */
import type { LiveMessage } from '../live-frames.js';
import { BeamPane } from './beams.js';
import { Charts } from './charts.js';
import { hasKey, Refusal, setKey, watch } from './connection.js';
import { byId, say, tag } from './dom.js';
import { drawFigures, drawInfo, drawTiles } from './figures.js';
import { drawHistograms } from './histograms.js';
import { Playground } from './playground.js';
import { PoolMap } from './pool-map.js';
import { LiveState, type SpanView } from './state.js';
import { Timeline } from './timeline.js';

/** Between tries of a server that is gone. */
const RETRY_MS = 2000;

/** Without a frame for so long, nothing happens there. */
const IDLE_MS = 900;

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
  #framedAt = 0;
  #retry = 0;

  constructor() {
    byId('main').hidden = false; // charts measure themselves
    this.#charts = new Charts();
    byId('main').hidden = true;
    this.#timeline.onPick = (span) => {
      this.#picked = span;
      if (span.beams !== null) this.#beams.show(span);
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
    watch(this.#model, stream.signal, (message) => {
      if (!stream.signal.aborted) this.#take(message);
    }).then(
      () => this.#lost(stream, 'the stream ended'),
      (error) => this.#lost(stream, error),
    );
  }

  #take(message: LiveMessage): void {
    switch (message.type) {
      case 'hello': {
        this.#state = new LiveState(message);
        this.#picked = null;
        this.#beams.clear();
        byId('key-form').hidden = true;
        byId('main').hidden = false;
        this.#models(message.models, message.model);
        drawInfo(message);
        this.#playground.show(message);
        this.#pool.show(this.#state);
        this.#say('live', 'live');
        break;
      }
      case 'bye':
        this.#say('gone', 'the server takes no more');
        break;
      default:
        this.#state?.apply(message);
        this.#framedAt = performance.now();
        this.#draw();
    }
  }

  #lost(stream: AbortController, error: unknown): void {
    if (stream.signal.aborted) return;
    if (error instanceof Refusal && error.status === 401) {
      byId('main').hidden = true;
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
    if (this.#state === null) return;
    if (performance.now() - this.#framedAt >= IDLE_MS) {
      this.#framedAt = performance.now();
      this.#state.idle();
      this.#draw();
    } else if (this.#timeline.isMoving && !this.#isPaused) {
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
    if (frame.type !== 'frame') return;
    this.#pool.draw();
    drawHistograms(frame, state.hello.boundsMs);
    this.#timeline.show(state);
    const newest = [...state.spans.values()].findLast(({ beams }) => beams !== null) ?? null;
    this.#beams.show(this.#picked?.beams ? this.#picked : newest);
  }

  #say(state: string, sentence: string): void {
    const status = byId('status');
    status.dataset.state = state;
    say(status, sentence);
  }
}

new Page().connect();
