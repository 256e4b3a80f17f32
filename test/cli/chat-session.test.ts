/** A chat at a terminal that is no terminal, with a model whose answers are scripted. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ChatSession, type ChatStreams } from '../../lib/cli/chat-session.js';
import { octavoError } from '../../lib/errors.js';
import type { ChatMessage } from '../../lib/text/chat-template.js';
import { FakePipe, FakeTerminal, KEYS } from '../support/fake-terminal.js';
import { content, reasoning, type ScriptedAnswer, scripted } from '../support/scripted-llm.js';
import { until } from '../support/until.js';
import { temporaryFolder } from '../support/write-model.js';

const folder = temporaryFolder();

function chat(streams: ChatStreams, script: readonly ScriptedAnswer[], system?: string) {
  const { llm, asked } = scripted(script);
  const wishes = { template: {}, useModelDefaults: true, params: { maxTokens: 100 } };
  const session = new ChatSession(llm, wishes, streams);
  /** The conversations that it was asked to encode. */
  const told = () =>
    asked.flatMap(({ prompt }) =>
      prompt.messages === undefined ? [] : [prompt.messages as ChatMessage[]],
    );
  return { session, told, asked, code: session.run(system) };
}

const user = (text: string) => ({ role: 'user', content: text });
const assistant = (text: string) => ({ role: 'assistant', content: text });
const says = (...texts: string[]): ScriptedAnswer => ({ steps: texts.map((t) => [content(t)]) });
const STUCK: ScriptedAnswer = { steps: [[content('Half')], [content(' an ans')], 'wait'] };

describe('a chat at a terminal', () => {
  it('streams answers and remembers what was said; Ctrl-D ends it', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [says(' One', ' two'), says('three')], 'Be brief.');
    await terminal.shows('/help lists the commands');
    await terminal.shows('> ');
    terminal.press('first', KEYS.enter);
    await terminal.shows('first');
    await terminal.shows('One two\n');
    await terminal.shows('> ');
    terminal.press('second', KEYS.enter);
    await terminal.shows('three\n');
    await terminal.shows('> ');
    terminal.press(KEYS.ctrlD);
    expect(await code).toBe(0);
    const system = { role: 'system', content: 'Be brief.' };
    const first = [system, user('first')];
    expect(told()).toEqual([first, [...first, assistant(' One two'), user('second')]]);
  });

  it('brings back lines by the arrow keys', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [says('yes')]);
    terminal.press('ab', KEYS.enter);
    await terminal.shows('yes\n');
    await terminal.shows('> ');
    terminal.press(KEYS.up, 'c', KEYS.enter);
    await terminal.shows('yes\n');
    terminal.press('/exit', KEYS.enter);
    expect(await code).toBe(0);
    expect(told()[1].at(-1)).toEqual(user('abc'));
  });

  it('shows reasoning dim and apart, and gives it back to the template', async () => {
    const terminal = new FakeTerminal();
    const steps = [[reasoning('\nHm')], [reasoning(', so')], [content('\n\nAye.')]];
    const { told, code } = chat(terminal, [{ steps }]);
    terminal.press('a', KEYS.enter);
    await terminal.shows('\x1b[2mHm\x1b[22m\x1b[2m, so\x1b[22m\n\nAye.\n');
    terminal.press('b', KEYS.enter);
    await terminal.shows('Aye.\n');
    terminal.press(KEYS.ctrlD);
    await code;
    const answer = { ...assistant('\n\nAye.'), reasoning_content: '\nHm, so' };
    expect(told()[1]).toEqual([user('a'), answer, user('b')]);
  });

  it('obeys nothing that a model writes', async () => {
    const terminal = new FakeTerminal();
    const { code } = chat(terminal, [says('a\x1b]0;title\x07\tb\nc')]);
    terminal.press('x', KEYS.enter);
    await terminal.shows('a␛]0;title␇\tb\nc\n');
    terminal.press(KEYS.ctrlD);
    await code;
  });

  it('Ctrl-C stops an answer: it stays, and the chat goes on; a second one ends it', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [STUCK, says('on')]);
    terminal.press('a', KEYS.enter);
    await terminal.shows('Half an ans');
    terminal.press(KEYS.ctrlC);
    await terminal.shows('> ');
    terminal.press('b', KEYS.enter);
    await terminal.shows('on\n');
    await terminal.shows('> ');
    terminal.press(KEYS.ctrlC);
    await terminal.shows('(Ctrl-C again ends the chat)');
    terminal.press(KEYS.ctrlC);
    expect(await code).toBe(130);
    expect(told()[1]).toEqual([user('a'), assistant('Half an ans'), user('b')]);
  });

  it('a question whose answer was stopped before it began is taken back', async () => {
    const terminal = new FakeTerminal();
    const { told, code, session, asked } = chat(terminal, [{ steps: ['wait'] }, says('on')]);
    terminal.press('a', KEYS.enter);
    await until(() => asked.length === 2);
    session.onInterrupt(); // as a signal has it
    await terminal.shows('> ');
    terminal.press('b', KEYS.enter);
    await terminal.shows('on\n');
    session.onInterrupt();
    session.onInterrupt();
    expect(await code).toBe(130);
    expect(told()[1]).toEqual([user('b')]);
  });

  it('Ctrl-C clears a line, and a block that was begun', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [says('yes')]);
    await terminal.shows('> ');
    terminal.press("'''no", KEYS.enter);
    await terminal.shows('… ');
    terminal.press('more', KEYS.ctrlC);
    await terminal.shows('(Ctrl-C again ends the chat)');
    await terminal.shows('> ');
    terminal.press('this', KEYS.enter);
    await terminal.shows('yes\n');
    terminal.press(KEYS.ctrlD);
    await code;
    expect(told()).toEqual([[user('this')]]);
  });

  it('keeps what is typed while an answer comes, and does not draw it into that', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [STUCK, says('on')]);
    terminal.press('a', KEYS.enter);
    await terminal.shows('Half an ans');
    terminal.press('ahead');
    terminal.press(KEYS.ctrlC);
    await terminal.shows('\n> ahead');
    terminal.press(KEYS.enter);
    await terminal.shows('on\n');
    terminal.press(KEYS.ctrlD);
    await code;
    expect(terminal.drawn).toContain('Half an ans\n');
    expect(told()[1].at(-1)).toEqual(user('ahead'));
  });

  it('takes lines that were pasted together one after another', async () => {
    const terminal = new FakeTerminal();
    const { told, code } = chat(terminal, [says('yes')]);
    terminal.press('a\rb\rc\r', KEYS.ctrlD);
    expect(await code).toBe(0);
    expect(told().map((messages) => messages.at(-1)?.content)).toEqual(['a', 'b', 'c']);
    expect(terminal.drawn.match(/yes\n/g)).toHaveLength(3);
  });

  it('tells errors, and goes on', async () => {
    const terminal = new FakeTerminal();
    const error = octavoError('ERR_NON_FINITE', 'no logit is finite');
    const { told, code } = chat(terminal, [{ steps: [], error }, says('yes')]);
    terminal.press('a', KEYS.enter);
    await terminal.shows('octavo: no logit is finite (ERR_NON_FINITE)\n');
    terminal.press('/nope', KEYS.enter);
    await terminal.shows('there is no command /nope; known are /system, /reset, /save');
    terminal.press('/reset now', KEYS.enter);
    await terminal.shows('/reset all the system message, too (ERR_INVALID_PARAM)');
    terminal.press('/save', KEYS.enter);
    await terminal.shows('/save needs the name of a file (ERR_INVALID_PARAM)');
    terminal.press('b', KEYS.enter);
    await terminal.shows('yes\n');
    terminal.press(KEYS.ctrlD);
    expect(await code).toBe(0);
    expect(told()[1]).toEqual([user('b')]);
  });

  it('what is wrong with the program itself ends it', async () => {
    const terminal = new FakeTerminal();
    const { code } = chat(terminal, [{ steps: [], error: new TypeError('a bug') }]);
    terminal.press('a', KEYS.enter);
    await expect(code).rejects.toThrow('a bug');
  });
});

describe('a chat over a pipe', () => {
  async function piped(text: string, script: readonly ScriptedAnswer[] = [says('yes')]) {
    const pipe = new FakePipe();
    const { code, told } = chat(pipe, script);
    pipe.input.end(text);
    return { code: await code, stdout: pipe.stdout, stderr: pipe.stderr, told: told() };
  }

  it('a line is a turn; \\ and blocks make several lines one; // is a slash', async () => {
    const text = [
      ...['one\r', '', '   ', 'two\\', '\\', 'and half', "'''", '/three', '', " '''", "'''four'''"],
      ...['//five', "'''six", "seven'''", 'last\\'],
    ].join('\n');
    const { code, stdout, stderr, told } = await piped(text);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'yes\n'.repeat(7), stderr: '' });
    const asked = told.at(-1)?.filter(({ role }) => role === 'user');
    const texts = ['one', 'two\n\nand half', '/three\n', 'four', '/five', 'six\nseven', 'last\n'];
    expect(asked?.map(({ content: said }) => said)).toEqual(texts);
  });

  it('leaves reasoning out, and shows what a model writes as it is', async () => {
    const steps = [[reasoning('Hm')], [content('\n\x1b[1mAye')]];
    const { stdout } = await piped('a', [{ steps }]);
    expect(stdout).toBe('\x1b[1mAye\n');
  });

  it('commands: /system in a block, /reset, /save, /load', async () => {
    const path = join(folder, 'saved.json');
    const system = "/system '''\nBe brief,\nbe kind.\n'''\n";
    const { code, stderr } = await piped(`${system}a\n/save ${path}\n/reset\n/save ${path}2\n`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const told = { role: 'system', content: 'Be brief,\nbe kind.' };
    const saved = [told, user('a'), assistant('yes')];
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(saved);
    expect(JSON.parse(readFileSync(`${path}2`, 'utf8'))).toEqual([told]);

    // Who looks at the system message keeps it.
    const loaded = await piped(`x\n/load ${path}\n/system\nb\n/reset all\n/system\nc\n`);
    expect(loaded.told.at(-2)).toEqual([...saved, user('b')]);
    expect(loaded.told.at(-1)).toEqual([user('c')]);
    expect(loaded.stderr).toBe('Be brief,\nbe kind.\n(there is no system message)\n');

    // An object with messages, as requests have it; what is asked last is answered.
    const asking = join(folder, 'asking.json');
    writeFileSync(asking, JSON.stringify({ model: 'm', messages: [told, user('c')] }));
    const answered = await piped(`/load ${asking}\n`);
    expect(answered).toMatchObject({ code: 0, stdout: 'yes\n', told: [[told, user('c')]] });
  });

  it.each([
    ['no file', null, /^cannot read .*nowhere/],
    ['no JSON', '{"a', /bad\.json is not JSON/],
    ['no list', '"messages"', /bad\.json must hold a list of messages/],
    ['null', 'null', /bad\.json must hold a list of messages/],
    ['no messages', '[{"role": "user"}]', /bad\.json: messages\[0\]\.content is missing/],
    ['images', '[{"role":"user","content":[{"type":"image"}]}]', /bad\.json: .*only parts of type/],
  ])('/load of %s is refused', async (_, text, sentence) => {
    const path = join(folder, text === null ? 'nowhere.json' : 'bad.json');
    if (text !== null) writeFileSync(path, text);
    const pipe = new FakePipe();
    const { code } = chat(pipe, [says('yes')]);
    pipe.input.end(`a\n/load ${path}\nnever asked\n`);
    await expect(code).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(sentence),
    });
    expect(pipe.stdout).toBe('yes\n');
  });

  it.each([
    ['/sistem x', 'ERR_INVALID_PARAM', /no command \/sistem/],
    ['/', 'ERR_INVALID_PARAM', /no command \//],
    ['/toString', 'ERR_INVALID_PARAM', /no command \/toString/],
    ['/load', 'ERR_INVALID_PARAM', /\/load needs the name of a file/],
    [`/save ${folder}`, 'ERR_FILE', /cannot write/],
    ["'''\nnever closed", 'ERR_INVALID_PROMPT', /the input ends within a block/],
  ])('%j is an error, which ends it', async (line, code, message) => {
    const pipe = new FakePipe();
    const ended = chat(pipe, [says('yes')]).code;
    pipe.input.end(`${line}\n`);
    const sentence = expect.stringMatching(message);
    await expect(ended).rejects.toMatchObject({ code, message: sentence });
  });

  it('a Ctrl-C stops the answer, one behind it ends what was there already', async () => {
    const pipe = new FakePipe();
    const { session, code, told } = chat(pipe, [STUCK]);
    pipe.input.write('a\nb\n');
    await until(() => pipe.stdout === 'Half an ans');
    session.onInterrupt();
    await until(() => pipe.stdout.endsWith('\nHalf an ans'));
    session.onInterrupt();
    expect(await code).toBe(130);
    expect(told()).toHaveLength(2);
  });

  it('what comes after a Ctrl-C was meant; with nothing to stop one ends it', async () => {
    const pipe = new FakePipe();
    const { session, code } = chat(pipe, [STUCK]);
    for (let i = 1; i <= 3; i++) {
      pipe.input.write(`${i}\n`);
      await until(() => pipe.stdout === 'Half an ans\n'.repeat(i - 1).concat('Half an ans'));
      session.onInterrupt();
      await until(() => pipe.stdout.endsWith('\n'));
      // It waits for a line by now.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    session.end(143);
    expect(await code).toBe(143);
    const idle = chat(new FakePipe(), [says('yes')]);
    idle.session.onInterrupt();
    expect(await idle.code).toBe(130);
  });
});
