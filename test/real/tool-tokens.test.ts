/**
 * Calls as templates render them, cut by the vocabularies of known models: token by token, through
 * what the engine reads ids with, they are the same calls again.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { tokenizerOf } from '../../bench/support/vocabularies.js';
import { OutputText } from '../../lib/text/output-text.js';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import { join } from '../../lib/tools/chat-events.js';
import { checkTools } from '../../lib/tools/definitions.js';
import { AnswerParser } from '../../lib/tools/parser.js';
import type { ChatEvent } from '../../lib/tools/types.js';
import { sample } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { KNOWN } from '../support/vocabulary-walks.js';
import { collect, type Drawn, drawTurn, type Subject, subject } from '../tools/support.js';

/** Ids of a marked text: control tokens as they are, what only spells one as plain text. */
async function idsOf(tokenizer: Tokenizer, text: string, { marks }: Subject) {
  const ids: number[] = [];
  for (const part of text.split(/([\udc00-\udfff])/u)) {
    if (/^[\udc00-\udfff]$/u.test(part)) ids.push(marks.idOf(part));
    else if (part !== '') {
      ids.push(
        ...(await tokenizer.encode(part, { addSpecialTokens: false, parseSpecialTokens: false })),
      );
    }
  }
  return ids;
}

function answerOf(tokenizer: Tokenizer, own: Subject, ids: readonly number[], drawn: Drawn) {
  const { callable } = checkTools({ tools: drawn.tools });
  const parser = new AnswerParser(own.marked, callable, drawn.beginning, false);
  const output = new OutputText(tokenizer, { marks: own.marks });
  const events: ChatEvent[] = [];
  for (const id of ids) {
    output.push(id);
    join(events, parser.push(output.takeMarked()));
  }
  output.finish();
  join(events, parser.push(output.takeMarked()));
  join(events, parser.finish());
  return collect(events);
}

// Without one the file would have no test, which is a fault.
if (KNOWN.length === 0) it.skip('there is no known vocabulary', () => {});

describe.each(KNOWN)('over the vocabulary of $name', (known) => {
  let tokenizer: Tokenizer;
  beforeAll(() => {
    tokenizer = tokenizerOf(known);
  });

  it.each(Object.keys(FAMILIES))('%s: the same calls, token by token', async (family) => {
    const own = subject(FAMILIES[family].source, {}, tokenizer);
    const draws = random(SEED + family.length * 7919);
    const rounds = sample(4, 60);
    for (let i = 0; i < rounds; i++) {
      const drawn = drawTurn(own, FAMILIES[family], draws);
      const ids = await idsOf(tokenizer, drawn.text, own);
      const answer = answerOf(tokenizer, own, ids, drawn);
      const calls = answer.calls.map((call) => ({ name: call.name, args: JSON.parse(call.text) }));
      const { text, turn } = drawn;
      expect({ text, calls }).toEqual({ text, calls: turn.calls });
      expect(answer.calls.every(({ ended }) => ended)).toBe(true);
      expect(answer.content).toBe(turn.content);
      expect(answer.reasoning).toBe(turn.reasoning ?? '');
    }
  });
});
