/**
 * What a chat template shows of a model's format: conversations are rendered that differ in one
 * thing, and what differs between the renders is where that thing stands.
 */
import { type CallFormat, type Fence, ID_SLOT, INDEX_SLOT, NAME_SLOT, NO_FENCE } from './format.js';

/** A render, or null where the template refuses the conversation. */
export type Render = (messages: readonly object[], options: object) => string | null;

const USER = 'zusersaysz';
const SAID = 'zsaidbymodelz';
const THOUGHT = 'zthoughtbymodelz';
export const NAMES = ['zfirstfunz', 'zotherfunz'] as const;
/** Nine letters and digits: some templates insist. */
const IDS = ['zidone123', 'zidtwo456'] as const;
/** As a key and its value. */
export const PAIR = ['zkeyaz', 'zvalaz'] as const;
export const OTHER = ['zkeybz', 'zvalbz'] as const;

const TOOLS = NAMES.map((name) => ({
  type: 'function',
  function: {
    name,
    description: 'What it does.',
    parameters: {
      type: 'object',
      properties: {
        [PAIR[0]]: { type: 'string', description: 'One.' },
        [OTHER[0]]: { type: 'string', description: 'Other.' },
      },
      required: [PAIR[0]],
    },
  },
}));

function callsOf(args: readonly object[]): object[] {
  return args.map((one, i) => ({
    id: IDS[i],
    type: 'function',
    function: { name: NAMES[i], arguments: one },
  }));
}

/** Renders of one template, each what comes after the user's words. */
export class Probe {
  readonly #render: Render;
  readonly begin: string;

  constructor(render: Render) {
    this.#render = render;
    this.begin = this.#after([], { addGenerationPrompt: true }) ?? '';
  }

  #after(turns: readonly object[], options: object): string | null {
    const messages = [{ role: 'user', content: USER }, ...turns];
    const text = this.#render(messages, { addGenerationPrompt: false, tools: TOOLS, ...options });
    const at = text?.lastIndexOf(USER) ?? -1;
    return text === null || at < 0 ? null : text.slice(at + USER.length);
  }

  said(options: object = {}): string | null {
    return this.#after([{ role: 'assistant', content: SAID }], options);
  }

  /** With reasoning, beside content or a call: some templates show it only there. */
  thought(): string | null {
    const turn = { role: 'assistant', content: SAID, reasoning_content: THOUGHT };
    const plain = this.#after([turn], {});
    if (plain?.includes(THOUGHT)) return plain;
    return this.#after(
      [{ ...turn, content: '', tool_calls: callsOf([{ [PAIR[0]]: PAIR[1] }]) }],
      {},
    );
  }

  /** Whether the template writes calls at all. */
  shows(): boolean {
    return this.called([{ [PAIR[0]]: PAIR[1] }])?.includes(NAMES[0]) ?? false;
  }

  called(args: readonly object[]): string | null {
    return this.#after([{ role: 'assistant', content: '', tool_calls: callsOf(args) }], {});
  }
}

/** The marker that a cut would part; it need not end within the text. */
function parted(text: string, cut: number): { from: number; to: number } | null {
  for (const [open, close] of [
    [/<[^<>\s]*$/, '>'],
    [/\[\/?[A-Z_]+$/, ']'],
  ] as const) {
    const from = text.slice(0, cut).search(open);
    if (from < 0) continue;
    const to = text.indexOf(close, cut);
    return { from, to: to < 0 ? text.length : to + 1 };
  }
  return null;
}

/** Moves a cut inside of a marker to before it. */
export function outside(text: string, cut: number): number {
  return parted(text, cut)?.from ?? cut;
}

/** Moves a cut inside of a marker to behind it. */
function inside(text: string, cut: number): number {
  return parted(text, cut)?.to ?? cut;
}

export function commonStart(a: string, b: string): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

export function commonEnd(a: string, b: string): number {
  let n = 0;
  while (n < a.length && n < b.length && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
}

const MARKER = /<[^<>\n]{1,60}>|\[[^[\]\n]{2,60}\]/;
const LAST_MARKER = /(?:<[^<>\n]{1,60}>|\[[A-Z_]+\])\s*$/;

/** Pairs that reasoning stands between where the template does not show it. */
const KNOWN: readonly Fence[] = [
  { start: '<think>', end: '</think>' },
  { start: '[THINK]', end: '[/THINK]' },
  { start: '<seed:think>', end: '</seed:think>' },
  { start: '<|START_THINKING|>', end: '<|END_THINKING|>' },
];

/** @param spells whether the vocabulary or the template has a marker */
export function reasoningOf(probe: Probe, spells: (marker: string) => boolean): Fence | null {
  const text = probe.thought();
  const at = text?.indexOf(THOUGHT) ?? -1;
  if (text !== null && at >= 0) {
    const behind = text.slice(at + THOUGHT.length);
    const after = MARKER.exec(behind);
    // Only a marker right behind it is its end.
    if (after !== null && behind.slice(0, after.index).trim() === '') {
      return shownReasoning(probe, text.slice(0, at), behind, after[0]);
    }
  }
  return KNOWN.find(({ start, end }) => spells(start) && spells(end)) ?? null;
}

function shownReasoning(probe: Probe, before: string, behind: string, marker: string): Fence {
  const said = probe.said() ?? '';
  const plain = written(probe.begin, said, null).split(SAID)[0].trim();
  const start = LAST_MARKER.exec(before)?.[0].trim() ?? '';
  // What stands before any content is no sign of reasoning.
  const isOwn = !said.split(SAID)[0].trimEnd().endsWith(start);
  const own = written(probe.begin, before, null).trim();
  const between = behind.split(SAID)[0].trim();
  if (plain !== '' && !plain.includes(marker) && between.endsWith(plain)) {
    return {
      start: own === '' && isOwn ? start : own,
      end: between.slice(0, -plain.length).trim(),
    };
  }
  return { start: isOwn ? start : '', end: marker };
}

/** A text of the model's turn, from where the model begins to write. */
export function written(begin: string, text: string, reasoning: Fence | null): string {
  const cut = outside(text, outside(begin, commonStart(begin, text)));
  let rest = text.slice(cut);
  for (const marker of reasoning === null ? [] : [reasoning.start, reasoning.end]) {
    const trimmed = rest.trimStart();
    if (marker !== '' && trimmed.startsWith(marker)) rest = trimmed.slice(marker.length);
  }
  return rest;
}

/**
 * How content is fenced, and what ends a turn.
 * @param call a turn with a call, whose end is the same
 */
export function contentOf(
  probe: Probe,
  reasoning: Fence | null,
  call: string | null,
): { content: Fence; over: string } {
  const text = probe.said();
  const place = text?.indexOf(SAID) ?? -1;
  if (text === null || place < 0) return { content: NO_FENCE, over: '' };
  const own = written(probe.begin, text, reasoning);
  const at = own.indexOf(SAID);
  const start = at < 0 ? '' : own.slice(0, at).trim();
  const after = text.slice(place + SAID.length);
  const like = call ?? after;
  const over = like.slice(inside(like, like.length - commonEnd(after, like)));
  const end = after.slice(0, after.length - over.length).trim();
  return { content: start === '' ? NO_FENCE : { start, end }, over };
}

/** A call's pieces in a render. */
export interface Pieces {
  /** Before the name, from the arguments of the call before it or the beginning. */
  readonly head: string;
  /** From the name to the arguments. */
  readonly nameEnd: string;
  /** Behind the arguments; of the last call to the end. */
  readonly tail: string;
}

/** Ids, numbers and names again as slots; `number` is the call's own where the format counts. */
export function slotted(text: string, call: number): string {
  return text.replaceAll(IDS[call], ID_SLOT).replaceAll(NAMES[call], NAME_SLOT);
}

/** Two texts that are the same but for a number that counts the calls: with a slot for it. */
function counted(first: string, second: string): string | null {
  if (first === second) return first;
  if (first.length !== second.length) return null;
  let text = '';
  for (let i = 0; i < first.length; i++) {
    const [a, b] = [first[i], second[i]];
    if (a === b) text += a;
    else if (/[01]/.test(a) && Number(b) === Number(a) + 1) text += INDEX_SLOT;
    else return null;
  }
  return text;
}

/** The longest end of `gap` that is one of `head`, numbers of calls aside. */
function commonCountedEnd(head: string, gap: string): string {
  for (let length = Math.min(head.length, gap.length); length > 0; length--) {
    const same = counted(head.slice(head.length - length), gap.slice(gap.length - length));
    if (same !== null) return same;
  }
  return '';
}

/** Ids and names of either call as slots. */
function bothSlotted(text: string): string {
  return slotted(slotted(text, 0), 1);
}

/** All that callsFrom finds; ids and arguments aside. */
export type Frame = Pick<CallFormat, 'section' | 'forms' | 'end' | 'separator' | 'parallel'>;

/**
 * What stands where in two renders, of one call and of two.
 * @param second of the two calls' render: what stands between the calls, and behind the second name
 */
export function frameOf(one: Pieces, second: Omit<Pieces, 'tail'> | null): Frame | null {
  const head = slotted(one.head, 0).trimStart();
  const tail = slotted(one.tail, 0);
  if (second === null) {
    const forms = [{ start: head, nameEnd: slotted(one.nameEnd, 0) }];
    return { section: NO_FENCE, forms, end: tail.trimEnd(), separator: '', parallel: false };
  }
  const nameEnd = counted(slotted(one.nameEnd, 0), slotted(second.nameEnd, 1));
  if (nameEnd === null) return null;
  const gap = bothSlotted(second.head);
  const end = gap.slice(0, outside(gap, commonStart(tail, gap)));
  const rest = gap.slice(end.length);
  const counting = commonCountedEnd(head, rest);
  const cut = rest.length - counting.length;
  const start = counting.slice(inside(rest, cut) - cut);
  if (start === '' && head !== '' && end === '') return null;
  return {
    section: {
      start: head.slice(0, head.length - start.length),
      end: tail.slice(end.length).trimEnd(),
    },
    forms: [{ start, nameEnd }],
    end,
    separator: rest.slice(0, rest.length - start.length),
    parallel: true,
  };
}

/** Whether nothing but JSON or a name begins a call. */
export function isBare({ section, forms }: Frame): boolean {
  return /^[[{\s]*("(name|tool_name|function)": *")?$/.test(section.start + forms[0].start);
}
