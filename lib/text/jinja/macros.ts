/** Macros, and the other functions that a template makes: bodies of calls, its blocks. */
import { typeFailure } from './failure.js';
import type { Frame } from './scope.js';
import { type Args, Dict, Fn, Obj, orElse, Tuple, Undefined, type Value } from './values.js';

/** What a macro gets beside its arguments, if its body asks for it. */
export const SPECIAL = ['varargs', 'kwargs', 'caller'];

/** A macro as it is written. */
export interface Shape {
  /** null: the body of a call. */
  readonly name: string | null;
  readonly names: readonly string[];
  /** Where in its frame each argument goes. */
  readonly slots: readonly number[];
  /** Of the last arguments. */
  readonly defaults: readonly ((frame: Frame) => Value)[];
  /** Where in its frame go those of SPECIAL that it asks for. */
  readonly special: ReadonlyMap<string, number>;
}

/** What Python's has for attributes, and a call. */
export class Macro extends Fn {
  override readonly type = 'Macro';
  constructor(
    readonly shape: Shape,
    run: (args: Args) => Value,
  ) {
    super(shape.name ?? 'caller', run);
  }
  override attribute(name: string): Value | undefined {
    const { shape } = this;
    if (name === 'name') return shape.name;
    if (name === 'arguments') return new Tuple(shape.names);
    if (name === 'catch_kwargs') return shape.special.has('kwargs');
    if (name === 'catch_varargs') return shape.special.has('varargs');
    return name === 'caller' ? shape.special.has('caller') : undefined;
  }
  override print(): string {
    return this.shape.name === null ? '<Macro anonymous>' : `<Macro '${this.name}'>`;
  }
}

/** `self`: the template's blocks by name. */
export class Self extends Obj {
  readonly type = 'TemplateReference';
  constructor(readonly blocks: ReadonlyMap<string, () => Value>) {
    super();
  }
  override attribute(name: string): Value | undefined {
    const block = this.blocks.get(name);
    return block && new Fn(name, block);
  }
}

/**
 * Puts what a macro is called with into its frame.
 *
 * @throws TemplateFailure when it is too much
 */
export function bindArguments(frame: Frame, shape: Shape, { pos, named }: Args): void {
  const { names, slots, defaults } = shape;
  const left = new Map(named);
  const given = names.map((name, i) => {
    if (i < pos.length) return pos[i];
    const value = left.get(name);
    left.delete(name);
    return value;
  });
  bindSpecial(frame, shape, pos.slice(names.length), left);
  const first = names.length - defaults.length;
  given.forEach((value, i) => {
    const own = value === undefined && i >= first ? defaults[i - first](frame) : value;
    const missing = new Undefined(`parameter '${names[i]}' was not provided`);
    frame.slots[slots[i]] = orElse(own, missing);
  });
}

/** What is left goes where the macro asks for it, else it is too much. */
function bindSpecial(
  frame: Frame,
  { name, names, special }: Shape,
  more: readonly Value[],
  left: Map<string, Value>,
): void {
  const [caller, kwargs, varargs] = ['caller', 'kwargs', 'varargs'].map((n) => special.get(n));
  if (caller !== undefined) {
    frame.slots[caller] = orElse(left.get('caller'), new Undefined('No caller defined'));
    left.delete('caller');
  }
  if (kwargs !== undefined) frame.slots[kwargs] = Dict.of(left);
  else if (left.size > 0) {
    const [first] = left.keys();
    throw typeFailure(`macro '${name}' takes no keyword argument '${first}'`);
  }
  if (varargs !== undefined) frame.slots[varargs] = new Tuple(more);
  else if (more.length > 0) {
    throw typeFailure(`macro '${name}' takes not more than ${names.length} argument(s)`);
  }
}
