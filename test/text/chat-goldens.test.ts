/** Whole templates in whole conversations, against what Hugging Face's own renderer makes of them. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type ChatMessage, ChatTemplate } from '../../lib/text/chat-template.js';
import { ALL } from '../support/all.js';
import { type Package, templateOf } from '../support/template-packages.js';
import { NOW, readExpressions, TEMPLATES, TOKENS, wrong } from './jinja/support.js';
import { readJson } from './support.js';

const SHARED = fileURLToPath(new URL('../../../shared/goldens/chat-templates/', import.meta.url));

interface Conversation {
  name: string;
  messages: ChatMessage[];
  tools?: unknown[];
  documents?: unknown[];
  variables?: Record<string, unknown>;
  also?: string;
}

interface Case {
  conversation: string;
  options: { add_generation_prompt?: boolean; continue_final_message?: boolean };
  text?: string;
  sha256?: string;
  error?: string;
}

const anyTemplate = new ChatTemplate('');

function sha(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function rendered(
  template: string,
  talk: Conversation,
  { options }: Case,
  tokens: object,
): Case['text'] {
  const { messages, tools, documents, variables } = talk;
  const given = { ...tokens, ...variables, tools, documents, now: NOW, chatTemplate: template };
  const flags = {
    addGenerationPrompt: options.add_generation_prompt,
    continueFinalMessage: options.continue_final_message,
  };
  try {
    return anyTemplate.render(messages, { ...given, ...flags });
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_CHAT_TEMPLATE') throw error;
    return undefined;
  }
}

/**
 * Cases that come out otherwise. Right as well: what the reference makes of a conversation that is
 * the same but for its spelling; texts for lists where the reference takes no lists.
 */
function differing(
  template: string,
  cases: readonly Case[],
  talks: readonly Conversation[],
  tokens: object,
): Case[] {
  const key = (name: string, { options }: Case) => name + JSON.stringify(options);
  const known = new Map(cases.map((c) => [key(c.conversation, c), c]));
  const matches = (text: string, c: Case | undefined) =>
    c !== undefined && (c.text === undefined ? c.sha256 === sha(text) : c.text === text);
  return cases.filter((c) => {
    const talk = talks.find(({ name }) => name === c.conversation) as Conversation;
    const text = rendered(template, talk, c, tokens);
    if (text === undefined) return c.error === undefined;
    if (matches(text, c) || (talk.also && matches(text, known.get(key(talk.also, c)))))
      return false;
    return !(c.error !== undefined && /parts|result-list/.test(talk.name));
  });
}

function checkOwn(folder: string): void {
  const talks = readJson<Conversation[]>(`${folder}conversations.json`);
  const renders = readJson<(Case & { template: string })[]>(`${folder}renders.json`);
  it.each(readdirSync(`${folder}templates`))('%s', (file) => {
    const cases = renders.filter(({ template }) => template === file);
    expect(cases.length).toBeGreaterThan(0);
    expect(
      differing(readFileSync(`${folder}templates/${file}`, 'utf8'), cases, talks, TOKENS),
    ).toEqual([]);
  });
}

describe('templates in the idioms of the families, as transformers renders them', () => {
  checkOwn(TEMPLATES);
});

const shared = ALL && existsSync(SHARED);
if (ALL && !shared) console.log(`skipped, all reference renders: there is no ${SHARED}`);

describe.skipIf(!shared)('all references', () => {
  if (!shared) return;
  it('expressions', () => {
    expect(wrong(readExpressions(SHARED))).toEqual([]);
  });
  checkOwn(SHARED);
});

interface Published extends Package {
  template_sha256: string;
  special_tokens: Record<string, string>;
  cases: Case[];
}

describe.skipIf(!shared)("real models' templates", () => {
  if (!shared) return;
  const talks = readJson<Conversation[]>(`${SHARED}conversations.json`);
  it.each(readJson<Published[]>(`${SHARED}packages.json`))(
    '$package $file',
    (found) => {
      const template = templateOf(found);
      if (template === undefined) return;
      expect(sha(template)).toBe(found.template_sha256);
      const none = Object.fromEntries(Object.keys(TOKENS).map((name) => [name, undefined]));
      const tokens = { ...none, ...found.special_tokens };
      expect(differing(template, found.cases, talks, tokens)).toEqual([]);
    },
    600_000,
  );
});
