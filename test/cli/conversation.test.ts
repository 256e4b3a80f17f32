/** What of a chat the model is told, with the bundled model: its context has 96 tokens here. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChatSession } from '../../lib/cli/chat-session.js';
import { Conversation } from '../../lib/cli/conversation.js';
import { LLM } from '../../lib/index.js';
import { FakePipe } from '../support/fake-terminal.js';

const SIZE = 96;
let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load({ maxModelLen: SIZE, numThreads: 1 });
});
afterAll(() => llm.close());

const { signal } = new AbortController();
const newConversation = (maxTokens = 1000) => new Conversation(llm, { template: {}, maxTokens });
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const encoded = (messages: { role: string; content: string }[]) => llm.encode({ messages });

/** Says so many turns of about so many tokens. */
function talk(conversation: Conversation, numTurns: number, words = 3): void {
  for (let i = 0; i < numTurns; i++) {
    conversation.add(user(`Q${i}${' the sea'.repeat(words)}`));
    conversation.add(assistant(`A${i}`));
  }
}

describe('a conversation', () => {
  it('is told whole while it leaves an answer its room', async () => {
    const conversation = newConversation();
    conversation.setSystem('Be kind.');
    talk(conversation, 1);
    conversation.add(user('Well?'));
    const { promptTokenIds } = await conversation.tell(signal);
    expect(promptTokenIds).toEqual(await encoded(conversation.messages as never));
    expect(conversation.numForgotten).toBe(0);
  });

  it('drops its oldest turns for good, never the system message, until half is free', async () => {
    const conversation = newConversation();
    conversation.setSystem('Be kind.');
    talk(conversation, 12);
    conversation.add(user('Well?'));
    const { promptTokenIds } = await conversation.tell(signal);
    const { numForgotten, messages } = conversation;
    expect(numForgotten % 2).toBe(0);
    const rest = [messages[0], ...messages.slice(1 + numForgotten)];
    expect(promptTokenIds).toEqual(await encoded(rest as never));
    expect(promptTokenIds.length).toBeLessThanOrEqual(SIZE / 2);
    // One turn more would have been more than half.
    const more = [messages[0], ...messages.slice(1 + numForgotten - 2)];
    expect((await encoded(more as never)).length).toBeGreaterThan(SIZE / 2);
    // The next question finds room, and what it begins with is what the last one began with.
    conversation.add(assistant('So'));
    conversation.add(user('And?'));
    const next = await conversation.tell(signal);
    expect(conversation.numForgotten).toBe(numForgotten);
    const head = promptTokenIds.slice(0, -1);
    expect(next.promptTokenIds.slice(0, head.length)).toEqual(head);
    expect(messages).toHaveLength(26);
  });

  it('keeps less room for answers that may not be long', async () => {
    const conversation = newConversation(1);
    let length = 0;
    while (length <= (SIZE * 3) / 4) {
      talk(conversation, 1, 0);
      length = (await encoded([...conversation.messages, user('?')] as never)).length;
    }
    conversation.add(user('?'));
    expect((await conversation.tell(signal)).promptTokenIds).toHaveLength(length);
    const careful = newConversation();
    for (const message of conversation.messages) careful.add(message);
    expect((await careful.tell(signal)).promptTokenIds.length).toBeLessThanOrEqual(SIZE / 2);
  });

  it('keeps the last turn, however long; one that fits nowhere is refused', async () => {
    const conversation = newConversation();
    talk(conversation, 2);
    conversation.add(user('the sea '.repeat(36)));
    const { promptTokenIds } = await conversation.tell(signal);
    expect(conversation.numForgotten).toBe(4);
    expect(promptTokenIds.length).toBeGreaterThan((SIZE * 3) / 4);
    conversation.withdraw();
    expect(conversation.numForgotten).toBe(4);
    conversation.add(user('the sea '.repeat(200)));
    await expect(conversation.tell(signal)).rejects.toMatchObject({ code: 'ERR_PROMPT_TOO_LONG' });
    conversation.withdraw();
    conversation.reset();
    conversation.add(user('the sea'));
    expect((await conversation.tell(signal)).promptTokenIds).toEqual(
      await encoded([user('the sea')]),
    );
  });

  it('keeps its system message where the template takes none', () => {
    const chatTemplate =
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x";
    const conversation = new Conversation(llm, { template: { chatTemplate }, maxTokens: 9 });
    expect(() => conversation.setSystem('Be kind.')).toThrow(/no system/);
    expect(() => conversation.load([{ role: 'system', content: 'a' }])).toThrow(/no system/);
    expect(conversation.messages).toEqual([]);
    conversation.load([user('a')]);
    expect(conversation.isOpen).toBe(true);
    conversation.load([]);
    expect(conversation.messages).toEqual([]);
  });
});

describe('a chat that outgrows the context', () => {
  it('says so once, and goes on; its figures are those of the engine', async () => {
    const pipe = new FakePipe();
    const params = { maxTokens: 24, temperature: 0, ignoreEos: true };
    const wishes = { template: {}, useModelDefaults: false, params };
    const session = new ChatSession(llm, wishes, pipe);
    pipe.input.end(`${'the sea is wide\n'.repeat(6)}/stats\n`);
    expect(await session.run('Be kind.')).toBe(0);
    expect(pipe.stdout.split('\n').length).toBeGreaterThan(6);
    expect(pipe.stderr.match(/the oldest turns no longer fit into 96 tokens/g)).toHaveLength(1);
    expect(pipe.stderr).toMatch(/last answer +24 tokens, [\d.]+ tokens\/s, cut at --max-tokens/);
    expect(pipe.stderr).toMatch(/TTFT +[\d.]+ ms\n/);
    expect(pipe.stderr).toMatch(/answers +6, 144 tokens\n/);
    const { prefixCacheHits, prefixCacheQueries, peakKvCacheUsage } = llm.stats();
    expect(prefixCacheHits).toBeGreaterThan(0);
    expect(pipe.stderr).toContain(`${prefixCacheHits} of ${prefixCacheQueries} prompt tokens`);
    const numUsed = Math.round(peakKvCacheUsage * (llm.info.numBlocks - 1));
    expect(numUsed).toBeGreaterThan(2);
    expect(pipe.stderr).toMatch(new RegExp(`KV blocks +${numUsed} of [\\d,]+ at most, \\d+ hold`));
    expect(pipe.stderr).toMatch(/messages +13, the oldest \d+ left out/);
  });
});
