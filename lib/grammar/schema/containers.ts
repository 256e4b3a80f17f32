import { namesOf } from '../json-text.js';
import type { SchemaPlace } from './document.js';
import { at, type KeywordReader, type Part } from './reader.js';
import { escapePointer, Refusal } from './refusal.js';
import { ANY_OBJECT, type ArrayShape, type Count, type KeyRule, type KeySet } from './shapes.js';

/** What a schema says of objects and their properties. */
export function objectPart(keywords: KeywordReader, place: SchemaPlace): Part | undefined {
  const { space } = keywords;
  const given = keywords.object(place, 'properties') ?? {};
  const properties = namesOf(given).map((name) => [name, given[name]] as const);
  const patterns = Object.entries(keywords.object(place, 'patternProperties') ?? {});
  const additional = keywords.child(place, 'additionalProperties');
  const names = keywords.child(place, 'propertyNames');
  const required = keywords.names(place, 'required') ?? [];
  const min = keywords.count(place, 'minProperties') ?? 0;
  const max = keywords.count(place, 'maxProperties') ?? Infinity;
  const counted = min > 0 || max < Infinity;
  const said = properties.length + patterns.length + required.length > 0;
  if (!said && additional === undefined && names === undefined && !counted) return undefined;
  const named = new Map(
    properties.map(([name, schema]) => {
      const pointer = `${at(place, 'properties')}/${escapePointer(name)}`;
      return [name, keywords.node(schema, place, pointer)] as const;
    }),
  );
  const rules: KeyRule[] = patterns.map(([source, schema]) => {
    const pointer = `${at(place, 'patternProperties')}/${escapePointer(source)}`;
    const regex = keywords.pattern(source, pointer).exact;
    const keys: KeySet = { kind: 'matching', regex };
    return { keys, node: keywords.node(schema, place, pointer) };
  });
  const evaluated = rules.map((rule) => rule.keys);
  if (additional !== undefined) {
    const regexes = rules.map((rule) =>
      rule.keys.kind === 'matching' ? rule.keys.regex : never(),
    );
    const keys: KeySet = {
      kind: 'other',
      names: new Set(properties.map(([name]) => name)),
      regexes,
    };
    if (additional !== space.nodes.any) rules.push({ keys, node: additional });
    evaluated.push(keys);
  }
  if (names !== undefined) rules.push(...nameRules(keywords, names));
  const pointer = at(place, min > 0 ? 'minProperties' : 'maxProperties');
  const evaluatedNames = new Set(properties.map(([name]) => name));
  const shape = {
    ...ANY_OBJECT,
    named,
    rules,
    required: new Set(required),
    min,
    max,
    pointer: counted ? pointer : '',
    evaluated,
    evaluatedNames,
  };
  const objects = min > max || required.length > max ? [] : [shape];
  return { pointer: place.pointer, set: { ...space.all, objects } };
}

/** propertyNames: no property has a name outside. Known only once the schema's strings are. */
function nameRules(
  keywords: KeywordReader,
  names: NonNullable<ReturnType<KeywordReader['child']>>,
): KeyRule[] {
  const { strings, nodes } = keywords.space;
  const allowed = keywords.stringsOf(names);
  if (allowed === strings.all) return [];
  const regex = strings.outside(allowed.exact);
  return [{ keys: { kind: 'matching', regex, outside: allowed.exact }, node: nodes.none }];
}

/** What a schema says of arrays and their items. */
export function arrayPart(keywords: KeywordReader, place: SchemaPlace): Part | undefined {
  const { space } = keywords;
  const { any, none } = space.nodes;
  // Before 2020-12 a list of schemas was the value of `items`, and what follows `additionalItems`.
  const tuple = Array.isArray(keywords.get(place, 'items'));
  const prefix = keywords.children(place, tuple ? 'items' : 'prefixItems') ?? [];
  const rest = keywords.child(place, tuple ? 'additionalItems' : 'items');
  const min = keywords.count(place, 'minItems') ?? 0;
  let max = keywords.count(place, 'maxItems') ?? Infinity;
  const counts = containsCount(keywords, place);
  const unique = keywords.get(place, 'uniqueItems') === true;
  const plain = prefix.length === 0 && rest === undefined && min === 0 && max === Infinity;
  if (plain && counts.length === 0 && !unique) return undefined;
  const first = prefix.indexOf(none);
  if (first >= 0) max = Math.min(max, first);
  else if (rest === none) max = Math.min(max, prefix.length);
  const shape: ArrayShape = {
    prefix,
    rest: rest ?? any,
    min,
    max,
    counts,
    unique: unique ? at(place, 'uniqueItems') : undefined,
    evaluated: rest === undefined ? prefix.length : Infinity,
  };
  return { pointer: place.pointer, set: { ...space.all, arrays: min > max ? [] : [shape] } };
}

function containsCount(keywords: KeywordReader, place: SchemaPlace): Count[] {
  const node = keywords.child(place, 'contains');
  if (node === undefined) return [];
  const counted = place.dialect === 2020;
  const min = (counted ? keywords.count(place, 'minContains') : undefined) ?? 1;
  const max = (counted ? keywords.count(place, 'maxContains') : undefined) ?? Infinity;
  if (min === 0 && max === Infinity) return [];
  return [{ node, from: 0, min, max, pointer: at(place, 'contains') }];
}

function never(): never {
  throw new Refusal('', 'a pattern of names has no regex');
}
