/** The grammar of an answer: reasoning, content and calls as a format writes them. */
import type { Budget } from '../grammar/budget.js';
import type { Grammar, Sym } from '../grammar/grammar.js';
import { GrammarBuilder } from '../grammar/grammar.js';
import { type GrammarSpec, type SpecLimits, symbolOf } from '../grammar/index.js';
import type { Regex } from '../grammar/ir.js';
import { ArgumentGrammar } from './argument-grammar.js';
import type { CheckedTools, Tool } from './definitions.js';
import type { AnswerFormat, CallFormat, Fence } from './format.js';
import { Literals } from './literals.js';
import { isMark, type MarkIds } from './marks.js';
import { triggersOf } from './matching.js';
import type { Beginning } from './parser.js';

/** `ending`: reasoning has to end now. */
export type GrammarBeginning = Beginning | 'ending';

/** What an answer may be. */
export interface AnswerWish {
  /** Its texts marked. */
  readonly format: AnswerFormat;
  readonly marks: MarkIds;
  readonly tools: CheckedTools;
  readonly beginning: GrammarBeginning;
  /** What the content must be. */
  readonly content?: GrammarSpec;
  readonly limits: SpecLimits;
}

/** @throws ERR_GRAMMAR for a schema that is no use, or strict and cannot be enforced */
export function answerGrammar(
  wish: AnswerWish,
  budget?: Budget,
): { grammar: Grammar; warnings: string[] } {
  const builder = new GrammarBuilder(budget);
  const warnings: string[] = [];
  builder.start(new AnswerGrammar(wish, builder, warnings).answer());
  return { grammar: builder.build(), warnings };
}

class AnswerGrammar {
  readonly #wish: AnswerWish;
  readonly #builder: GrammarBuilder;
  readonly #warnings: string[];
  readonly #literals: Literals;

  constructor(wish: AnswerWish, builder: GrammarBuilder, warnings: string[]) {
    this.#wish = wish;
    this.#builder = builder;
    this.#warnings = warnings;
    this.#literals = new Literals(builder, wish.marks, wish.format.calls?.ids ?? 'call');
  }

  answer(): Sym {
    const { format, beginning } = this.#wish;
    const { reasoning } = format;
    const body = this.#body();
    if (reasoning === null || beginning === 'reasoned') return body;
    const { sequence, choice } = this.#helpers();
    const rest = sequence(this.#until(reasoning.end), this.#text(reasoning.end.trim()), body);
    if (beginning === 'reasoning') return rest;
    if (beginning === 'ending') return sequence(this.#text(reasoning.end.trim()), body);
    if (reasoning.start === '') return body;
    return choice(body, sequence(this.#space(), this.#text(reasoning.start.trim()), rest));
  }

  #helpers() {
    const builder = this.#builder;
    return {
      sequence: (...symbols: Sym[]) => builder.sequence(...symbols),
      choice: (...symbols: Sym[]) => builder.choice(...symbols),
    };
  }

  #text(text: string): Sym {
    return this.#literals.text(text);
  }

  /** Between parts of an answer; models put line feeds there that no part has. */
  #space(): Sym {
    const { regex } = this.#builder;
    return { terminal: regex.repeat(regex.texts([' ', '\n', '\t', '\r']), 0, 8) };
  }

  /** Any text up to a marker that is not in it. */
  #until(marker: string): Sym {
    const text = marker.trim();
    return { terminal: this.#without(isMark(text[0]) || text === '' ? [] : [text]) };
  }

  #without(texts: readonly string[], starts: readonly string[] = []): Regex {
    const { regex } = this.#builder;
    const any = regex.anyBytes();
    const parts = [any];
    if (texts.length > 0) parts.push(regex.not(regex.concat(any, regex.texts(texts), any)));
    if (starts.length > 0) {
      const space = regex.repeat(regex.texts([' ', '\n', '\t', '\r']), 0, Infinity);
      parts.push(regex.not(regex.concat(space, regex.texts(starts), any)));
    }
    return regex.and(...parts);
  }

  /** What comes after reasoning. */
  #body(): Sym {
    const { format, tools } = this.#wish;
    const hasCalls = tools.callable.length > 0 && format.calls !== null;
    const calls = hasCalls ? this.#calls() : null;
    const fenced = format.content.start !== '';
    const content = fenced ? this.#fenced(format.content) : this.#free(false);
    if (calls === null) return fenced ? this.#sequenceOfBlocks(content) : content;
    if (tools.minCalls > 0) {
      const before = fenced ? [this.#blocks(), this.#space()] : [this.#space()];
      return this.#builder.sequence(...before, calls);
    }
    if (fenced) {
      const { sequence, choice } = this.#helpers();
      // Content whose end is written may have calls behind it.
      const before = format.content.end === '' ? this.#space() : this.#builder.optional(content);
      return this.#sequenceOfBlocks(choice(content, sequence(before, this.#space(), calls)));
    }
    const bare = format.calls?.bare || this.#wish.content !== undefined;
    const before = bare ? this.#space() : this.#free(true);
    return this.#builder.choice(content, this.#builder.sequence(before, calls));
  }

  /** Content in its fence, or the caller's constraint there. */
  #fenced({ start, end }: Fence): Sym {
    const inner = this.#wish.content === undefined ? this.#until(end) : this.#constrained();
    return this.#builder.sequence(this.#space(), this.#text(start), inner, this.#text(end));
  }

  /** More reasoning and remarks, before what an answer ends with. */
  #blocks(): Sym {
    const { reasoning, preamble } = this.#wish.format;
    const blocks: Sym[] = [];
    for (const fence of [reasoning, preamble]) {
      if (fence == null || fence.start === '') continue;
      const parts = [this.#text(fence.start.trim()), this.#until(fence.end), this.#text(fence.end)];
      blocks.push(this.#builder.sequence(...parts));
    }
    return blocks.length === 0
      ? this.#space()
      : this.#builder.star(this.#builder.choice(...blocks));
  }

  #sequenceOfBlocks(last: Sym): Sym {
    return this.#builder.sequence(this.#blocks(), last);
  }

  /** @param beforeCalls false: all of the answer */
  #free(beforeCalls: boolean): Sym {
    const { format, content, beginning, tools } = this.#wish;
    if (content !== undefined && !beforeCalls) {
      const constrained = this.#constrained();
      if (beginning === 'start' && format.reasoning === null) return constrained;
      return this.#builder.sequence(this.#space(), constrained);
    }
    const texts: string[] = [];
    const starts: string[] = [];
    const opening = format.reasoning?.start.trim() ?? '';
    if (opening !== '' && !isMark(opening[0])) starts.push(opening);
    // Where tools are described but none may be called, their markers are kept out as well.
    if (format.calls !== null && tools.tools.length > 0) {
      texts.push(...triggersOf(format.calls).filter((trigger) => !isMark(trigger[0])));
      if (format.calls.bare) starts.push(...this.#bareHeads(format.calls));
    }
    return { terminal: this.#without(texts, starts) };
  }

  #bareHeads({ section, forms, arguments: style }: CallFormat): string[] {
    const heads = forms.flatMap(({ start, nameEnd }) => {
      const head = (section.start + start).trim();
      if (style.kind === 'json') return [head];
      return this.#wish.tools.tools.map(({ name }) => head + name + nameEnd);
    });
    return heads.filter((head) => head !== '' && !isMark(head));
  }

  #constrained(): Sym {
    const { content, limits } = this.#wish;
    return symbolOf(content as GrammarSpec, limits, this.#builder, this.#warnings);
  }

  #calls(): Sym {
    const { format, tools } = this.#wish;
    const calls = format.calls as CallFormat;
    const most = calls.parallel ? tools.maxCalls : 1;
    const { sequence, choice } = this.#helpers();
    const own = new ArgumentGrammar(
      this.#builder,
      this.#literals,
      this.#wish.limits,
      this.#warnings,
    );
    const args = new Map<Tool, Sym>(
      tools.callable.map((tool) => [tool, own.of(tool, calls.arguments)]),
    );
    const heads = calls.forms.map(({ start, nameEnd }) => {
      const named = tools.callable.map((tool) =>
        sequence(this.#literals.text(tool.name + nameEnd, tool.name), args.get(tool) as Sym),
      );
      const first = this.#repeatsName(start)
        ? named.map((one, i) => sequence(this.#literals.text(start, tools.callable[i].name), one))
        : [sequence(this.#text(start), choice(...named))];
      return choice(...first);
    });
    const call = sequence(choice(...heads), this.#text(calls.end));
    const many = this.#builder.separated(call, this.#text(calls.separator), 1, most);
    const { start, end } = calls.section;
    return sequence(this.#text(start.trimStart()), many, this.#text(end), this.#space());
  }

  #repeatsName(start: string): boolean {
    return Literals.hasName(start);
  }
}
