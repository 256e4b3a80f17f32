/** What every template can call. */
import { strftime } from '../strftime.js';
import { spend } from './budget.js';
import { TemplateFailure, typeFailure, valueFailure } from './failure.js';
import { fromKeys } from './methods.js';
import { str } from './printing.js';
import {
  type Args,
  asIndex,
  bind,
  Dict,
  Fn,
  iterate,
  Namespace,
  Obj,
  Range,
  Undefined,
  unpack,
  type Value,
} from './values.js';

/** Longest range(), as in Jinja's own sandbox. */
const MAX_RANGE = 100_000;

/** Longest format of strftime_now. */
const MAX_FORMAT = 10_000;

function range(args: Args): Value {
  const pos = bind('range', args, ['start', 'stop', 'step']);
  if (args.named.size > 0) throw typeFailure('range() takes no keyword arguments');
  if (pos.length === 0) throw typeFailure('range expected at least 1 argument, got 0');
  const numbers = pos.map(asIndex);
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]] : numbers;
  if (step === 0) throw valueFailure('range() arg 3 must not be zero');
  const out = new Range(start, stop, step);
  if (out.length > MAX_RANGE) {
    throw new TemplateFailure('limit', `a range has at most ${MAX_RANGE} numbers`);
  }
  return out;
}

function dict(args: Args): Dict {
  const [given] = args.pos;
  if (args.pos.length > 1) throw typeFailure('dict expected at most 1 argument');
  const out = new Dict();
  if (given instanceof Dict) for (const [key, value] of given.entries()) out.set(key, value);
  else if (given !== undefined) {
    for (const pair of iterate(given)) {
      spend(1);
      const [key, value] = unpack(pair, 2);
      out.set(key, value);
    }
  }
  for (const [key, value] of args.named) out.set(key, value);
  return out;
}

function namespace(args: Args): Value {
  const out = new Namespace();
  for (const [key, value] of dict(args).entries()) out.set(key, value);
  return out;
}

/** Gives its values in turn, again and again. */
class Cycler extends Obj {
  readonly type = 'Cycler';
  #at = 0;
  constructor(readonly items: readonly Value[]) {
    super();
  }
  override attribute(name: string): Value | undefined {
    if (name === 'current') return this.items[this.#at];
    if (name === 'reset') return new Fn(name, () => this.#move(0));
    if (name !== 'next') return undefined;
    return new Fn(name, () => {
      const item = this.items[this.#at];
      this.#move((this.#at + 1) % this.items.length);
      return item;
    });
  }
  #move(to: number): null {
    this.#at = to;
    return null;
  }
}

function cycler(args: Args): Value {
  if (args.pos.length === 0) throw valueFailure('at least one item has to be provided');
  return new Cycler(args.pos);
}

function joiner(args: Args): Value {
  const [by = ', '] = bind('joiner', args, ['sep']);
  let used = false;
  return new Fn('joiner', () => {
    const text = used ? by : '';
    used = true;
    return text;
  });
}

/** dict, which also makes one of keys. */
class DictType extends Fn {
  override attribute(name: string): Value | undefined {
    return name === 'fromkeys' ? new Fn(name, fromKeys) : undefined;
  }
}

function raise(args: Args): Value {
  const [why] = bind('raise_exception', args, ['message'], 1);
  if (why instanceof Undefined && why.unsafe) throw why.failure();
  throw new TemplateFailure('refused', str(why));
}

function lipsum(args: Args): Value {
  const [count = 5] = bind('lipsum', args, ['n', 'html', 'min', 'max']);
  if (asIndex(count) <= 0) return '';
  throw valueFailure('lipsum() is not to be had in a chat template');
}

const SHARED: readonly Fn[] = [
  new Fn('range', range),
  new DictType('dict', dict),
  new Fn('namespace', namespace),
  new Fn('cycler', cycler),
  new Fn('joiner', joiner),
  new Fn('lipsum', lipsum),
  new Fn('raise_exception', raise),
];

/** @param now what strftime_now takes for now */
export function globals(now: Date): Map<string, Value> {
  const out = new Map<string, Value>(SHARED.map((fn) => [fn.name, fn]));
  const time = (args: Args) => {
    const [format] = bind('strftime_now', args, ['format'], 1);
    if (typeof format !== 'string') throw typeFailure('strftime_now() takes a text');
    if (format.length > MAX_FORMAT) {
      throw new TemplateFailure('limit', `strftime_now() takes at most ${MAX_FORMAT} characters`);
    }
    spend(64 * format.length);
    return strftime(now, format);
  };
  out.set('strftime_now', new Fn('strftime_now', time));
  return out;
}
