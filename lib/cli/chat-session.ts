/** A chat with a model that is loaded: entries become answers and commands until it ends. */
import { writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { SamplingParams } from '../core/sampling-params.js';
import type { LLM } from '../engine/llm.js';
import type { DeltaOutput } from '../engine/outputs.js';
import { isOctavoError, octavoError } from '../errors.js';
import { type Entry, readEntry } from './chat-entries.js';
import {
  type ChatLines,
  type LineEvents,
  PipeLines,
  type Screen,
  TerminalLines,
} from './chat-lines.js';
import { ChatScreen } from './chat-screen.js';
import { type AnswerFigures, ChatStats } from './chat-stats.js';
import { Conversation, messagesOf, type TellOptions } from './conversation.js';
import { readText } from './model-flags.js';
import { errorLine, printRows } from './report.js';

/** Where a chat is held: the process's own streams, or others that act like them. */
export interface ChatStreams {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Screen;
  readonly notes: Screen;
}

export interface ChatWishes extends Omit<TellOptions, 'maxTokens'> {
  readonly params: SamplingParams & { readonly maxTokens: number };
  readonly useModelDefaults: boolean;
}

/** Exit code of what Ctrl-C ends. */
const INTERRUPTED = 130;

const HELP = [
  ['/system TEXT', 'what the model is told first; /system alone shows it'],
  ['/reset', 'forget what was said; /reset all: the system message, too'],
  ['/save FILE', 'write the messages as JSON'],
  ['/load FILE', 'go on with the messages of a file'],
  ['/stats', 'tokens/s, TTFT, KV blocks, prefix hits'],
  ['/help', 'this'],
  ['/exit', 'end; so does Ctrl-D'],
  ['\\', 'at the end of a line: the text goes on in the next'],
  ["''' … '''", 'a text of several lines'],
  ['//', 'at the beginning: a text that begins with a slash'],
  ['Ctrl-C', 'stops the answer; a second time it ends the chat'],
] as const;

export class ChatSession implements LineEvents {
  readonly #llm: LLM;
  readonly #wishes: ChatWishes;
  readonly #conversation: Conversation;
  readonly #screen: ChatScreen;
  readonly #notes: Writable;
  readonly #lines: ChatLines;
  readonly #isTerminal: boolean;
  readonly #stats: ChatStats;
  /** Stops the answer that comes. */
  #answer: AbortController | null = null;
  /** Ctrl-C was pressed, and no line has come since. */
  #isArmed = false;
  #exitCode: number | null = null;
  #hasToldForgetting = false;
  readonly #commands: Record<string, (argument: string) => void | Promise<void>> = {
    system: (argument) => this.#setSystem(argument),
    reset: (argument) => this.#reset(argument),
    save: (argument) => this.#save(argument),
    load: (argument) => this.#load(argument),
    stats: () => printRows(this.#stats.rows(this.#conversation), this.#notes),
    help: () => printRows(HELP, this.#notes),
    exit: () => this.end(0),
  };

  constructor(llm: LLM, wishes: ChatWishes, { input, output, notes }: ChatStreams) {
    this.#llm = llm;
    this.#wishes = wishes;
    this.#conversation = new Conversation(llm, {
      ...wishes,
      maxTokens: wishes.params.maxTokens,
    });
    this.#screen = new ChatScreen(output, notes);
    this.#notes = notes;
    this.#stats = new ChatStats(llm);
    const screen = [output, notes].find(({ isTTY }) => isTTY);
    this.#isTerminal = input.isTTY === true && screen !== undefined;
    this.#lines =
      this.#isTerminal && screen !== undefined
        ? new TerminalLines(input, screen, this)
        : new PipeLines(input, this);
  }

  /**
   * Until the input ends, or the user ends it. A pipe's first error ends it, too; at a terminal
   * errors are told, and the chat goes on.
   * @returns the exit code
   */
  async run(system?: string): Promise<number> {
    try {
      if (system !== undefined) this.#conversation.setSystem(system);
      if (this.#isTerminal) this.#greet();
      while (this.#exitCode === null) {
        try {
          const entry = await readEntry(this.#lines);
          if (entry === null) break;
          await this.#take(entry);
        } catch (error) {
          if (!this.#isTerminal || !isOctavoError(error)) throw error;
          this.#notes.write(errorLine(error));
        }
      }
      return this.#exitCode ?? 0;
    } finally {
      this.#lines.close();
      this.#stats.close();
    }
  }

  /** What comes now was not there when Ctrl-C was pressed. */
  onLine(): void {
    this.#isArmed = false;
  }

  /**
   * Ctrl-C: stops the answer, or clears what is typed. The second ends the chat, over a pipe also
   * the first where there is nothing to stop.
   */
  onInterrupt(): void {
    const isSecond = this.#isArmed;
    this.#isArmed = true;
    const isIdle = this.#answer === null;
    if (isSecond || (isIdle && !this.#isTerminal)) this.end(INTERRUPTED);
    else if (isIdle) this.#clearLine();
    else this.#answer?.abort();
  }

  #clearLine(): void {
    this.#screen.note('\n(Ctrl-C again ends the chat)');
    this.#lines.cancel();
  }

  /** Ends it wherever it is. */
  end(exitCode: number): void {
    this.#exitCode ??= exitCode;
    this.#answer?.abort();
    this.#lines.close();
  }

  #greet(): void {
    const { architecture, device, maxModelLen } = this.#llm.info;
    const about = `${architecture} (${device}, ${maxModelLen} tokens)`;
    this.#screen.note(`octavo: ${about}; /help lists the commands, Ctrl-D ends`);
  }

  async #take(entry: Entry): Promise<void> {
    if ('text' in entry) {
      this.#conversation.add({ role: 'user', content: entry.text });
      return this.#respond();
    }
    const { command, argument } = entry;
    if (!Object.hasOwn(this.#commands, command)) throw noCommand(command, this.#commands);
    await this.#commands[command](argument);
  }

  #setSystem(text: string): void {
    if (text === '') {
      this.#screen.note(this.#conversation.system || '(there is no system message)');
      return;
    }
    this.#conversation.setSystem(text);
    this.#say('(the system message is set)');
  }

  /** @throws ERR_INVALID_PARAM */
  #reset(what: string): void {
    if (what !== '' && what !== 'all') {
      const sentence = '/reset forgets what was said, /reset all the system message, too';
      throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'reset' });
    }
    if (what === 'all') this.#conversation.setSystem('');
    this.#conversation.reset();
    this.#hasToldForgetting = false;
    this.#say('(all that was said is forgotten)');
  }

  /** @throws ERR_FILE */
  async #save(argument: string): Promise<void> {
    const path = pathOf('save', argument);
    const { messages } = this.#conversation;
    try {
      await writeFile(path, `${JSON.stringify(messages, null, 2)}\n`);
    } catch (cause) {
      const sentence = `cannot write ${path}: ${(cause as Error).message}`;
      throw octavoError('ERR_FILE', sentence, { param: path, cause });
    }
    this.#say(`(${messages.length} messages are in ${path})`);
  }

  /** @throws ERR_FILE; then all that was said stays */
  async #load(argument: string): Promise<void> {
    const path = pathOf('load', argument);
    const messages = messagesOf(path, await readText(path));
    try {
      this.#conversation.load(messages);
    } catch (cause) {
      if (!isOctavoError(cause)) throw cause;
      throw octavoError('ERR_FILE', `${path}: ${cause.message}`, { param: path, cause });
    }
    this.#hasToldForgetting = false;
    this.#say(`(${messages.length} messages are read)`);
    if (this.#conversation.isOpen) await this.#respond();
  }

  /** At a terminal; over a pipe nobody waits for it. */
  #say(text: string): void {
    if (this.#isTerminal) this.#screen.note(text);
  }

  /**
   * The answer to what was said last. What has come when it is stopped or fails stays; where that
   * is nothing, the question is taken back.
   */
  async #respond(): Promise<void> {
    const stop = new AbortController();
    this.#answer = stop;
    const answer = { content: '', reasoning: '' };
    const figures = this.#stats.begin();
    let hasEnded = false;
    try {
      const told = await this.#conversation.tell(stop.signal);
      this.#tellForgetting();
      const { params, useModelDefaults } = this.#wishes;
      const options = { signal: stop.signal, useModelDefaults };
      for await (const output of this.#llm.streamDeltas(told, params, options)) {
        this.#show(output, answer, figures);
        hasEnded = output.finished;
      }
    } catch (error) {
      if (!stop.signal.aborted || !isOctavoError(error)) throw error;
    } finally {
      this.#answer = null;
      const { content, reasoning } = answer;
      const hasCome = content !== '' || reasoning !== '';
      if (hasCome || hasEnded) {
        const thought = reasoning === '' ? {} : { reasoning_content: reasoning };
        this.#conversation.add({ role: 'assistant', content, ...thought });
      } else this.#conversation.withdraw();
      if (hasCome || hasEnded) this.#screen.end();
      if (figures.isCut) this.#say('(cut: --max-tokens, or the context, allows no more)');
      figures.end();
    }
  }

  #show(
    { outputs, numCachedTokens, promptTokenIds }: DeltaOutput,
    answer: { content: string; reasoning: string },
    figures: AnswerFigures,
  ): void {
    figures.setPrompt(promptTokenIds.length, numCachedTokens);
    for (const { events = [], newTokenIds, finishReason } of outputs) {
      figures.add(newTokenIds.length);
      for (const event of events) {
        if (event.type !== 'content' && event.type !== 'reasoning') continue;
        answer[event.type] += event.text;
        this.#screen.show(event);
      }
      if (finishReason === 'length') figures.isCut = true;
    }
  }

  #tellForgetting(): void {
    if (this.#conversation.numForgotten === 0 || this.#hasToldForgetting) return;
    this.#hasToldForgetting = true;
    const { maxModelLen } = this.#llm.info;
    this.#screen.note(
      `octavo: the oldest turns no longer fit into ${maxModelLen} tokens; the model is not told ` +
        'them any more (/save has them)',
    );
  }
}

/** @throws ERR_INVALID_PARAM */
function pathOf(command: string, argument: string): string {
  if (argument === '') {
    const sentence = `/${command} needs the name of a file`;
    throw octavoError('ERR_INVALID_PARAM', sentence, { param: command });
  }
  return argument.startsWith('~/') ? join(homedir(), argument.slice(2)) : argument;
}

function noCommand(name: string, commands: object): Error {
  const known = Object.keys(commands).map((one) => `/${one}`);
  const sentence = `there is no command /${name}; known are ${known.join(', ')}`;
  return octavoError('ERR_INVALID_PARAM', sentence, { param: `/${name}` });
}
