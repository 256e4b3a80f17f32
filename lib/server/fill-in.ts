/** A text with a gap, as models that were trained to fill gaps read it: before, after, answer. */
import type { LLM } from '../engine/llm.js';
import type { Prompt } from '../engine/prompts.js';
import { encodeForms } from './encoding.js';
import type { Exchange } from './exchange.js';
import { badRequest } from './problem.js';
import type { TextPrompt } from './prompt-input.js';
import type { CompletionBody } from './schemas/completions.js';

interface Marks {
  /** In front of what stands before the gap, of what stands behind it, and of the answer. */
  readonly marks: readonly [before: string, after: string, answer: string];
  /** What else is no part of an answer. */
  readonly ends?: readonly string[];
  /** Its tokenizer begins every text with a blank. */
  readonly addsBlank?: true;
}

const FAMILIES: readonly Marks[] = [
  // Qwen, CodeGemma
  {
    marks: ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>'],
    ends: ['<|fim_pad|>', '<|repo_name|>', '<|file_sep|>', '<|file_separator|>'],
  },
  // StarCoder, Granite; SantaCoder
  { marks: ['<fim_prefix>', '<fim_suffix>', '<fim_middle>'], ends: ['<fim_pad>', '<file_sep>'] },
  { marks: ['<fim-prefix>', '<fim-suffix>', '<fim-middle>'], ends: ['<fim-pad>'] },
  { marks: ['<｜fim▁begin｜>', '<｜fim▁hole｜>', '<｜fim▁end｜>'] },
  { marks: ['▁<PRE>', '▁<SUF>', '▁<MID>'], ends: ['▁<EOT>'], addsBlank: true },
  // GLM
  { marks: ['<|code_prefix|>', '<|code_suffix|>', '<|code_middle|>'] },
];

/** Of the first family whose marks are all tokens. */
interface Known {
  readonly marks: readonly number[];
  readonly ends: readonly number[];
  readonly addsBlank: boolean;
}

function marksOf({ tokenizer }: LLM): Known | undefined {
  const idOf = (token: string) => tokenizer.tokenToId(token);
  for (const { marks, ends = [], addsBlank = false } of FAMILIES) {
    const ids = marks.map(idOf).filter((id) => id !== undefined);
    if (ids.length < marks.length) continue;
    return { marks: ids, ends: ends.map(idOf).filter((id) => id !== undefined), addsBlank };
  }
  return undefined;
}

/** A word that no neighbour is merged with. */
const ANCHOR = '☺';

/**
 * Prompts of a request with a `suffix`, each made when it is its turn, as all of them have the text
 * behind the gap; and the ids that end an answer: where it ends another file may begin, say.
 * @throws Problem 400
 */
export async function fillIn(
  exchange: Exchange,
  llm: LLM,
  body: CompletionBody,
  prompts: readonly TextPrompt[],
): Promise<{ forms: Iterable<Prompt>[]; ends: readonly number[] }> {
  const known = marksOf(llm);
  if (known === undefined) {
    const why = 'the vocabulary of this model has no tokens for a text that is to be filled in';
    throw badRequest(`suffix: ${why}`, 'suffix');
  }
  refuseBeside(body);
  const [before, after, answer] = known.marks;
  const encode = (text: string) =>
    encodeForms(exchange, llm, [{ prompt: text, parseSpecialTokens: false }], false);
  const behind = async (text: string) => {
    if (!known.addsBlank) return encode(text);
    const [anchor, all] = [await encode(ANCHOR), await encode(ANCHOR + text)];
    return anchor.every((id, i) => all[i] === id) ? all.slice(anchor.length) : encode(text);
  };
  const first = body.add_special_tokens === false ? [] : await encodeForms(exchange, llm, ['']);
  const bos = first.filter((id) => id === llm.tokenizer.bosTokenId);
  const suffix = await behind(body.suffix ?? '');
  const forms: Iterable<Prompt>[] = [];
  for (const prompt of prompts) {
    if (typeof prompt !== 'string') {
      throw badRequest('suffix: stands behind a prompt of text, not of ids', 'suffix');
    }
    const text = await encode(prompt);
    forms.push({
      *[Symbol.iterator]() {
        yield { promptTokenIds: [...bos, before, ...text, after, ...suffix, answer] };
      },
    });
  }
  return { forms, ends: [...known.marks, ...known.ends] };
}

/** What would be told, or cut, of a prompt that is in two parts. */
function refuseBeside(body: CompletionBody): void {
  if (body.truncate_prompt_tokens !== undefined) {
    throw badRequest('truncate_prompt_tokens: cuts no prompt with a suffix', 'suffix');
  }
  if (body.echo && body.logprobs !== undefined) {
    throw badRequest('logprobs: are not told of an echoed prompt with a suffix', 'suffix');
  }
}
