/** Jinja's tests: what may stand after `is`. */
import { binary } from './arithmetic.js';
import { compare, equals, inside } from './compare.js';
import { str } from './printing.js';
import { STRING_METHODS } from './string-methods.js';
import {
  type Args,
  bind,
  Dict,
  Float,
  Fn,
  isIterable,
  Markup,
  NO_NAMES,
  Range,
  Tuple,
  textOf,
  Undefined,
  type Value,
} from './values.js';

export type Test = (args: Args) => boolean;

function one(name: string, is: (value: Value) => boolean): Test {
  return (args) => is(bind(name, args, ['value'], 1)[0]);
}

function two(name: string, is: (value: Value, other: Value) => boolean): Test {
  return (args) => {
    const [value, other] = bind(name, args, ['value', 'other'], 2);
    return is(value, other);
  };
}

function isInteger(value: Value): boolean {
  return typeof value === 'number' || typeof value === 'bigint';
}

function isSequence(value: Value): boolean {
  if (Array.isArray(value) || textOf(value) !== undefined) return true;
  return [Tuple, Dict, Range, Undefined].some((type) => value instanceof type);
}

function isCase(name: 'islower' | 'isupper'): Test {
  const method = STRING_METHODS.get(name);
  return one(name, (value) => method?.(str(value), { pos: [], named: NO_NAMES }) === true);
}

/** The same thing: for primitives, the same value of the same type. */
function same(a: Value, b: Value): boolean {
  if (typeof a === 'string') return typeof b === 'string' && equals(a, b);
  return a === b || (a instanceof Float && b instanceof Float && a.value === b.value);
}

const equal = two('eq', equals);
const unequal = two('ne', (a, b) => !equals(a, b));
const above = two('gt', (a, b) => compare(a, b, '>') > 0);
const below = two('lt', (a, b) => compare(a, b, '<') < 0);
const notBelow = two('ge', (a, b) => compare(a, b, '>=') >= 0);
const notAbove = two('le', (a, b) => compare(a, b, '<=') <= 0);

/** By name; `filter` and `test` know what there is and stand with the compiler. */
export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['odd', one('odd', (v) => equals(binary('%', v, 2), 1))],
  ['even', one('even', (v) => equals(binary('%', v, 2), 0))],
  ['divisibleby', two('divisibleby', (v, by) => equals(binary('%', v, by), 0))],
  ['defined', one('defined', (v) => !(v instanceof Undefined))],
  ['undefined', one('undefined', (v) => v instanceof Undefined)],
  ['none', one('none', (v) => v === null)],
  ['boolean', one('boolean', (v) => typeof v === 'boolean')],
  ['false', one('false', (v) => v === false)],
  ['true', one('true', (v) => v === true)],
  ['integer', one('integer', isInteger)],
  ['float', one('float', (v) => v instanceof Float)],
  ['lower', isCase('islower')],
  ['upper', isCase('isupper')],
  ['string', one('string', (v) => textOf(v) !== undefined)],
  ['mapping', one('mapping', (v) => v instanceof Dict)],
  ['number', one('number', (v) => isInteger(v) || typeof v === 'boolean' || v instanceof Float)],
  ['sequence', one('sequence', isSequence)],
  ['iterable', one('iterable', isIterable)],
  ['callable', one('callable', (v) => v instanceof Fn || v instanceof Undefined)],
  ['sameas', two('sameas', same)],
  ['escaped', one('escaped', (v) => v instanceof Markup)],
  ['in', two('in', inside)],
  ['==', equal],
  ['eq', equal],
  ['equalto', equal],
  ['!=', unequal],
  ['ne', unequal],
  ['>', above],
  ['gt', above],
  ['greaterthan', above],
  ['>=', notBelow],
  ['ge', notBelow],
  ['<', below],
  ['lt', below],
  ['lessthan', below],
  ['<=', notAbove],
  ['le', notAbove],
]);
