/** A format for one tokenizer: its control tokens as marks, without what generation ends before. */
import {
  type AnswerFormat,
  type CallFormat,
  type Fence,
  JSON_TYPES,
  type JsonType,
} from './format.js';
import { isMark, type Marks } from './marks.js';

/**
 * @param endIds tokens that end a sequence: they stand in no answer
 */
export function markedFormat(
  format: AnswerFormat,
  marks: Marks,
  endIds: readonly number[],
): AnswerFormat {
  const mark = (text: string) => marks.mark(text);
  const cut = (text: string) => {
    const marked = mark(text);
    const at = Array.from(marked).findIndex((char) => isEnd(char));
    return at < 0 ? marked : Array.from(marked).slice(0, at).join('');
  };
  const isEnd = (char: string) => isMark(char) && endIds.includes(marks.idOf(char));
  const fence = ({ start, end }: Fence): Fence => ({ start: mark(start), end: cut(end) });
  const { reasoning, content, preamble, calls } = format;
  const marked = {
    ...format,
    reasoning: reasoning && fence(reasoning),
    content: fence(content),
    ...(preamble === undefined ? {} : { preamble: fence(preamble) }),
  };
  if (calls === null) return marked;
  const own = markedCalls(calls, { mark, cut, fence });
  if (!own.forms.some(({ start }) => Array.from(own.section.start + start).some(isEnd))) {
    return { ...marked, calls: own };
  }
  const why = 'the model ends its turn before it calls: the template writes calls as turns';
  return { ...marked, calls: null, why };
}

/** The marks that stand in a format's texts. */
export function marksIn(value: unknown): Set<string> {
  if (typeof value === 'string') return new Set(Array.from(value).filter(isMark));
  if (typeof value !== 'object' || value === null) return new Set();
  return new Set(Object.values(value).flatMap((one) => [...marksIn(one)]));
}

interface Ways {
  readonly mark: (text: string) => string;
  readonly cut: (text: string) => string;
  readonly fence: (fence: Fence) => Fence;
}

function markedCalls(calls: CallFormat, { mark, cut, fence }: Ways): CallFormat {
  const { arguments: style } = calls;
  const each = (texts: Readonly<Record<JsonType, string>>) =>
    Object.fromEntries(JSON_TYPES.map((type) => [type, mark(texts[type])])) as typeof texts;
  return {
    ...calls,
    section: fence(calls.section),
    forms: calls.forms.map(({ start, nameEnd }) => ({
      start: mark(start),
      nameEnd: mark(nameEnd),
    })),
    end: cut(calls.end),
    separator: mark(calls.separator),
    arguments:
      style.kind === 'tagged'
        ? {
            ...style,
            start: mark(style.start),
            mids: each(style.mids),
            ends: each(style.ends),
            separator: mark(style.separator),
          }
        : style.kind === 'quoted'
          ? { ...style, quote: mark(style.quote) }
          : style,
  };
}
