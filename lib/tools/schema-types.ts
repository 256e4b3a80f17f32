/** What types a schema allows, as far as it is plain to see. */
import { JSON_TYPES, type JsonType, typeOf } from './format.js';

type Schema = Readonly<Record<string, unknown>>;

export function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a reference within the same document points to. */
function pointed(root: Schema, reference: string): unknown {
  if (!reference.startsWith('#')) return undefined;
  let at: unknown = root;
  for (const part of reference.slice(1).split('/').slice(1)) {
    if (typeof at !== 'object' || at === null) return undefined;
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    at = (at as Record<string, unknown>)[key];
  }
  return at;
}

const ROOT = Symbol('root');

/** The schema of a property, with the document its references are of. */
export function propertySchema(root: Schema, key: string): unknown {
  const properties = root.properties;
  const own = isSchema(properties) && Object.hasOwn(properties, key) ? properties[key] : undefined;
  const schema = own ?? (isSchema(root.additionalProperties) ? root.additionalProperties : true);
  return withRoot(schema, root);
}

/** A schema that knows the document its references are of, also for whoever reads it alone. */
export function withRoot(schema: unknown, within: Schema): unknown {
  if (!isSchema(schema)) return schema ?? true;
  const root = (within as { [ROOT]?: Schema })[ROOT] ?? within;
  const { $defs, definitions } = root;
  const documents = {
    ...($defs === undefined ? {} : { $defs }),
    ...(definitions === undefined ? {} : { definitions }),
  };
  return { ...documents, ...schema, [ROOT]: root };
}

/** A schema, or what it refers to. */
export function resolved(schema: Schema, depth = 0): Schema {
  if (typeof schema.$ref !== 'string' || depth > 16) return schema;
  const root = (schema as { [ROOT]?: Schema })[ROOT] ?? schema;
  const target = pointed(root, schema.$ref);
  return isSchema(target) ? resolved(withRoot(target, root) as Schema, depth + 1) : schema;
}

/** Types that a value may have; all where the schema does not say. */
export function mayBe(schema: unknown, depth = 0): readonly JsonType[] {
  if (!isSchema(schema) || depth > 16) return JSON_TYPES;
  const root = (schema as { [ROOT]?: Schema })[ROOT] ?? schema;
  const inner = (value: unknown) =>
    mayBe(isSchema(value) ? withRoot(value, root) : value, depth + 1);
  let types: readonly JsonType[] = JSON_TYPES;
  const meet = (allowed: readonly JsonType[]) => {
    types = types.filter((type) => allowed.includes(type));
  };
  if (schema.type !== undefined) {
    const named = (Array.isArray(schema.type) ? schema.type : [schema.type]).map((type) =>
      type === 'integer' ? 'number' : type,
    );
    meet(named as JsonType[]);
  }
  if (Array.isArray(schema.enum)) meet(schema.enum.map(typeOf));
  if (schema.const !== undefined) meet([typeOf(schema.const)]);
  for (const several of [schema.anyOf, schema.oneOf]) {
    if (Array.isArray(several)) meet(several.flatMap(inner));
  }
  if (Array.isArray(schema.allOf)) for (const one of schema.allOf) meet(inner(one));
  if (typeof schema.$ref === 'string') meet(inner(pointed(root, schema.$ref)));
  return types;
}
