import { Detokenizer, type DetokenizerOptions } from './detokenizer.js';
import { MarkedText, type MarkSource } from './marked-text.js';
import { StopStrings, type StopStringsOptions } from './stop-strings.js';
import type { Tokenizer } from './tokenizer.js';

export interface OutputTextOptions extends DetokenizerOptions, StopStringsOptions {
  /** Stop strings. Default none. */
  stop?: readonly string[];
  /** Control tokens that are marks in `takeMarked()`. Default: nobody asks for that. */
  marks?: MarkSource;
}

/** What one id adds to the text of a sequence. */
export interface OutputDelta {
  /** New text for the caller; often that of this id, '' while something is held back. */
  readonly delta: string;
  /** The stop string that ends the sequence with this id, or null. */
  readonly stop: string | null;
}

/**
 * The text of one sequence: detokenizer and stop strings together. Everything is synchronous, so a
 * stop is known in the step that drew its token. The id that ends a sequence (EOS or a stop id) has
 * no text: do not push it. After a stop, or `finish`, push nothing more.
 *
 * @throws ERR_INVALID_PARAM (constructor) for bad stop strings, see StopStrings.
 */
export class OutputText {
  readonly #tokenizer: Tokenizer;
  #detokenizer: Detokenizer;
  #stops: StopStrings;
  #marked: MarkedText | null;
  /** UTF-16 units before stop strings cut them. */
  #numDecoded = 0;
  /** What the last `takeDelta()` had given by then, and what came after. */
  #taken = '';
  #fresh = '';

  constructor(tokenizer: Tokenizer, options: OutputTextOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#detokenizer = new Detokenizer(tokenizer, options);
    this.#stops = new StopStrings(options.stop, options);
    this.#marked = options.marks === undefined ? null : new MarkedText(options.marks);
  }

  /**
   * Takes the next id. `mayStop: false` (before minTokens) adds its text but never stops: a stop
   * string that ends with this id is passed over for good, while one that begins here and ends
   * after the gate still counts.
   */
  push(id: number, { mayStop = true }: { mayStop?: boolean } = {}): OutputDelta {
    const mark = this.#marked?.ofId(id);
    const piece = mark === undefined ? this.#detokenizer.push(id) : this.#control(id, mark);
    this.#numDecoded += piece.length;
    const { text, stop } = this.#stops.push(piece, mayStop);
    this.#tell(text);
    return { delta: text, stop };
  }

  /** Characters do not go on behind a control token that is looked for. */
  #control(id: number, mark: string): string {
    const before = this.#detokenizer.settle();
    const spelled = this.#detokenizer.push(id);
    const from = this.#numDecoded + before.length;
    this.#marked?.place(mark, from, from + spelled.length);
    return before + spelled;
  }

  #tell(text: string): void {
    this.#fresh += text;
    this.#marked?.tell(text);
  }

  /**
   * The sequence ends for another reason (EOS, stop id, length): returns what was held back. Only
   * broken UTF-8 and the beginning of a stop string can be, so no stop string is looked for here.
   */
  finish(): string {
    const { text } = this.#stops.push(this.#detokenizer.flush(), false);
    const delta = text + this.#stops.flush();
    this.#tell(delta);
    return delta;
  }

  /** Whether a stop string may end it: then `push` is to be asked after each id. */
  get canStop(): boolean {
    return this.#stops.canStop;
  }

  /** All text returned so far. Strings are put together when they are read, so asking is cheap. */
  get text(): string {
    return this.#taken + this.#fresh;
  }

  /** What `push` and `finish` returned since this was last asked, in one string. */
  takeDelta(): string {
    const delta = this.#fresh;
    this.#taken += delta;
    this.#fresh = '';
    return delta;
  }

  /** What `push` and `finish` returned since this was last asked, marked; '' without `marks`. */
  takeMarked(): string {
    return this.#marked?.take() ?? '';
  }

  /** A copy that goes on independently, for a sequence that forks. */
  clone(): OutputText {
    const copy = new OutputText(this.#tokenizer);
    copy.#detokenizer = this.#detokenizer.clone();
    copy.#stops = this.#stops.clone();
    copy.#marked = this.#marked?.clone() ?? null;
    copy.#numDecoded = this.#numDecoded;
    copy.#taken = this.#taken;
    copy.#fresh = this.#fresh;
    return copy;
  }
}
