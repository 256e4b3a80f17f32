/** A text as a reader wants it that looks for control tokens: each of them is one character. */

/** Control tokens that are looked for. */
export interface MarkSource {
  /** The character that stands for an id in a marked text; undefined for most ids. */
  ofId(id: number): string | undefined;
}

/** Of a control token, in UTF-16 units of the text: where its spelling begins and ends. */
interface Place {
  readonly mark: string;
  readonly from: number;
  readonly to: number;
}

/**
 * Puts marks in the place of what control tokens spell, which is nothing where texts leave them
 * out. Texts come late, as some of theirs is held back, and may end before their last marks.
 */
export class MarkedText {
  readonly #source: MarkSource;
  /** Of marks to come, in order. */
  #places: Place[] = [];
  #fresh = '';
  #numTold = 0;
  /** How far the text is marked: perhaps not as far as it is told, perhaps within a spelling. */
  #numMarked = 0;

  constructor(source: MarkSource) {
    this.#source = source;
  }

  ofId(id: number): string | undefined {
    return this.#source.ofId(id);
  }

  /** At places in the order of the text, none before what was told. */
  place(mark: string, from: number, to: number): void {
    this.#places.push({ mark, from, to });
  }

  /** The text goes on. */
  tell(text: string): void {
    const start = this.#numTold;
    this.#numTold = start + text.length;
    let count = 0;
    for (const { mark, from, to } of this.#places) {
      if (from > this.#numTold) break;
      this.#add(text, start, from);
      this.#fresh += mark;
      this.#numMarked = to;
      count++;
    }
    if (count > 0) this.#places.splice(0, count);
    this.#add(text, start, this.#numTold);
  }

  #add(text: string, start: number, to: number): void {
    if (to <= this.#numMarked) return;
    this.#fresh += text.slice(this.#numMarked - start, to - start);
    this.#numMarked = to;
  }

  /** What is new since this was last asked. */
  take(): string {
    const fresh = this.#fresh;
    this.#fresh = '';
    return fresh;
  }

  clone(): MarkedText {
    const copy = new MarkedText(this.#source);
    copy.#places = [...this.#places];
    copy.#fresh = this.#fresh;
    copy.#numTold = this.#numTold;
    copy.#numMarked = this.#numMarked;
    return copy;
  }
}
