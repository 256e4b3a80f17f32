/** The `loop` of a for. */
import { spend } from './budget.js';
import { equals } from './compare.js';
import { typeFailure, valueFailure } from './failure.js';
import { type Args, Fn, orElse, sizeOf, Undefined, type Value } from './values.js';

/**
 * Goes over the items and knows where it is. It looks ahead only when asked, since what comes next
 * may depend on what the body does.
 */
export class Loop extends Fn {
  override readonly type = 'LoopContext';
  #items: Iterator<Value>;
  #ahead: Value | undefined;
  #length: number | undefined;
  #previous: Value | undefined;
  #current: Value | undefined;
  #changed: readonly Value[] | undefined;
  #index = 0;

  /**
   * @param over what the items are of; its length is theirs unless `filtered`
   * @param again renders the body for other items, where the loop is recursive
   */
  constructor(
    over: Value,
    items: Iterator<Value>,
    filtered: boolean,
    readonly depth: number,
    again: ((items: Value, depth: number) => Value) | undefined,
  ) {
    super('loop', (args) => {
      if (again === undefined) {
        throw typeFailure("the loop must have the 'recursive' marker to be called");
      }
      if (args.pos.length !== 1) throw typeFailure('loop() takes one argument');
      return again(args.pos[0], depth + 1);
    });
    this.#items = items;
    this.#length = filtered ? undefined : sizeOf(over);
  }

  /** The next item; undefined at the end. */
  next(): Value | undefined {
    const item = this.#peek();
    this.#ahead = undefined;
    if (item === undefined) return undefined;
    spend(4);
    this.#previous = this.#current;
    this.#current = item;
    this.#index++;
    return item;
  }

  #peek(): Value | undefined {
    if (this.#ahead === undefined) {
      const { done, value } = this.#items.next();
      if (!done) this.#ahead = value;
    }
    return this.#ahead;
  }

  #size(): number {
    if (this.#length === undefined) {
      const rest: Value[] = [];
      for (let item = this.#peek(); item !== undefined; item = this.#peek()) {
        spend(1);
        rest.push(item);
        this.#ahead = undefined;
      }
      this.#items = rest.values();
      this.#length = this.#index + rest.length;
    }
    return this.#length;
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'index':
        return this.#index;
      case 'index0':
        return this.#index - 1;
      case 'first':
        return this.#index === 1;
      case 'last':
        return this.#peek() === undefined;
      case 'length':
        return this.#size();
      case 'revindex':
        return this.#size() - this.#index + 1;
      case 'revindex0':
        return this.#size() - this.#index;
      case 'depth':
        return this.depth;
      case 'depth0':
        return this.depth - 1;
      case 'previtem':
        return orElse(this.#previous, new Undefined('there is no previous item'));
      case 'nextitem':
        return orElse(this.#peek(), new Undefined('there is no next item'));
      case 'cycle':
        return new Fn(name, (args) => this.#cycle(args));
      case 'changed':
        return new Fn(name, (args) => this.#isChanged(args));
      default:
        return undefined;
    }
  }

  #cycle({ pos }: Args): Value {
    if (pos.length === 0) throw valueFailure('no items for cycling given');
    return pos[(this.#index - 1) % pos.length];
  }

  #isChanged({ pos }: Args): Value {
    const last = this.#changed;
    this.#changed = pos;
    return last === undefined || !equals([...last], [...pos]);
  }
}
