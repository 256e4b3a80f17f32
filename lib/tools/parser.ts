/** An answer's text as it comes, told apart into reasoning, content and calls. */
import { CallHeads, type Head, type Named } from './call-head.js';
import { makeId } from './call-ids.js';
import type { Tool } from './definitions.js';
import type { AnswerFormat, CallFormat } from './format.js';
import { type ArgumentReader, JsonReader } from './json-reader.js';
import { isMark, withoutMarks } from './marks.js';
import { endMarkOf, Markers, matchAt, skipSpace, triggersOf } from './matching.js';
import { PythonReader } from './python-reader.js';
import { QuotedReader } from './quoted-reader.js';
import { SchemaTypes } from './schema-types.js';
import { TaggedReader } from './tagged-reader.js';
import type { ChatEvent } from './types.js';

/** Where an answer stands when it begins: what the prompt has written of it already. */
export type Beginning = 'start' | 'reasoning' | 'reasoned';

type State =
  | ('boundary' | 'reasoning' | 'content')
  | ('head' | 'arguments' | 'stray' | 'tail' | 'between');

/** States in which all of the text is looked at for every piece, and how long it may be then. */
const WAITING: ReadonlySet<State> = new Set(['boundary', 'head', 'tail', 'between']);
const MAX_WAIT = 1024;
/** Most spaces that are held back until it is known what they belong to. */
const MAX_GAP = 2048;

/** What a begin marker opens, and what it goes up to. */
interface Block {
  readonly start: string;
  readonly end: Markers;
  readonly isReasoning: boolean;
}

/** Those of a format that have a begin marker. */
function blocksOf({ reasoning, content, preamble }: AnswerFormat): Block[] {
  return [reasoning, content, preamble].flatMap((fence) => {
    if (fence == null || fence.start === '') return [];
    const isReasoning = fence === reasoning;
    const end = new Markers([isReasoning ? fence.end.trim() : fence.end]);
    return [{ start: fence.start.trim(), end, isReasoning }];
  });
}

/** A call that is being read. */
interface OpenCall {
  readonly index: number;
  readonly tool: Tool;
  readonly reader: ArgumentReader;
}

/**
 * Takes an answer in pieces cut anywhere, its control tokens as marks, and gives events. No text is
 * lost: what never becomes a call is content, with the markers that it spelled, and so is what
 * stands in a call and is none of its arguments. Only of a call that the end of the answer cuts off
 * there is what is known of it, and no content.
 *
 * Its work is linear in the length of the answer, whatever stands in that and however it is cut.
 */
export class AnswerParser {
  readonly #calls: CallFormat | null;
  readonly #heads: CallHeads;
  readonly #mustCall: boolean;
  readonly #triggers: readonly string[];
  /** Content without a begin marker, up to a call. */
  readonly #free: Block;
  readonly #blocks: readonly Block[];
  readonly #reasoningEnd: Markers;
  /** Ends what is no argument: the end of the call, or the beginning of another. */
  readonly #callEnd: Markers;
  readonly #endMark: string;
  #text = '';
  #state: State;
  /** Spaces after what has been told: content if content follows. */
  #gap = '';
  /** Whether anything came that spaces before content belong to no longer. */
  #dropsSpace: boolean;
  /** Whether reasoning has begun with something else than spaces. */
  #hasReasoned = false;
  /** What content is in. */
  #block: Block;
  /** Of tools that were called. */
  readonly #types = new Map<Tool, SchemaTypes>();
  #call: OpenCall | null = null;
  /** What came in the call and is no argument. */
  #strayed = '';
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
    this.#mustCall = mustCall;
    this.#calls = tools.length === 0 ? null : format.calls;
    this.#heads = new CallHeads(this.#calls, tools);
    this.#triggers = this.#calls === null ? [] : triggersOf(this.#calls);
    this.#endMark = this.#calls === null ? '' : endMarkOf(this.#calls);
    this.#callEnd = new Markers([this.#endMark, ...this.#triggers]);
    this.#free = { start: '', end: new Markers(this.#triggers), isReasoning: false };
    this.#block = this.#free;
    this.#reasoningEnd = new Markers([format.reasoning?.end.trim() ?? '']);
    this.#blocks = blocksOf(format);
    this.#state = beginning === 'reasoning' ? 'reasoning' : 'boundary';
    this.#dropsSpace = beginning !== 'start';
  }

  /** Whether what comes next is reasoning, as far as has been told. */
  get isReasoning(): boolean {
    return this.#state === 'reasoning';
  }

  push(text: string): ChatEvent[] {
    this.#text += text;
    while (this.#step());
    const isFull = this.#text.length > MAX_WAIT || this.#gap.length > MAX_GAP;
    if (isFull && WAITING.has(this.#state)) this.#giveUp();
    return this.#take();
  }

  /** It has waited too long for what a marker could become: it is content. */
  #giveUp(): void {
    if (this.#state === 'tail') this.#endCall();
    this.#emit('content', this.#gap + this.#text);
    this.#gap = '';
    this.#text = '';
    this.#block = this.#free;
    this.#state = 'content';
  }

  /** The answer has ended: what was held back belongs to what it looked like last. */
  finish(): ChatEvent[] {
    const cut = this.#cutOff();
    const rest = cut === null ? withoutMarks(this.#strayed + this.#gap + this.#text) : '';
    const state = this.#state;
    const dropsSpace = this.#dropsSpace || this.#mustCall;
    this.#text = '';
    this.#gap = '';
    this.#strayed = '';
    if (cut?.call != null) this.#begin({ ...cut.call, end: 0 });
    if (state === 'reasoning') this.#emit('reasoning', rest);
    else if (state === 'tail') this.#endCall();
    else if (state === 'content' || state === 'head' || state === 'stray') {
      this.#emit('content', rest);
    } else if (state === 'boundary' && !(dropsSpace && rest.trim() === '')) {
      this.#emit('content', rest);
    }
    return this.#take();
  }

  /** What is known of what the end of the answer cuts off; null where that is a text. */
  #cutOff(): { readonly call: Named | null } | null {
    const text = this.#text;
    const isFirst = this.#state === 'boundary' || this.#state === 'head';
    const from = isFirst ? 0 : this.#state === 'between' ? this.#separatorEnd() : null;
    if (from === null || from === text.length) return null;
    const call = this.#heads.named(text, from, isFirst);
    if (call !== null) return { call };
    const isCall =
      this.#heads.at(text, from, isFirst) === 'more' &&
      (this.#triggers.some((trigger) => text.startsWith(trigger, from)) ||
        (this.#mustCall && this.#state === 'boundary' && this.#numCalls === 0));
    const isFence =
      isMark(text[from]) &&
      this.#blocks.some(({ start }) => matchAt(text, from, { pattern: start }) === 'more');
    return isCall || isFence ? { call: null } : null;
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
      case 'stray':
        return this.#stray();
      case 'tail':
        return this.#tail();
      default:
        return this.#between();
    }
  }

  /** Where anything may begin. */
  #boundary(): boolean {
    const space = skipSpace(this.#text, 0);
    if (!this.#dropsSpace) this.#gap += this.#text.slice(0, space);
    this.#cut(space);
    if (this.#text === '') return false;
    let waits = false;
    for (const block of this.#blocks) {
      const outcome = matchAt(this.#text, 0, { pattern: block.start });
      if (outcome === 'more') waits = true;
      else if (outcome !== null) {
        this.#cut(outcome.end);
        this.#gap = '';
        this.#dropsSpace ||= block.isReasoning;
        this.#block = block;
        this.#state = block.isReasoning ? 'reasoning' : 'content';
        return true;
      }
    }
    const head = this.#heads.at(this.#text, 0, true);
    if (head !== null && head !== 'more') return this.#begin(head);
    if (waits || head === 'more') return false;
    this.#block = this.#free;
    this.#state = 'content';
    return true;
  }

  #reasoning(): boolean {
    if (this.#gap === '' && !this.#hasReasoned) this.#cut(skipSpace(this.#text, 0));
    const found = this.#reasoningEnd.find(this.#text);
    if (found === null) {
      this.#flow('reasoning', this.#reasoningEnd.held(this.#text));
      return false;
    }
    this.#flow('reasoning', this.#text.length - found.at);
    this.#gap = '';
    this.#cut(found.marker.length);
    this.#hasReasoned = false;
    this.#dropsSpace = true;
    this.#state = 'boundary';
    return true;
  }

  /** Tells what is certain, all but spaces at its end and `held` characters. */
  #flow(type: 'reasoning' | 'content', held: number): void {
    const text = this.#text.slice(0, this.#text.length - held);
    this.#cut(text.length);
    const told = text.trimEnd();
    if (told === '') this.#gap += text;
    else {
      this.#emit(type, this.#gap + told);
      this.#gap = text.slice(told.length);
    }
    const isFull = this.#gap.length > MAX_GAP;
    if (isFull) this.#flush(type);
    if (type === 'reasoning' && (isFull || told !== '')) this.#hasReasoned = true;
  }

  #content(): boolean {
    const { end } = this.#block;
    const found = end.find(this.#text);
    if (found === null) {
      this.#flow('content', end.held(this.#text));
      if (end.isEmpty) this.#flush();
      return false;
    }
    this.#flow('content', this.#text.length - found.at);
    if (this.#block === this.#free) this.#state = 'head';
    else {
      this.#flush();
      this.#cut(found.marker.length);
      this.#dropsSpace = true;
      this.#state = 'boundary';
    }
    return true;
  }

  /** A trigger stands first. */
  #head(): boolean {
    const head = this.#heads.at(this.#text, 0, true);
    if (head === 'more') return false;
    if (head !== null) return this.#begin(head);
    const { length } = this.#free.end.find(this.#text)?.marker ?? this.#text;
    this.#flush();
    this.#emit('content', this.#text.slice(0, length));
    this.#cut(length);
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

  #reader({ arguments: style, end }: CallFormat, tool: Tool): ArgumentReader {
    if (style.kind === 'tagged') {
      const types = this.#types.get(tool) ?? new SchemaTypes(tool.schema);
      this.#types.set(tool, types);
      return new TaggedReader(style, types, end.trimEnd());
    }
    if (style.kind === 'python') return new PythonReader();
    return style.kind === 'quoted' ? new QuotedReader(style) : new JsonReader();
  }

  #arguments(): boolean {
    const { reader, index } = this.#call as OpenCall;
    const { used, json, state } = reader.read(this.#text);
    this.#cut(used);
    if (json !== '') this.#arguing(index, json);
    if (state === 'open') return false;
    this.#state = state === 'done' ? 'tail' : 'stray';
    return true;
  }

  /** After what is no argument: the call ends where its marker does, with what could be read. */
  #stray(): boolean {
    const found = this.#callEnd.find(this.#text);
    const sure = found?.at ?? this.#text.length - this.#callEnd.held(this.#text);
    this.#strayed += this.#text.slice(0, sure);
    this.#cut(sure);
    if (found === null) return false;
    const { reader, index } = this.#call as OpenCall;
    const json = reader.close();
    if (json !== '') this.#arguing(index, json);
    this.#endCall();
    if (this.#strayed.trim() !== '') this.#emit('content', this.#strayed);
    this.#strayed = '';
    this.#dropsSpace = true;
    const isOver = found.marker === this.#endMark;
    if (isOver) this.#cut(found.marker.length);
    this.#block = this.#free;
    this.#state = isOver ? 'between' : 'head';
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
    this.#passSpace();
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

  /** As much space is as good as any after arguments and calls: it is not looked at twice. */
  #passSpace(): void {
    this.#cut(Math.max(0, skipSpace(this.#text, 0) - 1));
  }

  /** After a call. */
  #between(): boolean {
    this.#passSpace();
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

  #flush(type: 'reasoning' | 'content' = 'content'): void {
    this.#emit(type, this.#gap);
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
