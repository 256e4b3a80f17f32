/** A tokenizer_config.json, and which special tokens are put around a text by whom. */
import { z } from 'zod';
import { octavoError } from '../errors.js';

const special = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish()
  .transform((token) => token ?? undefined);
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? undefined);

/** Unknown members are ignored. */
const configSchema = z.object({
  bos_token: special,
  eos_token: special,
  pad_token: special,
  unk_token: special,
  add_bos_token: flag,
  add_eos_token: flag,
  tokenizer_class: z.string().nullish(),
});

/** What is read of a tokenizer_config.json. Written out: it stands in what the package declares. */
export interface ReadConfig {
  readonly bos_token?: string;
  readonly eos_token?: string;
  readonly pad_token?: string;
  readonly unk_token?: string;
  readonly add_bos_token?: boolean;
  readonly add_eos_token?: boolean;
  readonly tokenizer_class?: string | null;
}

/** A special token of a tokenizer_config.json. */
type SpecialToken = string | { readonly content: string } | null;

/** A tokenizer_config.json as it stands in the file. */
export interface TokenizerConfig {
  bos_token?: SpecialToken;
  eos_token?: SpecialToken;
  pad_token?: SpecialToken;
  unk_token?: SpecialToken;
  add_bos_token?: boolean | null;
  add_eos_token?: boolean | null;
  tokenizer_class?: string | null;
}

/**
 * @param name of the tokenizer, for the message
 * @throws ERR_TOKENIZER
 */
export function readConfig(config: TokenizerConfig, name: string): ReadConfig {
  const checked = configSchema.safeParse(config);
  if (checked.success) return checked.data;
  const { path, message } = checked.error.issues[0];
  throw octavoError(
    'ERR_TOKENIZER',
    `The tokenizer_config.json of ${name} is damaged at "${path.join('.')}": ${message}`,
    { param: 'tokenizer_config.json' },
  );
}

/** Classes whose add_bos_token stands above the post-processor, and is on by default. */
const LLAMA_STYLE = /^(Llama|CodeLlama|Gemma)Tokenizer(Fast)?$/;

/** The parts of a processor or decoder of tokenizer.json, "Sequence" taken apart. */
export function parts(node: unknown): Record<string, unknown>[] {
  if (typeof node !== 'object' || node === null) return [];
  const { type, processors, decoders } = node as Record<string, unknown>;
  if (type !== 'Sequence') return [node as Record<string, unknown>];
  const members = processors ?? decoders;
  return Array.isArray(members) ? members.flatMap(parts) : [];
}

const template = z.array(z.object({ SpecialToken: z.object({ id: z.string() }).optional() }));

/** The special tokens that a post-processor puts around a text. */
export interface Added {
  readonly any: boolean;
  /** The first, if it stands in front. */
  readonly first?: string;
  /** Whether they stand on both sides, as encoders have them. */
  readonly both: boolean;
}

export function addedBy(processor: unknown): Added {
  for (const part of parts(processor)) {
    if (part.type === 'BertProcessing' || part.type === 'RobertaProcessing') {
      const first = Array.isArray(part.cls) ? String(part.cls[0]) : undefined;
      return { any: true, first, both: true };
    }
    const single = part.type === 'TemplateProcessing' ? template.safeParse(part.single).data : [];
    if (single?.some((piece) => piece.SpecialToken)) {
      const first = single[0].SpecialToken?.id;
      const both = first !== undefined && single.at(-1)?.SpecialToken !== undefined;
      return { any: true, first, both };
    }
  }
  return { any: false, both: false };
}

/** Who adds BOS and EOS: the library (by its post-processor), or we, or nobody. */
export type Adding = { by: 'library'; always: boolean } | { by: 'us'; bos: boolean; eos: boolean };

export function whoAdds(config: ReadConfig, processor: unknown): Adding {
  const llama = LLAMA_STYLE.test(config.tokenizer_class ?? '');
  const said = config.add_bos_token !== undefined || config.add_eos_token !== undefined;
  const added = addedBy(processor);
  // What an encoder is given was no template's work: it spells no BOS that need not stand twice.
  if (added.any && !(llama && said)) return { by: 'library', always: added.both };
  return { by: 'us', bos: config.add_bos_token ?? llama, eos: config.add_eos_token ?? false };
}
