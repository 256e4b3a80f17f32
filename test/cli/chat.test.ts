/** `octavo chat` as a process, over pipes. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import type { ChatMessage } from '../../lib/text/chat-template.js';
import { ROOT } from '../support/addon.js';
import { temporaryFolder } from '../support/write-model.js';

const BIN = join(ROOT, 'bin', 'octavo.js');
const folder = temporaryFolder();
const GREEDY = ['--temperature', '0', '--max-tokens', '16'];

function octavo(args: string[], input: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, 'chat', ...args], {
    encoding: 'utf8',
    input,
  });
  return { status, stdout, stderr };
}

const ended = (child: ChildProcess) => new Promise((resolve) => child.on('close', resolve));

/** A chat whose answers do not end by themselves. */
function endless() {
  const slow = ['--max-tokens', '900', '--ignore-eos', '--num-threads', '1', '--isa', 'scalar'];
  const child = spawn(process.execPath, [BIN, 'chat', ...slow]);
  const said = { stdout: '', stderr: '' };
  let tell: () => void = () => {};
  child.stdout.on('data', (data) => {
    said.stdout += data;
    tell();
  });
  child.stderr.on('data', (data) => {
    said.stderr += data;
  });
  /** The next piece of an answer. */
  const more = () => new Promise<void>((resolve) => (tell = resolve));
  return { child, said, more, ended: ended(child) };
}

describe('octavo chat', () => {
  it('answers each line as the library answers the conversation so far', async () => {
    const llm = await LLM.load();
    const messages: ChatMessage[] = [{ role: 'system', content: 'Be brief.' }];
    let expected = '';
    for (const content of ['Call me Ishmael.', 'The sea']) {
      messages.push({ role: 'user', content });
      const params = { temperature: 0, maxTokens: 16, stop: ['\n\nUser:'] };
      const { outputs } = await llm.chat(messages, params);
      expected += `${outputs[0].text.trimStart()}\n`;
      messages.push({ role: 'assistant', content: outputs[0].text });
    }
    await llm.close();
    const path = join(folder, 'saved.json');
    const input = `Call me Ishmael.\nThe sea\n/save ${path}`;
    const result = octavo(['--system', 'Be brief.', ...GREEDY], input);
    expect(result).toEqual({ status: 0, stdout: expected, stderr: '' });
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(messages);
  });

  it('an error is a sentence and a code; what was answered stays', () => {
    const { status, stdout, stderr } = octavo(GREEDY, 'The sea\n/bogus\nThe sea\n');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^octavo: there is no command \/bogus; .+ \(ERR_INVALID_PARAM\)\n$/);
    expect(stdout.trim()).not.toBe('');
  });

  it.each([
    [['--model', '/nowhere'], 1, 'ERR_MODEL_NOT_FOUND'],
    [['/nowhere', '--model', '/nowhere'], 2, 'ERR_INVALID_OPTION'],
    [['--temperature', 'hot'], 2, 'ERR_INVALID_PARAM'],
    [['--chat-template', '/nowhere'], 2, 'ERR_FILE'],
    [['--chat-template', '{{ raise_exception("no") }}'], 2, 'ERR_CHAT_TEMPLATE'],
  ])('%j is refused before anything is read', (args, code, name) => {
    const { status, stdout, stderr } = octavo(args, 'a\n');
    expect({ status, stdout }).toEqual({ status: code, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^octavo: .+ \\(${name}\\)\n$`));
  });

  it('a model without a template is refused, unless one is named', () => {
    const model = join(folder, 'base');
    cpSync(join(ROOT, 'models', 'octavo-demo'), model, { recursive: true });
    const refused = octavo([model], 'a\n');
    expect(refused).toMatchObject({ status: 2, stdout: '' });
    expect(refused.stderr).toMatch(/brings no chat template; --chat-template FILE .+CHAT_TEMPLATE/);
    const bundled = octavo(GREEDY, 'The sea\n');
    expect(octavo([model, '--chat-template', 'default', ...GREEDY], 'The sea\n')).toEqual(bundled);
    const named = octavo([join('models', 'octavo-demo'), ...GREEDY], 'The sea\n');
    expect(named).toEqual(bundled);
    const bell = octavo(
      [model, '--chat-template', '{{ raise_exception("\\x1b]0;no\\x07") }}'],
      'a\n',
    );
    expect(bell.stderr).toContain('␛]0;no␇');
    const own = '{% for m in messages %}{{ m.content }}{% endfor %}';
    const other = octavo([model, '--chat-template', own, ...GREEDY], 'The sea\n');
    expect(other.status).toBe(0);
    expect(other.stdout).not.toBe(bundled.stdout);
  });

  it('SIGINT stops the answer, not the process; the history has what had come', async () => {
    const { child, said, more, ended: end } = endless();
    const path = join(folder, 'stopped.json');
    child.stdin.write('The sea\n');
    await more();
    child.kill('SIGINT');
    while (!said.stdout.endsWith('\n')) await more();
    child.stdin.end(`/save ${path}\n`);
    expect(await end).toBe(0);
    expect(said.stderr).toBe('');
    const [question, answer] = JSON.parse(readFileSync(path, 'utf8'));
    expect(question).toEqual({ role: 'user', content: 'The sea' });
    expect(`${answer.content.trimStart()}\n`).toBe(said.stdout);
  });

  it.each([
    [['SIGINT', 'SIGINT'], 130],
    [['SIGTERM'], 143],
  ] as [NodeJS.Signals[], number][])('%j end it with what had come: %i', async (signals, code) => {
    const { child, said, more, ended: end } = endless();
    child.stdin.write('The sea\n');
    await more();
    child.kill(signals[0]);
    if (signals.length > 1) {
      while (!said.stdout.endsWith('\n')) await more();
      child.kill(signals[1]);
    }
    expect(await end).toBe(code);
    expect(said.stderr).toBe('');
    expect(said.stdout).toMatch(/\S[\s\S]*\n$/);
  });
});
