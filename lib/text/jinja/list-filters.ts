/** Jinja's filters over lists, dicts and what else can be looped over. */
import { binary } from './arithmetic.js';
import { getItem } from './attributes.js';
import { spend, spendText } from './budget.js';
import { compare, equals } from './compare.js';
import { type TemplateFailure, typeFailure, valueFailure } from './failure.js';
import { str } from './printing.js';
import { needText } from './string-methods.js';
import {
  type Args,
  asIndex,
  bind,
  Dict,
  Group,
  isIterable,
  iterate,
  Markup,
  orElse,
  Range,
  Stream,
  sizeOf,
  Tuple,
  textOf,
  toList,
  truth,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

/** What filters ask of the render they run in. */
export interface FilterContext {
  filter(name: Value, args: Args): Value;
  test(name: Value, args: Args): boolean;
}

export type Filter = (args: Args, context: FilterContext) => Value;

type Get = (item: Value) => Value;

function lowered(value: Value): Value {
  const text = textOf(value);
  if (text === undefined) return value;
  spend(1 + (text.length >> 2));
  return text.toLowerCase();
}

function identity(item: Value): Value {
  return item;
}

/** Looks up `a.b.0` in each item; nothing where there is no attribute. */
function getter(attribute: Value | undefined, otherwise: Value = null): Get {
  if (attribute === undefined || attribute === null) return identity;
  const path = textOf(attribute)?.split('.') ?? [attribute];
  const keys = path.map((p) => (typeof p === 'string' && /^\d+$/.test(p) ? Number(p) : p));
  return (item) => {
    spend(keys.length);
    for (const key of keys) {
      item = getItem(item, key);
      if (otherwise !== null && item instanceof Undefined) item = otherwise;
    }
    return item;
  };
}

/** What to compare by: attribute, case aside unless asked. */
function comparing(
  attribute: Value | undefined,
  caseSensitive: Value | undefined,
  or?: Value,
): Get {
  const get = getter(attribute, or);
  return truth(caseSensitive ?? false) ? get : (item) => lowered(get(item));
}

/** A stable sort; reversed, equal items still keep their order. */
function sorted(items: readonly Value[], key: Get, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  spend(items.length * (1 + Math.ceil(Math.log2(items.length + 1))));
  const sign = reverse ? -1 : 1;
  keyed.sort((a, b) => {
    // Python asks only whether the later is below the earlier: for its words, and for NaN.
    return sign * (compare(b.key, a.key) < 0 ? 1 : compare(a.key, b.key) < 0 ? -1 : 0);
  });
  return keyed.map(({ item }) => item);
}

function attributeNames(attribute: Value): Value[] {
  return textOf(attribute)?.split(',') ?? [attribute];
}

function sort(args: Args): Value {
  const names = ['value', 'reverse', 'case_sensitive', 'attribute'];
  const [value, reverse = false, sensitive, attribute] = bind('sort', args, names, 1);
  // By lists even of one: lists of what is undefined are equal, where that itself has no order.
  const attributes =
    attribute === undefined || attribute === null ? [null] : attributeNames(attribute);
  const keys = attributes.map((name) => comparing(name, sensitive));
  return sorted(toList(value), (item) => keys.map((key) => key(item)), truth(reverse));
}

function dictSort(args: Args): Value {
  const names = ['value', 'case_sensitive', 'by', 'reverse'];
  const [dict, sensitive, by = 'key', reverse = false] = bind('dictsort', args, names, 1);
  if (by !== 'key' && by !== 'value') {
    throw valueFailure('You can only sort by either "key" or "value"');
  }
  if (!(dict instanceof Dict)) throw noDict(dict, 'items');
  const pairs = new View('items', dict).list();
  return sorted(pairs, comparing(by === 'key' ? 0 : 1, sensitive), truth(reverse));
}

function noDict(value: Value, method: string): TemplateFailure {
  if (value instanceof Undefined) return value.failure();
  return typeFailure(`'${typeName(value)}' object has no attribute '${method}'`);
}

function extreme(name: 'max' | 'min'): Filter {
  return (args) => {
    const names = ['value', 'case_sensitive', 'attribute'];
    const [value, sensitive, attribute] = bind(name, args, names, 1);
    const items = toList(value);
    if (items.length === 0) return new Undefined('No aggregated item, sequence was empty.');
    const key = comparing(attribute, sensitive);
    let best = items[0];
    let bestKey = key(best);
    for (const item of items.slice(1)) {
      const own = key(item);
      const sign = name === 'max' ? '>' : '<';
      const order = compare(own, bestKey, sign);
      if (name === 'max' ? order > 0 : order < 0) [best, bestKey] = [item, own];
    }
    return best;
  };
}

function* uniqueItems(value: Value, key: Get): Generator<Value> {
  const seen = new Dict();
  for (const item of iterate(value)) {
    spend(4);
    const own = key(item);
    if (seen.has(own)) continue;
    seen.set(own, true);
    yield item;
  }
}

function unique(args: Args): Value {
  const names = ['value', 'case_sensitive', 'attribute'];
  const [value, sensitive, attribute] = bind('unique', args, names, 1);
  return new Stream(uniqueItems(value, comparing(attribute, sensitive)), 'do_unique');
}

function groupBy(args: Args): Value {
  const names = ['value', 'attribute', 'default', 'case_sensitive'];
  const [value, attribute, otherwise, sensitive] = bind('groupby', args, names, 2);
  const key = comparing(attribute, sensitive, otherwise);
  const plain = getter(attribute, otherwise);
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sorted(toList(value), key, false)) {
    const own = key(item);
    const last = groups.at(-1);
    if (last !== undefined && equals(last.key, own)) last.items.push(item);
    else groups.push({ key: own, items: [item] });
  }
  return groups.map(({ items }) => new Group([plain(items[0]), items]));
}

function sum(args: Args): Value {
  const [value, attribute, start = 0] = bind('sum', args, ['iterable', 'attribute', 'start'], 1);
  if (textOf(start) !== undefined) throw typeFailure("sum() can't sum strings");
  const get = getter(attribute);
  let total = start;
  for (const item of iterate(value)) {
    spend(1);
    total = binary('+', total, get(item));
  }
  return total;
}

function* batches(value: Value, size: Value, fill: Value): Generator<Value> {
  let batch: Value[] = [];
  for (const item of iterate(value)) {
    if (equals(batch.length, size)) {
      yield batch;
      batch = [];
    }
    spend(1);
    batch.push(item);
  }
  if (batch.length === 0) return;
  const missing = fill === null ? 0 : asIndex(size) - batch.length;
  if (missing > 0) {
    spend(missing);
    batch.push(...Array.from({ length: missing }, () => fill));
  }
  yield batch;
}

function batch(args: Args): Value {
  const [value, count, fill = null] = bind('batch', args, ['value', 'linecount', 'fill_with'], 2);
  return new Stream(batches(value, count, fill), 'do_batch');
}

function* columns(value: Value, slices: Value, fill: Value): Generator<Value> {
  const items = toList(value);
  const count = asIndex(slices);
  if (count === 0) throw valueFailure('integer division or modulo by zero');
  const [size, extra] = [Math.floor(items.length / count), items.length % count];
  let from = 0;
  for (let i = 0; i < count; i++) {
    spend(1);
    const end = from + size + (i < extra ? 1 : 0);
    const part = items.slice(from, end);
    if (fill !== null && i >= extra) part.push(fill);
    yield part;
    from = end;
  }
}

function slice(args: Args): Value {
  const [value, count, fill = null] = bind('slice', args, ['value', 'slices', 'fill_with'], 2);
  return new Stream(columns(value, count, fill), 'sync_do_slice');
}

function first(args: Args): Value {
  const [value] = bind('first', args, ['seq'], 1);
  const text = textOf(value);
  if (text !== undefined && text !== '') return getItem(text, 0);
  for (const item of value instanceof Stream
    ? { [Symbol.iterator]: () => kept(value) }
    : iterate(value)) {
    return item;
  }
  return new Undefined('No first item, sequence was empty.');
}

/** A generator's iterator that a loop that ends early does not close. */
function kept(stream: Stream): Iterator<Value> {
  return { next: () => stream.items.next() };
}

/** A part of a text; of markup it is markup where Python takes it by its index. */
function likeText<Part extends Value | undefined>(of: Value, part: Part): Part | Markup {
  return of instanceof Markup && typeof part === 'string' ? new Markup(part) : part;
}

function last(args: Args): Value {
  const [value] = bind('last', args, ['seq'], 1);
  const missing = new Undefined('No last item, sequence was empty.');
  if (value instanceof Stream) throw typeFailure("'generator' object is not reversible");
  if (value instanceof Undefined && value.unsafe) throw value.failure();
  if (value instanceof Range) return value.length > 0 ? value.at(value.length - 1) : missing;
  return orElse(likeText(value, toList(value).at(-1)), missing);
}

function random(args: Args): Value {
  const [value] = bind('random', args, ['seq'], 1);
  if (value instanceof Stream || value instanceof Dict || !isIterable(value)) {
    throw typeFailure(`'${typeName(value)}' object has no random item`);
  }
  const items = toList(value);
  const at = Math.floor(Math.random() * items.length);
  return orElse(likeText(value, items[at]), new Undefined('No random item, sequence was empty.'));
}

function length(args: Args): Value {
  const [value] = bind('length', args, ['obj'], 1);
  const size = sizeOf(value);
  if (size === undefined) throw typeFailure(`object of type '${typeName(value)}' has no len()`);
  if (value instanceof Undefined && value.unsafe) throw value.failure();
  return size;
}

function reverse(args: Args): Value {
  const [value] = bind('reverse', args, ['value'], 1);
  const text = textOf(value);
  if (text !== undefined) return likeText(value, toList(text).reverse().join(''));
  if (!isIterable(value)) throw valueFailure('argument must be iterable');
  const items = toList(value).reverse();
  return value instanceof Stream ? items : new Stream(items.values(), 'reversed');
}

function join(args: Args): Value {
  const [value, by = '', attribute] = bind('join', args, ['value', 'd', 'attribute'], 1);
  const get = getter(attribute);
  const [separator, texts] = [str(by), [] as string[]];
  let size = 0;
  for (const item of iterate(value)) {
    const text = str(get(item));
    size += text.length + separator.length;
    spendText(text.length + separator.length);
    texts.push(text);
  }
  spendText(size);
  return texts.join(separator);
}

function* pairs(value: Value): Generator<Value> {
  if (value instanceof Undefined) return;
  if (!(value instanceof Dict)) throw typeFailure('Can only get item pairs from a mapping.');
  for (const pair of value.entries()) yield new Tuple(pair);
}

function rest(args: Args, from: number): Args {
  return { pos: args.pos.slice(from), named: args.named };
}

function with1(item: Value, args: Args): Args {
  return { pos: [item, ...args.pos], named: args.named };
}

function* mapped(args: Args, context: FilterContext): Generator<Value> {
  const [value] = args.pos;
  if (!truth(value)) return;
  const byAttribute = args.pos.length === 1 && args.named.has('attribute');
  if (args.pos.length < 2 && !byAttribute) throw valueFailure('map requires a filter argument');
  const known = (name: string) => name === 'attribute' || name === 'default';
  if (byAttribute && ![...args.named.keys()].every(known)) {
    throw valueFailure('map got an unexpected keyword argument');
  }
  const get = byAttribute
    ? getter(args.named.get('attribute'), orElse(args.named.get('default'), null))
    : (item: Value) => context.filter(args.pos[1], with1(item, rest(args, 2)));
  for (const item of iterate(value)) {
    spend(3);
    yield get(item);
  }
}

/** select, reject, and both by attribute. */
function selecting(keep: boolean, byAttribute: boolean): Filter {
  function* selected(args: Args, context: FilterContext): Generator<Value> {
    const [value] = args.pos;
    if (!truth(value)) return;
    const at = byAttribute ? 2 : 1;
    if (args.pos.length < at) throw valueFailure('Missing parameter for attribute name');
    const get = byAttribute ? getter(args.pos[1]) : identity;
    const name = args.pos[at];
    const more = rest(args, at + 1);
    for (const item of iterate(value)) {
      spend(2);
      const own = get(item);
      const yes = name === undefined ? truth(own) : context.test(name, with1(own, more));
      if (yes === keep) yield item;
    }
  }
  return (args, context) => new Stream(selected(args, context), 'select_or_reject');
}

function attr(args: Args): Value {
  const [value, name] = bind('attr', args, ['obj', 'name'], 2);
  const key = needText(name, 'the attribute');
  if (value instanceof Undefined) {
    if (key.startsWith('__')) return new Undefined(`there is no attribute '${key}'`);
    throw value.failure();
  }
  // Items are not looked at, so a dict's are asked for as if it had none.
  const found = value instanceof Dict ? getItem(new Dict(), key) : getItem(value, key);
  return found;
}

/** By name; the first argument of each is the value. */
export const LIST_FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ['attr', attr],
  ['batch', batch],
  ['count', length],
  ['dictsort', dictSort],
  ['first', first],
  ['groupby', groupBy],
  ['items', (args) => new Stream(pairs(bind('items', args, ['value'], 1)[0]), 'do_items')],
  ['join', join],
  ['last', last],
  ['length', length],
  ['list', (args) => toList(bind('list', args, ['value'], 1)[0])],
  ['map', (args, context) => new Stream(mapped(args, context), 'sync_do_map')],
  ['max', extreme('max')],
  ['min', extreme('min')],
  ['random', random],
  ['reject', selecting(false, false)],
  ['rejectattr', selecting(false, true)],
  ['reverse', reverse],
  ['select', selecting(true, false)],
  ['selectattr', selecting(true, true)],
  ['slice', slice],
  ['sort', sort],
  ['sum', sum],
  ['unique', unique],
]);
