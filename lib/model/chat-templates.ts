/** Where a model's chat templates may lie. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { damaged, readJsonObject, readText } from './files.js';

/** One, or several by name: "default" and others. */
export type ChatTemplates = string | { name: string; template: string }[];

const ADDITIONAL = 'additional_chat_templates';

function isNamed(value: unknown): value is { name: string; template: string } {
  const { name, template } = (value ?? {}) as { name?: unknown; template?: unknown };
  return typeof name === 'string' && typeof template === 'string';
}

/** As the source's shape is: a single template stays one, without a name. */
function collected(named: ReadonlyMap<string, string>): ChatTemplates | undefined {
  if (named.size === 0) return undefined;
  const only = named.get('default');
  if (named.size === 1 && only !== undefined) return only;
  return Array.from(named, ([name, template]) => ({ name, template }));
}

/**
 * Of a folder: `chat_template` of tokenizer_config.json (or chat_template.json), over it
 * chat_template.jinja as the default, and additional_chat_templates/NAME.jinja.
 *
 * @param names of the folder's entries
 * @param config tokenizer_config.json
 * @throws ERR_MODEL_FORMAT
 */
export async function folderTemplates(
  folder: string,
  names: readonly string[],
  config: Readonly<Record<string, unknown>>,
): Promise<ChatTemplates | undefined> {
  const other = names.includes('chat_template.json')
    ? (await readJsonObject(join(folder, 'chat_template.json'))).chat_template
    : undefined;
  const value = other ?? config.chat_template ?? undefined;
  const named = new Map<string, string>();
  if (typeof value === 'string') named.set('default', value);
  else if (Array.isArray(value) && value.every(isNamed)) {
    for (const { name, template } of value) named.set(name, template);
  } else if (value !== undefined) {
    throw damaged(join(folder, 'tokenizer_config.json'), 'chat_template', 'is no template');
  }
  if (names.includes('chat_template.jinja')) {
    named.set('default', await readText(join(folder, 'chat_template.jinja')));
  }
  if (names.includes(ADDITIONAL)) {
    for (const file of (await readdir(join(folder, ADDITIONAL))).sort()) {
      if (!file.endsWith('.jinja')) continue;
      named.set(file.slice(0, -'.jinja'.length), await readText(join(folder, ADDITIONAL, file)));
    }
  }
  if (Array.isArray(value) && named.size === value.length) return collectedAs(value, named);
  return collected(named);
}

/** A list in the file stays a list. */
function collectedAs(value: { name: string }[], named: ReadonlyMap<string, string>): ChatTemplates {
  return value.map(({ name }) => ({ name, template: named.get(name) as string }));
}

const KEY = 'tokenizer.chat_template';

/** Of a GGUF file: `tokenizer.chat_template`, and `tokenizer.chat_template.NAME`. */
export function ggufTemplates(metadata: ReadonlyMap<string, unknown>): ChatTemplates | undefined {
  const named = new Map<string, string>();
  for (const [key, value] of metadata) {
    if (typeof value !== 'string') continue;
    if (key === KEY) named.set('default', value);
    else if (key.startsWith(`${KEY}.`)) named.set(key.slice(KEY.length + 1), value);
  }
  return collected(named);
}
