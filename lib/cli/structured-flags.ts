/** Flags of what an output must be. Schemas and grammars come from files. */
import type { Command } from 'commander';
import type { StructuredOutputs } from '../core/structured.js';
import { octavoError } from '../errors.js';
import { readPrompt } from './prompt-input.js';

const collect = (text: string, before: string[] | undefined) => [...(before ?? []), text];

export function addStructuredFlags(command: Command): Command {
  return command
    .optionsGroup('Structured output:')
    .option('--json-schema <file>', 'the output is JSON that is valid by this JSON Schema')
    .option('--json-object', 'the output is a JSON object')
    .option('--regex <pattern>', 'all of the output matches this regular expression')
    .option('--choice <text>', 'the output is one of these texts; may be repeated', collect)
    .option('--grammar <file>', 'the output is a text of this grammar (GBNF or Lark)')
    .option('--structural-tag <file>', "the output is as XGrammar's structural tag says")
    .option('--disable-any-whitespace', 'no white space between the parts of JSON');
}

interface Flags {
  readonly [name: string]: unknown;
  readonly jsonSchema?: string;
  readonly jsonObject?: boolean;
  readonly regex?: string;
  readonly choice?: readonly string[];
  readonly grammar?: string;
  readonly structuralTag?: string;
  readonly disableAnyWhitespace?: boolean;
}

/**
 * Nothing where no such flag is given.
 * @throws ERR_FILE; ERR_INVALID_PARAM where two exclude each other
 */
export async function structuredParamsOf(
  flags: Flags,
): Promise<{ structuredOutputs?: StructuredOutputs }> {
  const { jsonSchema, jsonObject, regex, choice, grammar, structuralTag } = flags;
  const given = { jsonSchema, jsonObject, regex, choice, grammar, structuralTag };
  const names = Object.entries(given).filter(([, value]) => value !== undefined);
  if (names.length === 0) return {};
  if (names.length > 1) {
    throw octavoError(
      'ERR_INVALID_PARAM',
      'an output can be one thing only: --json-schema, --json-object, --regex, --choice, ' +
        '--grammar and --structural-tag exclude each other',
      { param: 'structuredOutputs' },
    );
  }
  const wishes = {
    json: await contentOf('--json-schema', jsonSchema),
    jsonObject,
    regex,
    choice,
    grammar: await contentOf('--grammar', grammar),
    structuralTag: await contentOf('--structural-tag', structuralTag),
    disableAnyWhitespace: flags.disableAnyWhitespace,
  };
  return { structuredOutputs: wishes };
}

/** What only a text looks like, not the name of a file. */
const INLINE = /^\s*[{[]|::=|\n/;

/** @throws ERR_FILE, which says so where the text itself was given */
async function contentOf(flag: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readPrompt(undefined, path);
  } catch (cause) {
    if (!INLINE.test(path)) throw cause;
    const sentence = `${flag} takes the name of a file; write the text to one, and name that`;
    throw octavoError('ERR_FILE', sentence, { param: flag.slice(2), cause });
  }
}
