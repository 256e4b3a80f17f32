/** Conversations with calls, rendered by templates and cut into pieces, for parsers. */
import type { Grammar } from '../../lib/grammar/grammar.js';
import { ChatTemplate } from '../../lib/text/chat-template.js';
import { answerFormat, type FormatNames } from '../../lib/tools/answer-format.js';
import { answerGrammar, type GrammarBeginning } from '../../lib/tools/answer-grammar.js';
import { join } from '../../lib/tools/chat-events.js';
import { checkTools } from '../../lib/tools/definitions.js';
import type { AnswerFormat } from '../../lib/tools/format.js';
import { markedFormat } from '../../lib/tools/marked-format.js';
import { Marks, type TokenSource } from '../../lib/tools/marks.js';
import { AnswerParser, type Beginning } from '../../lib/tools/parser.js';
import { commonStart, outside } from '../../lib/tools/probe.js';
import { beginningOf } from '../../lib/tools/reasoning.js';
import type { ChatEvent, ChatOptions, ToolDefinition } from '../../lib/tools/types.js';
import type { Random } from '../support/random.js';
import { randomTools } from '../support/random-tools.js';
import { type Piece, pieces } from '../support/reference-matcher.js';

/** Spellings that are control tokens in the vocabularies of the families that write them. */
const SPECIAL =
  /^(<\|[^|<>\s]+\|>|<｜[^｜<>]+｜>|\[(TOOL_CALLS|ARGS|CALL_ID|THINK|\/THINK)\]|<\|[a-z_]+>|<[a-z_]+\|>|<\|"\|>)$/;

/** A vocabulary that has every control token that is asked for. */
export function anyTokens(): TokenSource {
  const ids = new Map<string, number>();
  return {
    tokenToId(token) {
      if (!SPECIAL.test(token) || token.includes('DSML')) return undefined;
      if (!ids.has(token)) ids.set(token, 1000 + ids.size);
      return ids.get(token);
    },
    isSpecial: () => true,
  };
}

export interface Subject {
  readonly template: ChatTemplate;
  readonly spelled: AnswerFormat;
  readonly marked: AnswerFormat;
  readonly marks: Marks;
}

export function subject(
  source: string,
  names: FormatNames = {},
  tokens: TokenSource = anyTokens(),
): Subject {
  const template = new ChatTemplate(source, { bosToken: '<|bos|>', eosToken: '<|eos|>' });
  const render = (messages: readonly object[], options: object) => {
    try {
      return template.render(messages as never, { ...options });
    } catch {
      return null;
    }
  };
  const spelled = answerFormat({ render, source, hasToken: () => false }, names);
  const marks = new Marks(tokens);
  return { template, spelled, marked: markedFormat(spelled, marks, []), marks };
}

export interface Turn {
  readonly content: string;
  readonly reasoning?: string;
  readonly calls: readonly { readonly name: string; readonly args: object }[];
}

/** What a model would have written for a turn: its text with marks, and where that begins. */
export function writtenBy(
  { template, spelled, marks }: Subject,
  tools: readonly ToolDefinition[],
  turn: Turn,
): { text: string; beginning: Beginning } {
  const user = { role: 'user', content: 'What now?' };
  const assistant = {
    role: 'assistant',
    content: turn.content,
    ...(turn.reasoning === undefined ? {} : { reasoning_content: turn.reasoning }),
    ...(turn.calls.length === 0
      ? {}
      : {
          tool_calls: turn.calls.map(({ name, args }, i) => ({
            id: `abcdefgh${i}`,
            type: 'function',
            function: { name, arguments: JSON.stringify(args) },
          })),
        }),
  };
  const options = { tools, addGenerationPrompt: false };
  const begin = template.render([user], { tools });
  const { text, marked } = template.renderGuarded([user, assistant], options, '<>|｜[]');
  const ending = endOf(template, tools, spelled.content.end);
  const from = outside(text, outside(begin, commonStart(begin, text)));
  const to = ending !== '' && text.endsWith(ending) ? text.length - ending.length : text.length;
  const written = withMarks(text.slice(from, to), marked.slice(from, to), marks);
  return { text: written, beginning: beginningIn({ spelled, marks }, begin, from, written) };
}

/** A turn with calls drawn at random, as a family's template writes it. */
export interface Drawn {
  readonly tools: readonly ToolDefinition[];
  readonly turn: Turn;
  /** As a model writes it, with marks. */
  readonly text: string;
  readonly beginning: Beginning;
}

/** @param refuses texts that the family cannot hold */
export function drawTurn(
  own: Subject,
  { refuses, reasons }: { readonly refuses?: RegExp; readonly reasons?: boolean },
  draws: Random,
): Drawn {
  const { uniform } = draws;
  const pick = <T>(list: readonly T[]): T => list[draws.integer(list.length)];
  const isTagged = own.spelled.calls?.arguments.kind === 'tagged';
  /** A text in a tag may not spell the tag's end. */
  const allows = (text: string) =>
    !refuses?.test(text) && !(isTagged && /<\/(parameter|arg_value)/.test(text));
  const { tools, args } = randomTools(uniform, { allows });
  const count = own.spelled.calls?.parallel ? 1 + draws.integer(3) : 1;
  const calls = Array.from({ length: count }, () => {
    const { name } = tools[draws.integer(tools.length)].function;
    return { name, args: args(name) };
  });
  const { content } = own.spelled;
  // Content up to the end of an answer leaves no place for calls.
  const isLast = content.start !== '' && content.end === '';
  const withContent = uniform() < 0.5 && !own.spelled.calls?.bare && !isLast;
  const turn: Turn = {
    content: withContent ? pick(['Let me see.', 'Grüße 👍 <b>', 'One\n\ntwo']) : '',
    ...(reasons && uniform() < 0.6
      ? { reasoning: pick(['I think.', 'First\n\nthen <x> 日本']) }
      : {}),
    calls,
  };
  return { tools, turn, ...writtenBy(own, tools, turn) };
}

/** A history may close reasoning that it does not open. */
function beginningIn(
  { spelled, marks }: Pick<Subject, 'spelled' | 'marks'>,
  begin: string,
  from: number,
  written: string,
): Beginning {
  if (from >= begin.length) return beginningOf(spelled, begin);
  const end = marks.mark(spelled.reasoning?.end.trim() ?? '');
  return end !== '' && written.trimStart().startsWith(end) ? 'reasoning' : 'start';
}

/** What a template writes after a turn of content. */
function endOf(
  template: ChatTemplate,
  tools: readonly ToolDefinition[],
  contentEnd: string,
): string {
  const said = 'zsaidz';
  const turns = [
    { role: 'user', content: 'What now?' },
    { role: 'assistant', content: said },
  ];
  const text = template.render(turns, { tools, addGenerationPrompt: false });
  const after = text.slice(text.indexOf(said) + said.length);
  return after.startsWith(contentEnd) ? after.slice(contentEnd.length) : after;
}

/** Control tokens that the template wrote, not those that only look so, as marks. */
function withMarks(text: string, guarded: string, marks: Marks): string {
  const known = marks.mark(guarded);
  let out = '';
  let at = 0;
  for (const char of known) {
    const spelled = /[\udc00-\udfff]/u.test(char) ? marks.spell(char) : char;
    out += spelled === char ? text.slice(at, at + char.length) : char;
    at += spelled.length;
  }
  return out;
}

export interface Answer {
  content: string;
  reasoning: string;
  calls: { id: string; name: string; text: string; ended: boolean }[];
}

/** Puts events together; throws where they are out of order. */
export function collect(events: readonly ChatEvent[]): Answer {
  const answer: Answer = { content: '', reasoning: '', calls: [] };
  for (const event of events) {
    if (event.type === 'content') answer.content += event.text;
    else if (event.type === 'reasoning') answer.reasoning += event.text;
    else if (event.type === 'call') {
      if (event.index !== answer.calls.length) throw new Error(`call ${event.index} out of order`);
      answer.calls.push({ id: event.id, name: event.name, text: '', ended: false });
    } else {
      const call = answer.calls[event.index];
      if (call === undefined || call.ended) throw new Error('arguments outside of their call');
      if (event.type === 'arguments') call.text += event.json;
      else call.ended = true;
    }
  }
  return answer;
}

/** A marked text as a grammar takes it: bytes and tokens. */
export function piecesOf(text: string, marks: Marks): Piece[] {
  return pieces(
    ...Array.from(text, (char) =>
      /[\udc00-\udfff]/u.test(char) ? { token: marks.idOf(char) } : char,
    ),
  );
}

/** The grammar of answers. */
export function grammarOf(
  { marked, marks }: Subject,
  options: ChatOptions,
  beginning: GrammarBeginning,
): Grammar {
  const tools = checkTools(options);
  return answerGrammar({ format: marked, marks, tools, beginning, limits: {} }).grammar;
}

/** Feeds a text in pieces that `cut` gives the lengths of. */
export function parse(
  { marked }: Subject,
  tools: readonly ToolDefinition[],
  text: string,
  beginning: Beginning,
  cut: () => number,
  mustCall = false,
): Answer {
  const { callable } = checkTools({ tools });
  const parser = new AnswerParser(marked, callable, beginning, mustCall);
  const events: ChatEvent[] = [];
  const chars = Array.from(text);
  for (let at = 0; at < chars.length; ) {
    const length = Math.max(1, cut());
    join(events, parser.push(chars.slice(at, at + length).join('')));
    at += length;
  }
  join(events, parser.finish());
  return collect(events);
}
