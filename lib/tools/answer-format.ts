/** Which format a model answers in: by name, by signs in its template, by what that renders. */
import { shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import { type AnswerFormat, type CallFormat, type Fence, NO_FENCE } from './format.js';
import {
  ANSWERS,
  CALL_NAMES,
  callsNamed,
  REASONING_NAMES,
  reasoningNamed,
  SIGNATURES,
} from './named.js';
import { contentOf, Probe, type Render, reasoningOf } from './probe.js';
import { callsFrom } from './probe-calls.js';

/** What a format is found from. */
export interface FormatSource {
  readonly render: Render;
  /** The template's own text. */
  readonly source: string;
  hasToken(token: string): boolean;
}

export interface FormatNames {
  readonly calls?: string | null;
  readonly reasoning?: string | null;
}

function signed({ source, hasToken }: FormatSource, first: boolean): CallFormat | undefined {
  const found = SIGNATURES.find(({ first: early = false, signs, token }) => {
    if (early !== first || !signs.every((sign) => sign.test(source))) return false;
    return token === undefined || hasToken(token);
  });
  return found && callsNamed(found.name);
}

/** Whether ids that the template makes of calls must have nine letters and digits. */
function wantsNine(source: string): boolean {
  return /length\s*(!=|is ne|==)\s*9/.test(source);
}

/** What is understood of a template by itself. */
function found(from: FormatSource): AnswerFormat {
  const { render, source, hasToken } = from;
  const early = signed(from, true);
  const whole = early && ANSWERS.find(({ calls }) => calls === early);
  if (whole !== undefined) return whole;
  const probe = new Probe(render);
  const spells = (marker: string) => source.includes(marker) || hasToken(marker);
  const reasoning =
    early === callsNamed('gemma4')
      ? (reasoningNamed('gemma4') as Fence)
      : reasoningOf(probe, spells);
  const { content, over } = contentOf(probe, reasoning, probe.called([{ a: 1 }]));
  const base = { name: 'template', reasoning, content };
  if (early !== undefined) return { ...base, calls: early };
  const rendered = callsFrom(probe, base, over);
  if (rendered !== null) return withCalls(base, rendered, source);
  const calls = probe.shows() ? null : (signed(from, false) ?? null);
  if (calls !== null) return { ...base, calls };
  const why = /tool/.test(source)
    ? "the chat template's way to write tool calls is not understood"
    : 'the chat template knows no tools';
  return { ...base, calls: null, why };
}

function withCalls(
  base: Omit<AnswerFormat, 'calls'>,
  rendered: Omit<CallFormat, 'ids'>,
  source: string,
): AnswerFormat {
  const [{ start, nameEnd }] = rendered.forms;
  if (rendered.bare && start.startsWith('{"name"') && nameEnd.includes('"parameters"')) {
    return { ...base, calls: callsNamed('llama3_json') as CallFormat };
  }
  const calls: CallFormat = { ...rendered, ids: wantsNine(source) ? 'nine' : 'call' };
  // What begins content and calls alike is the head of a turn.
  const header = base.content.start;
  const head = calls.section.start === '' ? start : calls.section.start;
  if (header === '' || !head.startsWith(header)) return { ...base, calls };
  const bare = head.slice(header.length).trimStart();
  const section = calls.section.start === '' ? calls.section : { ...calls.section, start: bare };
  const forms = calls.section.start === '' ? [{ start: bare, nameEnd }] : calls.forms;
  return { ...base, content: NO_FENCE, calls: { ...calls, section, forms } };
}

function unknown(param: string, name: string, known: readonly string[]): Error {
  return octavoError(
    'ERR_INVALID_PARAM',
    `there is no ${param} ${shown(name)}; known are auto, none, ${known.join(', ')}`,
    { param },
  );
}

const isGiven = (name: string | null | undefined): name is string =>
  name != null && name !== 'auto';

/**
 * The format of a template, or what its caller calls it.
 * @throws ERR_INVALID_PARAM for a name that is none
 */
export function answerFormat(from: FormatSource, names: FormatNames = {}): AnswerFormat {
  let format = found(from);
  if (isGiven(names.calls)) {
    const calls = names.calls === 'none' ? null : callsNamed(names.calls);
    if (calls === undefined) throw unknown('toolCallParser', names.calls, CALL_NAMES);
    const base = ANSWERS.find((whole) => calls !== null && whole.calls === calls) ?? format;
    format = { ...base, calls, ...(calls === null ? { why: 'toolCallParser is none' } : {}) };
  }
  if (isGiven(names.reasoning)) {
    const reasoning = names.reasoning === 'none' ? null : reasoningNamed(names.reasoning);
    if (reasoning === undefined) throw unknown('reasoningParser', names.reasoning, REASONING_NAMES);
    format = { ...format, reasoning };
  }
  return format;
}
