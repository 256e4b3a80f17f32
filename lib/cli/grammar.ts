import { Command, Option } from 'commander';
import { defaultModel, engineConfig } from '../config/options.js';
import type { StructuredOutputs } from '../core/structured.js';
import type { CompiledGrammar } from '../engine/compiled-grammar.js';
import { openGrammars } from '../engine/load.js';
import { octavoError } from '../errors.js';
import { withDownloads } from './download.js';
import { readPrompt, readTexts } from './prompt-input.js';
import { bytes } from './report.js';

/** Kinds of files; by default a name that ends in .json is a schema, everything else a grammar. */
const KINDS = ['json', 'grammar', 'regex', 'structural-tag'] as const;
type Kind = (typeof KINDS)[number];

/** `octavo grammar check`: what compiles, what is refused and where, which texts pass. */
export function grammarCommand(): Command {
  const check = new Command('check')
    .description('compile a schema or grammar, and say which texts it accepts')
    .argument('<file>', 'a JSON Schema (.json), or a grammar in GBNF or as Lark writes it')
    .argument('[instances]', 'a text a line (of a schema: a JSON value a line); "-" reads stdin')
    .addOption(new Option('--kind <kind>', 'what the file is').choices([...KINDS]))
    .option('--model <model>', 'whose tokens; a folder, .gguf file or name (default: bundled)')
    .option('--no-strict', 'what cannot be enforced is left out, with a warning')
    .option('--disable-any-whitespace', 'no white space between the parts of JSON')
    .option('--json', 'one line of JSON for the grammar, then one for each text')
    .action(run);
  return new Command('grammar').description('schemas and grammars of outputs').addCommand(check);
}

interface Flags {
  readonly kind?: Kind;
  readonly model?: string;
  readonly strict: boolean;
  readonly disableAnyWhitespace?: boolean;
  readonly json?: boolean;
}

/** Exit code 0: it compiles, and all texts pass; 1: some do not; 2: it is refused. */
async function run(file: string, instances: string | undefined, flags: Flags): Promise<void> {
  const kind = flags.kind ?? (file.endsWith('.json') ? 'json' : 'grammar');
  const text = await readPrompt(undefined, file);
  checkText(kind, text, file);
  const spec = specOf(kind, text, flags);
  const config = engineConfig({ model: flags.model ?? defaultModel() });
  const grammars = await withDownloads((loading) => openGrammars(config, loading));
  await grammars.warmUp();
  const started = performance.now();
  const grammar = await grammars.compileGrammar(spec);
  const compileMs = performance.now() - started;
  reportGrammar(grammar, compileMs, flags.json === true);
  if (instances === undefined) return;
  const texts = instances === '-' ? readTexts(['-']) : readTexts([], instances);
  let numRefused = 0;
  let numTexts = 0;
  for await (const { text, line } of texts) {
    numTexts++;
    const passes = await grammar.accepts(text);
    if (!passes) numRefused++;
    await reportText(grammar, { text, line: line ?? 1, passes }, flags.json === true);
  }
  if (!flags.json) {
    process.stdout.write(`${numTexts - numRefused} of ${numTexts} texts pass\n`);
  }
  if (numRefused > 0) process.exitCode = 1;
}

/** @throws ERR_FILE naming the file: nothing else would */
function checkText(kind: Kind, text: string, file: string): void {
  const refused = (why: string, cause?: unknown) =>
    octavoError('ERR_FILE', `${file} ${why}`, { param: file, cause });
  if (text.trim() === '') throw refused('is empty');
  if (kind !== 'json' && kind !== 'structural-tag') return;
  try {
    JSON.parse(text);
  } catch (cause) {
    throw refused(`is no JSON: ${(cause as Error).message}`, cause);
  }
}

function specOf(kind: Kind, text: string, flags: Flags): StructuredOutputs {
  const { strict, disableAnyWhitespace } = flags;
  const rules = { strict, ...(disableAnyWhitespace ? { disableAnyWhitespace } : {}) };
  if (kind === 'json') return { json: text, ...rules };
  if (kind === 'structural-tag') return { structuralTag: text, ...rules };
  return { [kind]: text };
}

function reportGrammar(grammar: CompiledGrammar, ms: number, asJson: boolean): void {
  const { warnings, numBytes } = grammar;
  if (asJson) {
    process.stdout.write(`${JSON.stringify({ compileMs: ms, numBytes, warnings })}\n`);
    return;
  }
  process.stdout.write(`compiles in ${ms.toFixed(1)} ms, takes ${bytes(numBytes)}\n`);
  for (const warning of warnings) process.stdout.write(`not enforced: ${warning}\n`);
}

interface Checked {
  readonly text: string;
  readonly line: number;
  readonly passes: boolean;
}

async function reportText(
  grammar: CompiledGrammar,
  checked: Checked,
  asJson: boolean,
): Promise<void> {
  const { text, line, passes } = checked;
  const at = passes ? null : await grammar.acceptedBytes(text);
  if (asJson) {
    process.stdout.write(`${JSON.stringify({ line, passes, refusedAt: at })}\n`);
    return;
  }
  process.stdout.write(`${line}: ${at === null ? 'passes' : whereOf(text, at)}\n`);
}

/** Where a text is refused, with some of what stands before it. */
function whereOf(text: string, at: number): string {
  const all = Buffer.from(text);
  if (at >= all.length) return 'ends too early';
  const before = all.subarray(Math.max(0, at - 24), at).toString();
  const after = all.subarray(at, at + 12).toString();
  return `refused at byte ${at}, between ${JSON.stringify(before)} and ${JSON.stringify(after)}`;
}
