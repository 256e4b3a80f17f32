/**
 * What a tool's schema says that arguments which are not written as JSON cannot be held to:
 * numbers, lists and the like are, as JSON within them, but of texts only what plain-values.ts
 * knows.
 */
import { GrammarBuilder } from '../grammar/grammar.js';
import { regexToTerminal } from '../grammar/regex.js';
import type { ArgumentStyle } from './format.js';
import { isSchema, mayBe, propertySchema, resolved, withRoot } from './schema-types.js';

type Schema = Readonly<Record<string, unknown>>;

const NOTES = new Set(
  ['title', 'description', 'default', 'examples', '$comment', 'deprecated', 'readOnly'].concat([
    'writeOnly',
    '$schema',
    '$id',
    '$defs',
    'definitions',
    'strict',
  ]),
);
const OF_OBJECTS = new Set(['type', 'properties', 'required', 'additionalProperties']);
const OF_TEXTS = new Set(['type', 'pattern', 'minLength', 'maxLength']);
const OF_LISTS = new Set(['type', 'items', 'minItems', 'maxItems']);
const FIXED = new Set(['type', 'enum', 'const']);

/** JSON pointers of the keywords that are not enforced, from the schema on. */
export function unenforced(schema: Schema, style: ArgumentStyle): string[] {
  if (style.kind === 'json') return [];
  const root = resolved(schema);
  const found = others(root, OF_OBJECTS, '');
  const properties = isSchema(root.properties) ? root.properties : {};
  for (const key of Object.keys(properties)) {
    found.push(...ofValue(propertySchema(root, key), style, `/properties/${key}`, 0));
  }
  const more = root.additionalProperties;
  if (isSchema(more)) {
    const isUsed = style.kind === 'tagged' && Object.keys(properties).length === 0;
    if (isUsed) found.push(...ofValue(withRoot(more, root), style, '/additionalProperties', 0));
    else found.push('/additionalProperties');
  }
  return found;
}

function others(schema: Schema, known: ReadonlySet<string>, at: string): string[] {
  return Object.keys(schema)
    .filter((keyword) => schema[keyword] !== undefined)
    .filter((keyword) => !known.has(keyword) && !NOTES.has(keyword))
    .map((keyword) => `${at}/${keyword}`);
}

function ofValue(value: unknown, style: ArgumentStyle, at: string, depth: number): string[] {
  if (!isSchema(value) || depth > 32) return [];
  const types = mayBe(value);
  const schema = '$ref' in value ? resolved(value) : value;
  if (style.kind !== 'quoted' && !types.includes('string')) return [];
  if (schema.enum !== undefined || schema.const !== undefined) return others(schema, FIXED, at);
  if (style.kind === 'quoted' && Array.isArray(schema.anyOf)) {
    const each = schema.anyOf.flatMap((one, i) =>
      ofValue(withRoot(one, schema), style, `${at}/anyOf/${i}`, depth + 1),
    );
    return [...others(schema, new Set(['anyOf']), at), ...each];
  }
  const known = new Set<string>(types.includes('string') ? OF_TEXTS : ['type']);
  const found: string[] = [];
  if (style.kind === 'quoted') {
    if (types.includes('object')) {
      for (const keyword of OF_OBJECTS) known.add(keyword);
      const properties = isSchema(schema.properties) ? schema.properties : {};
      for (const key of Object.keys(properties)) {
        const own = propertySchema(schema, key);
        found.push(...ofValue(own, style, `${at}/properties/${key}`, depth + 1));
      }
      if (isSchema(schema.additionalProperties)) found.push(`${at}/additionalProperties`);
    }
    if (types.includes('array')) {
      for (const keyword of OF_LISTS) known.add(keyword);
      found.push(...ofValue(withRoot(schema.items, schema), style, `${at}/items`, depth + 1));
    }
    if (!types.includes('string') && !types.includes('object') && !types.includes('array')) {
      return []; // as JSON
    }
  }
  found.push(...others(schema, known, at));
  if (typeof schema.pattern === 'string' && !isRegular(schema.pattern)) found.push(`${at}/pattern`);
  return found;
}

function isRegular(pattern: string): boolean {
  try {
    regexToTerminal(pattern, new GrammarBuilder().regex, { search: true });
    return true;
  } catch {
    return false;
  }
}
