/** How much of an answer its parser looks at: counted, not timed. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Expected } from '../../lib/tools/matching.js';
import type { ToolDefinition } from '../../lib/tools/types.js';
import { FAMILIES } from '../support/tool-families.js';
import { type Answer, parse, subject } from './support.js';

/** Characters that were looked at. */
const work = vi.hoisted(() => ({ count: 0 }));

vi.mock('../../lib/tools/matching.js', async (original) => {
  const real = await original<typeof import('../../lib/tools/matching.js')>();
  class Markers extends real.Markers {
    override find(text: string, from = 0) {
      const found = super.find(text, from);
      work.count += 1 + (found === null ? text.length : found.at) - from;
      return found;
    }
    override held(text: string) {
      work.count++;
      return super.held(text);
    }
  }
  const matchAt = (text: string, from: number, expected: Expected) => {
    const outcome = real.matchAt(text, from, expected);
    const { length } = expected.pattern;
    const end = outcome === 'more' ? text.length : outcome === null ? from + length : outcome.end;
    work.count += 1 + end - from;
    return outcome;
  };
  const skipSpace = (text: string, from: number) => {
    const end = real.skipSpace(text, from);
    work.count += 1 + end - from;
    return end;
  };
  return { ...real, Markers, matchAt, skipSpace };
});

vi.mock('../../lib/tools/json-reader.js', async (original) => {
  const real = await original<typeof import('../../lib/tools/json-reader.js')>();
  class JsonReader extends real.JsonReader {
    override read(text: string) {
      const read = super.read(text);
      work.count += read.used;
      return read;
    }
  }
  return { ...real, JsonReader };
});

beforeEach(() => {
  work.count = 0;
});

const tool = (name: string, properties: object = {}): ToolDefinition => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties } },
});
const tools = [tool('get', { s: { type: 'string' }, o: { type: 'object' } }), tool('put')];
const hermes = subject(FAMILIES.qwen3.source);
const coder = subject(FAMILIES.qwen3_coder.source);
const dsml = subject(FAMILIES.deepseek_v32.source);
const gemma = subject(FAMILIES.gemma4.source);
const glm = subject(FAMILIES.glm47.source);
const lfm = subject(FAMILIES.lfm2.source);
const gemmaText = (text: string) => gemma.marks.mark(text);

const json = '<tool_call>\n{"name": "get", "arguments": ';
const tagged = '<tool_call>\n<function=get>\n';
const fill = (part: string, length: number) => part.repeat(Math.ceil(length / part.length));

/** Answers of about a length: what is written in them, and what a hostile writer would. */
const ANSWERS: [string, typeof hermes, (length: number) => string][] = [
  ['words', hermes, (n) => fill('a < b ', n)],
  ['beginnings of markers', hermes, (n) => fill('<tool_cal', n)],
  ['markers that begin no call', hermes, (n) => fill('<tool_call>', n)],
  ['markers of a section that never comes', dsml, (n) => fill('<｜DSML｜', n)],
  ['spaces', hermes, (n) => fill(' \n', n)],
  ['words and spaces', hermes, (n) => fill(`a${' '.repeat(900)}`, n)],
  ['reasoning', hermes, (n) => `<think>${fill('</thin', n)}</think>`],
  ['calls', hermes, (n) => fill(`${json}{"s": "x"}}\n</tool_call>\n`, n)],
  ['calls and spaces', hermes, (n) => fill(`${json}{}}\n</tool_call>${' '.repeat(900)}`, n)],
  ['a long argument', hermes, (n) => `${json}{"s": "${fill('\\"}', n)}"}}\n</tool_call>`],
  ['what is no argument', hermes, (n) => `${json}${fill('</tool_cal ', n)}</tool_call>`],
  ['tagged arguments', coder, (n) => tagged + fill('<parameter=s>\nx\n</parameter>\n', n)],
  ['a tagged text', coder, (n) => `${tagged}<parameter=s>\n${fill('\n</parameter', n)}`],
  ['a tagged value of any type', coder, (n) => `${tagged}<parameter=u>\n${fill('{"a" ', n)}`],
  ['a tagged object', coder, (n) => `${tagged}<parameter=o>\n{"a": "${fill('</parameter>', n)}`],
  ['spaces before a tagged object', coder, (n) => `${tagged}<parameter=o>\n${fill(' ', n)}`],
  ['what follows a tagged object', coder, (n) => `${tagged}<parameter=o>\n{}${fill('\n<', n)}`],
  ['a key without an end', coder, (n) => `${tagged}<parameter=${fill('k', n)}`],
  ['arguments that tell their types', dsml, (n) => fill(dsmlCall(), n)],
  ['a name without an end', glm, (n) => `<tool_call>${fill('get', n)}`],
  ['quoted arguments', gemma, (n) => gemmaText(`<|tool_call>call:get{a:[${fill('1,', n)}`)],
  ['a quoted text', gemma, (n) => gemmaText('<|tool_call>call:get{s:<|"|>') + fill('<|"', n)],
  ['a quoted key', gemma, (n) => gemmaText('<|tool_call>call:get{') + fill('k', n)],
  ['arguments of Python', lfm, (n) => lfm.marks.mark('<|tool_call_start|>[get(') + fill('a=1,', n)],
];

function dsmlCall(): string {
  const parameter = '<｜DSML｜parameter name="s" string="true">x</｜DSML｜parameter>\n';
  return `<｜DSML｜function_calls>\n<｜DSML｜invoke name="get">\n${parameter}</｜DSML｜invoke>\n</｜DSML｜function_calls>`;
}

const LENGTH = 6000;
/** Looks at a character, in the worst of them; a head is looked at for each tool and form. */
const MOST = 40;

describe.each([
  ['in one piece', Number.MAX_SAFE_INTEGER],
  ['in words', 5],
  ['by characters', 1],
])('%s', (_, size) => {
  it.each(ANSWERS)('%s: twice as much is twice the work', (_, own, write) => {
    const counted = (length: number): [number, Answer] => {
      work.count = 0;
      const text = write(length);
      const answer = parse(own, tools, text, 'start', () => size);
      return [work.count / text.length, answer];
    };
    const [once] = counted(LENGTH);
    const [twice] = counted(2 * LENGTH);
    const [more] = counted(4 * LENGTH);
    expect({ once, twice, more }).toEqual({
      once: expect.toSatisfy((work: number) => work > 0 && work < MOST),
      twice: expect.toSatisfy((work: number) => work < MOST),
      more: expect.toSatisfy((work: number) => work < 1.3 * once + 1),
    });
  });
});
