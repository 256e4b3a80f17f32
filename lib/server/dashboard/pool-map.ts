/** The block pool as a map: a cell for each block, tinted by how many tables name it. */
import type { BlockUse } from '../../engine/watch-frames.js';
import { ask } from './connection.js';
import { byId, colour, count, say, tag } from './dom.js';
import type { LiveState } from './state.js';

/** From the state of a cell on: what it is called, and its colour in the style sheet. */
const KINDS = [
  { from: 0, name: 'free', colour: 'free' },
  { from: 1, name: 'cached, free', colour: 'cached' },
  { from: 2, name: 'used', colour: 'used' },
  { from: 3, name: 'shared by 2', colour: 'shared2' },
  { from: 4, name: 'by 3 or 4', colour: 'shared3' },
  { from: 6, name: 'by 5 and more', colour: 'shared5' },
];

const MOST_HEIGHT = 260;
const LARGEST = 24;
/** From this size on cells stand apart. */
const WITH_GAPS = 5;
const HOVER_MS = 120;

const kindOf = (state: number) => KINDS.findLastIndex(({ from }) => state >= from);

export class PoolMap {
  readonly #canvas = byId<HTMLCanvasElement>('pool');
  readonly #use = byId('pool-use');
  readonly #small = document.createElement('canvas');
  #state: LiveState | null = null;
  #size = LARGEST;
  #columns = 1;
  /** The cell that is looked at; −1: none. */
  #cursor = -1;
  #timer = 0;
  #asked = 0;

  constructor() {
    const canvas = this.#canvas;
    canvas.addEventListener('pointermove', (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / this.#size);
      const row = Math.floor((event.clientY - box.top) / this.#size);
      if (column < this.#columns) this.#look(row * this.#columns + column);
    });
    canvas.addEventListener('keydown', (event) => {
      const moves: Record<string, number> = {
        ...{ ArrowLeft: -1, ArrowRight: 1 },
        ...{ ArrowUp: -this.#columns, ArrowDown: this.#columns },
      };
      const by = moves[event.key];
      if (by === undefined) return;
      event.preventDefault();
      this.#look(this.#cursor < 0 ? 0 : this.#cursor + by);
    });
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement!);
  }

  show(state: LiveState): void {
    this.#state = state;
    this.#cursor = -1;
    this.draw();
  }

  draw(): void {
    const state = this.#state;
    if (state === null || state.cells.length === 0) return;
    const { cells } = state;
    const width = this.#canvas.parentElement!.clientWidth - 40;
    if (width <= 0) return;
    const fits = Math.floor(Math.sqrt((width * MOST_HEIGHT) / cells.length));
    this.#size = Math.max(1, Math.min(LARGEST, fits));
    this.#columns = Math.max(1, Math.floor(width / this.#size));
    const rows = Math.ceil(cells.length / this.#columns);
    this.#paint(cells, rows);
    this.#tell(state);
  }

  /** A pixel for each cell, then made as large as they are to be. */
  #paint(cells: Uint8Array, rows: number): void {
    const palette = KINDS.map((kind) => rgb(colour(kind.colour)));
    const [size, columns] = [this.#size, this.#columns];
    const small = this.#small;
    Object.assign(small, { width: columns, height: rows });
    const image = new ImageData(columns, rows);
    for (let i = 0; i < cells.length; i++) image.data.set(palette[kindOf(cells[i])], 4 * i);
    small.getContext('2d')!.putImageData(image, 0, 0);
    const scale = window.devicePixelRatio || 1;
    const canvas = this.#canvas;
    const [width, height] = [columns * size, rows * size];
    Object.assign(canvas, { width: width * scale, height: height * scale });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext('2d')!;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
    if (size >= WITH_GAPS) {
      context.fillStyle = colour('card');
      for (let x = 1; x <= columns; x++) context.fillRect(x * size - 1, 0, 1, height);
      for (let y = 1; y <= rows; y++) context.fillRect(0, y * size - 1, width, 1);
    }
    if (this.#cursor < 0) return;
    context.strokeStyle = colour('ink');
    context.lineWidth = 2;
    const x = (this.#cursor % columns) * size;
    const y = Math.floor(this.#cursor / columns) * size;
    context.strokeRect(x - 1, y - 1, size + 1, size + 1);
  }

  #tell({ cells, hello }: LiveState): void {
    const counts = KINDS.map(() => 0);
    for (const cell of cells) counts[kindOf(cell)]++;
    const legend = byId('legend');
    if (legend.children.length === 0) {
      for (const kind of KINDS) {
        const swatch = tag('i', `swatch ${kind.colour}`);
        const item = tag('li', '', swatch, tag('b', '', ''), ` ${kind.name}`);
        item.dataset.kind = kind.colour;
        legend.append(item);
      }
    }
    counts.forEach((number, i) => {
      say(legend.children[i].querySelector('b')!, count(number));
    });
    const per = hello.blocksPerCell;
    const unit = per === 1 ? 'blocks' : `cells of ${per} blocks`;
    const parts = KINDS.map(({ name }, i) => `${counts[i]} ${name}`).join(', ');
    this.#canvas.setAttribute('aria-label', `${cells.length} ${unit}: ${parts}`);
    const { blockSize, blockBytes } = hello.info;
    say(
      byId('pool-note'),
      `${count(cells.length)} ${unit}, ${blockSize} tokens or ${count(blockBytes / 1024)} KiB each`,
    );
  }

  #look(cell: number): void {
    const state = this.#state;
    if (state === null || cell === this.#cursor || cell < 0 || cell >= state.cells.length) return;
    this.#cursor = cell;
    this.draw();
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#ask(cell, state), HOVER_MS);
  }

  async #ask(cell: number, { hello }: LiveState): Promise<void> {
    const turn = ++this.#asked;
    const block = 1 + cell * hello.blocksPerCell;
    try {
      const query = `?model=${encodeURIComponent(hello.model)}`;
      const answer = await ask(`/dashboard/blocks/${block}${query}`);
      const use = (await answer.json()) as BlockUse;
      if (turn === this.#asked) say(this.#use, sentenceOf(use));
    } catch (error) {
      if (turn === this.#asked) say(this.#use, `Block ${block}: ${(error as Error).message}`);
    }
  }
}

function sentenceOf({ block, refCount, isCached, users }: BlockUse): string {
  const cached = isCached ? ', can be hit by the prefix cache' : '';
  if (refCount === 0) return `Block ${block}: free${cached}.`;
  const names = users.map(
    ({ id, index, from, to }) => `${id} sample ${index} (tokens ${from} to ${to - 1})`,
  );
  const more = refCount > users.length ? ` and ${refCount - users.length} more` : '';
  const tables = refCount > 1 ? `${refCount} tables` : 'one table';
  return `Block ${block}: in ${tables}${cached}: ${names.join(', ')}${more}.`;
}

/** @param text `#rrggbb` */
function rgb(text: string): [number, number, number, number] {
  const value = Number.parseInt(text.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255, 255];
}
