/** An answer's text as it comes, told apart into reasoning, content and calls. */
import { CallHeads, type Head, type Named } from './call-head.js';
import { makeId } from './call-ids.js';
import type { Tool } from './definitions.js';
import type { AnswerFormat, CallFormat, Fence } from './format.js';
import { type ArgumentReader, JsonReader } from './json-reader.js';
import { isMark, withoutMarks } from './marks.js';
import { firstOf, matchAt, partialEnd, skipSpace, triggersOf } from './matching.js';
import { PythonReader } from './python-reader.js';
import { QuotedReader } from './quoted-reader.js';
import { TaggedReader } from './tagged-reader.js';
import type { ChatEvent } from './types.js';

/** Where an answer stands when it begins: what the prompt has written of it already. */
export type Beginning = 'start' | 'reasoning' | 'reasoned';

type State = 'boundary' | 'reasoning' | 'content' | 'head' | 'arguments' | 'tail' | 'between';

/** States in which all of the text is looked at for every piece, and how long it may be then. */
const WAITING: ReadonlySet<State> = new Set(['boundary', 'head', 'tail', 'between']);
const MAX_WAIT = 2048;

/** A call that is being read. */
interface OpenCall {
  readonly index: number;
  readonly tool: Tool;
  readonly reader: ArgumentReader;
}

/**
 * Takes an answer in pieces cut anywhere, its control tokens as marks, and gives events. No text is
 * lost: what never becomes a call is content, with the markers that it spelled. Only of a call that
 * the end of the answer cuts off there is what is known of it, and no content.
 */
export class AnswerParser {
  readonly #format: AnswerFormat;
  readonly #calls: CallFormat | null;
  readonly #heads: CallHeads;
  readonly #mustCall: boolean;
  readonly #triggers: readonly string[];
  #text = '';
  #state: State;
  /** Spaces after what has been told: content if content follows. */
  #gap = '';
  /** Whether anything came that spaces before content belong to no longer. */
  #dropsSpace: boolean;
  /** Whether reasoning has begun with something else than spaces. */
  #hasReasoned = false;
  #fence = { start: '', end: '' };
  #call: OpenCall | null = null;
  #numCalls = 0;
  #events: ChatEvent[] = [];

  /**
   * @param format its texts marked
   * @param tools those that may be called
   * @param mustCall what looks like the beginning of a call is one
   */
  constructor(
    format: AnswerFormat,
    tools: readonly Tool[],
    beginning: Beginning,
    mustCall = false,
  ) {
    this.#format = format;
    this.#mustCall = mustCall;
    this.#calls = tools.length === 0 ? null : format.calls;
    this.#heads = new CallHeads(this.#calls, tools);
    this.#triggers = this.#calls === null ? [] : triggersOf(this.#calls);
    this.#state = beginning === 'reasoning' ? 'reasoning' : 'boundary';
    this.#dropsSpace = beginning !== 'start';
  }

  /** Whether what comes next is reasoning, as far as has been told. */
  get isReasoning(): boolean {
    return this.#state === 'reasoning';
  }

  get numCalls(): number {
    return this.#numCalls;
  }

  push(text: string): ChatEvent[] {
    this.#text += text;
    while (this.#step());
    if (this.#text.length > MAX_WAIT && WAITING.has(this.#state)) this.#giveUp();
    return this.#take();
  }

  /** It has waited too long for what a marker could become: it is content. */
  #giveUp(): void {
    if (this.#state === 'tail') this.#endCall();
    this.#emit('content', this.#gap + this.#text);
    this.#gap = '';
    this.#text = '';
    this.#fence = { start: '', end: '' };
    this.#state = 'content';
  }

  /** The answer has ended: what was held back belongs to what it looked like last. */
  finish(): ChatEvent[] {
    const cut = this.#cutOff();
    const rest = cut === null ? withoutMarks(this.#gap + this.#text) : '';
    const state = this.#state;
    const dropsSpace = this.#dropsSpace || this.#mustCall;
    this.#text = '';
    this.#gap = '';
    if (cut?.call != null) this.#begin({ ...cut.call, end: 0 });
    if (state === 'reasoning') this.#emit('reasoning', rest);
    else if (state === 'tail') this.#endCall();
    else if (state === 'content' || state === 'head') this.#emit('content', rest);
    else if (state === 'boundary' && !(dropsSpace && rest.trim() === '')) {
      this.#emit('content', rest);
    }
    return this.#take();
  }

  /** What is known of what the end of the answer cuts off; null where that is a text. */
  #cutOff(): { readonly call: Named | null } | null {
    const text = this.#text;
    const isFirst = this.#state !== 'between';
    const from = isFirst ? this.#headStart() : this.#separatorEnd();
    if (from === null || from === text.length) return null;
    const call = this.#heads.named(text, from, isFirst);
    if (call !== null) return { call };
    const isCall =
      this.#heads.at(text, from, isFirst) === 'more' &&
      (this.#triggers.some((trigger) => text.startsWith(trigger, from)) ||
        (this.#mustCall && this.#state === 'boundary' && this.#numCalls === 0));
    const isFence =
      isMark(text[from]) &&
      this.#fences().some(({ start }) => matchAt(text, from, { pattern: start.trim() }) === 'more');
    return isCall || isFence ? { call: null } : null;
  }

  #headStart(): number | null {
    if (this.#state === 'boundary') return skipSpace(this.#text, 0);
    return this.#state === 'head' ? 0 : null;
  }

  #separatorEnd(): number | null {
    const { separator } = this.#calls as CallFormat;
    const parted = matchAt(this.#text, 0, { pattern: separator, lenient: true });
    return parted === null || parted === 'more' ? null : parted.end;
  }

  #take(): ChatEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** One thing more, if there is enough text for one. */
  #step(): boolean {
    switch (this.#state) {
      case 'boundary':
        return this.#boundary();
      case 'reasoning':
        return this.#reasoning();
      case 'content':
        return this.#content();
      case 'head':
        return this.#head();
      case 'arguments':
        return this.#arguments();
      case 'tail':
        return this.#tail();
      default:
        return this.#between();
    }
  }

  /** Where anything may begin. */
  #boundary(): boolean {
    const from = skipSpace(this.#text, 0);
    if (from === this.#text.length) return false;
    const { reasoning } = this.#format;
    let waits = false;
    for (const fence of this.#fences()) {
      const outcome = matchAt(this.#text, from, { pattern: fence.start.trim() });
      if (outcome === 'more') waits = true;
      else if (outcome !== null) {
        this.#cut(outcome.end);
        this.#dropsSpace = fence === reasoning || this.#dropsSpace;
        this.#fence = fence;
        this.#state = fence === reasoning ? 'reasoning' : 'content';
        return true;
      }
    }
    const head = this.#heads.at(this.#text, from, true);
    if (head !== null && head !== 'more') return this.#begin(head);
    if (waits || head === 'more') return false;
    if (this.#dropsSpace) this.#cut(from);
    this.#fence = { start: '', end: '' };
    this.#state = 'content';
    return true;
  }

  /** Those that have a begin marker. */
  #fences(): Fence[] {
    const { reasoning, content, preamble } = this.#format;
    return [reasoning, content, preamble].filter(
      (fence) => fence != null && fence.start !== '',
    ) as Fence[];
  }

  #reasoning(): boolean {
    const end = (this.#format.reasoning?.end ?? '').trim();
    if (this.#gap === '' && !this.#hasReasoned) this.#cut(skipSpace(this.#text, 0));
    const at = end === '' ? -1 : this.#text.indexOf(end);
    if (at >= 0) {
      this.#emit('reasoning', (this.#gap + this.#text.slice(0, at)).trimEnd());
      this.#gap = '';
      this.#cut(at + end.length);
      this.#hasReasoned = false;
      this.#dropsSpace = true;
      this.#state = 'boundary';
      return true;
    }
    this.#flow('reasoning', partialEnd(this.#text, [end]));
    return false;
  }
  /** Tells what is certain, all but spaces at its end and `held` characters. */
  #flow(type: 'reasoning' | 'content', held: number): void {
    const text = this.#gap + this.#text.slice(0, this.#text.length - held);
    const trimmed = text.trimEnd();
    const told = text.length - trimmed.length > MAX_WAIT ? text : trimmed;
    this.#emit(type, told);
    if (type === 'reasoning' && told !== '') this.#hasReasoned = true;
    this.#gap = text.slice(told.length);
    this.#cut(this.#text.length - held);
  }

  #content(): boolean {
    const { end } = this.#fence;
    const free = this.#fence.start === '';
    const markers = [...(free ? this.#triggers : []), ...(end === '' ? [] : [end])];
    const { at, marker } = firstOf(this.#text, markers);
    if (at < 0) {
      this.#flow('content', partialEnd(this.#text, markers));
      if (markers.length === 0) this.#flush();
      return false;
    }
    this.#flow('content', this.#text.length - at);
    if (marker === end) {
      this.#flush();
      this.#cut(end.length);
      this.#dropsSpace = true;
      this.#state = 'boundary';
    } else this.#state = 'head';
    return true;
  }

  /** A trigger stands first. */
  #head(): boolean {
    const head = this.#heads.at(this.#text, 0, true);
    if (head === 'more') return false;
    if (head !== null) return this.#begin(head);
    const { marker } = firstOf(this.#text, this.#triggers);
    this.#flush();
    this.#emit('content', this.#text.slice(0, marker.length));
    this.#cut(marker.length);
    this.#state = 'content';
    return true;
  }

  #begin({ end, id, index, tool }: Head): boolean {
    const calls = this.#calls as CallFormat;
    const place = this.#numCalls++;
    const number = index === undefined ? place : Number(index);
    this.#gap = '';
    this.#cut(end);
    this.#call = { index: place, tool, reader: this.#reader(calls, tool) };
    const called = id ?? makeId(calls.ids, tool.name, number);
    this.#events.push({ type: 'call', index: place, id: called, name: tool.name });
    this.#state = 'arguments';
    return true;
  }

  #reader({ arguments: style, end }: CallFormat, { schema }: Tool): ArgumentReader {
    if (style.kind === 'tagged') return new TaggedReader(style, schema, end.trimEnd());
    if (style.kind === 'python') return new PythonReader();
    return style.kind === 'quoted' ? new QuotedReader(style) : new JsonReader();
  }

  #arguments(): boolean {
    const { reader, index } = this.#call as OpenCall;
    const { used, json, state } = reader.read(this.#text);
    this.#cut(used);
    if (json !== '') this.#arguing(index, json);
    if (state === 'open') return false;
    if (state === 'done') this.#state = 'tail';
    else {
      // Nothing that a grammar allows comes here: what follows is no call, but it is not lost.
      this.#call = null;
      this.#state = 'content';
      this.#fence = { start: '', end: '' };
    }
    return true;
  }

  #arguing(index: number, json: string): void {
    const last = this.#events.at(-1);
    if (last?.type === 'arguments' && last.index === index) {
      this.#events[this.#events.length - 1] = { ...last, json: last.json + json };
    } else this.#events.push({ type: 'arguments', index, json });
  }

  #endCall(): void {
    if (this.#call !== null) this.#events.push({ type: 'call-end', index: this.#call.index });
    this.#call = null;
  }

  #tail(): boolean {
    const { end } = this.#calls as CallFormat;
    const name = this.#call?.tool.name;
    const outcome = matchAt(this.#text, 0, { pattern: end, name, lenient: true });
    if (outcome === 'more') return false;
    this.#endCall();
    this.#dropsSpace = true;
    if (outcome !== null) this.#cut(outcome.end);
    this.#state = 'between';
    return true;
  }

  /** After a call. */
  #between(): boolean {
    const { separator, section } = this.#calls as CallFormat;
    const lenient = true;
    let waits = false;
    const parted = matchAt(this.#text, 0, { pattern: separator, lenient });
    if (parted === 'more') waits = true;
    else if (parted !== null) {
      const head = this.#heads.at(this.#text, parted.end, false);
      if (head === 'more') waits = true;
      else if (head !== null) return this.#begin(head);
    }
    const over = matchAt(this.#text, 0, { pattern: section.end, lenient });
    if (over !== null && over !== 'more' && section.end !== '') {
      this.#cut(over.end);
      this.#state = 'boundary';
      return true;
    }
    if (waits || over === 'more' || this.#text === '') return false;
    this.#state = 'boundary';
    return true;
  }

  #flush(): void {
    this.#emit('content', this.#gap);
    this.#gap = '';
  }

  #emit(type: 'reasoning' | 'content', marked: string): void {
    const text = withoutMarks(marked);
    if (text === '') return;
    const last = this.#events.at(-1);
    if (last?.type === type)
      this.#events[this.#events.length - 1] = { type, text: last.text + text };
    else this.#events.push({ type, text });
  }

  #cut(length: number): void {
    if (length > 0) this.#text = this.#text.slice(length);
  }
}
