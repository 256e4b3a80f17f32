/** From tokens to expressions, with Jinja's precedences. */
import type { TokenType } from './lexer.js';
import { floatLiteral, integerLiteral, textLiteral } from './literals.js';
import type { CallArgs, Expr } from './nodes.js';
import type { TokenStream } from './token-stream.js';
import type { Value } from './values.js';

const CONSTANTS: Record<string, Value> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];
const NO_ARGS: CallArgs = { args: [], named: [] };

/** Stream positions at which a tuple without parentheses ends. */
export interface TupleOptions {
  /** Whether `x if y` is one of its items. Default true. */
  readonly choices?: boolean;
  /** A name that ends it. */
  readonly end?: string;
}

export class ExpressionParser {
  constructor(readonly tokens: TokenStream) {}

  expression(): Expr {
    return this.tokens.nested(() => this.#choice());
  }

  /** One expression, or several with commas between. */
  tuple({ choices = true, end }: TupleOptions = {}, parentheses = false): Expr {
    const { tokens } = this;
    const items: Expr[] = [];
    let many = false;
    while (!this.#tupleEnds(end)) {
      items.push(choices ? this.expression() : tokens.nested(() => this.#or()));
      if (!tokens.skip('operator', ',')) break;
      many = true;
    }
    if (!many && items.length > 0) return items[0];
    if (!many && !parentheses) {
      throw tokens.fail(`Expected an expression, got '${tokens.describe()}'`);
    }
    return { kind: 'tuple', items };
  }

  #tupleEnds(end: string | undefined): boolean {
    const { tokens } = this;
    if (tokens.is('variable_end') || tokens.is('block_end') || tokens.isOperator(')')) return true;
    return end !== undefined && tokens.isName(end);
  }

  #choice(): Expr {
    let value = this.#or();
    for (let links = 0; this.tokens.skip('name', 'if'); links++) {
      this.tokens.link(links);
      const test = this.#or();
      const no = this.tokens.skip('name', 'else') ? this.expression() : undefined;
      value = { kind: 'choice', test, yes: value, no };
    }
    return value;
  }

  /** Operators of one precedence, from left to right. */
  #chain(operand: () => Expr, type: TokenType, operators: readonly string[]): Expr {
    const { tokens } = this;
    let left = operand();
    for (let links = 0; tokens.current.type === type; links++) {
      const op = tokens.current.text;
      if (!operators.includes(op)) break;
      tokens.link(links);
      tokens.next();
      left = { kind: 'binary', op, left, right: operand() };
    }
    return left;
  }

  #or(): Expr {
    return this.#chain(() => this.#and(), 'name', ['or']);
  }

  #and(): Expr {
    return this.#chain(() => this.#not(), 'name', ['and']);
  }

  #not(): Expr {
    const { tokens } = this;
    if (!tokens.skip('name', 'not')) return this.#compare();
    return { kind: 'unary', op: 'not', of: tokens.nested(() => this.#not()) };
  }

  #compare(): Expr {
    const { tokens } = this;
    const first = this.#sum();
    const rest: [string, Expr][] = [];
    for (;;) {
      tokens.link(rest.length);
      if (tokens.is('operator') && COMPARISONS.includes(tokens.current.text)) {
        rest.push([tokens.next().text, this.#sum()]);
      } else if (tokens.skip('name', 'in')) rest.push(['in', this.#sum()]);
      else if (tokens.isName('not') && tokens.following.text === 'in') {
        tokens.next();
        tokens.next();
        rest.push(['not in', this.#sum()]);
      } else return rest.length > 0 ? { kind: 'compare', first, rest } : first;
    }
  }

  #sum(): Expr {
    return this.#chain(() => this.#concat(), 'operator', ['+', '-']);
  }

  #concat(): Expr {
    const items = [this.#product()];
    while (this.tokens.skip('operator', '~')) items.push(this.#product());
    return items.length > 1 ? { kind: 'concat', items } : items[0];
  }

  #product(): Expr {
    return this.#chain(() => this.#power(), 'operator', ['*', '/', '//', '%']);
  }

  #power(): Expr {
    return this.#chain(() => this.unary(), 'operator', ['**']);
  }

  /** With a sign, and (unless it stands after a sign) with filters and tests. */
  unary(filters = true): Expr {
    const { tokens } = this;
    const signed = tokens.isOperator('-') || tokens.isOperator('+');
    const sign = signed ? (tokens.next().text as '-' | '+') : undefined;
    const value: Expr =
      sign === undefined
        ? this.primary()
        : { kind: 'unary', op: sign, of: tokens.nested(() => this.unary(false)) };
    const node = this.postfix(value);
    return filters ? this.#filters(node) : node;
  }

  /** A name, a literal, or something in brackets. */
  primary(): Expr {
    const { tokens } = this;
    const { type, text } = tokens.current;
    if (type === 'name') {
      tokens.next();
      if (Object.hasOwn(CONSTANTS, text)) return { kind: 'const', value: CONSTANTS[text] };
      return { kind: 'name', name: text };
    }
    if (type === 'string') return { kind: 'const', value: this.#texts() };
    if (type === 'integer' || type === 'float') {
      tokens.next();
      const value = type === 'integer' ? integerLiteral(text) : floatLiteral(text);
      return { kind: 'const', value };
    }
    if (tokens.skip('operator', '(')) {
      const value = this.tuple({}, true);
      tokens.expect('operator', ')');
      return value;
    }
    if (tokens.isOperator('[')) return { kind: 'list', items: this.#list() };
    if (tokens.isOperator('{')) return this.#dict();
    throw tokens.fail(`unexpected '${tokens.describe()}'`);
  }

  /** Texts side by side are one. */
  #texts(): string {
    let text = '';
    while (this.tokens.is('string')) text += textLiteral(this.tokens.next().text);
    return text;
  }

  #list(): Expr[] {
    const { tokens } = this;
    const items: Expr[] = [];
    tokens.expect('operator', '[');
    while (!tokens.isOperator(']')) {
      if (items.length > 0) tokens.expect('operator', ',');
      if (tokens.isOperator(']')) break;
      items.push(this.expression());
    }
    tokens.expect('operator', ']');
    return items;
  }

  #dict(): Expr {
    const { tokens } = this;
    const entries: [Expr, Expr][] = [];
    tokens.expect('operator', '{');
    while (!tokens.isOperator('}')) {
      if (entries.length > 0) tokens.expect('operator', ',');
      if (tokens.isOperator('}')) break;
      const key = this.expression();
      tokens.expect('operator', ':');
      entries.push([key, this.expression()]);
    }
    tokens.expect('operator', '}');
    return { kind: 'dict', entries };
  }

  /** Attributes, items and calls. */
  postfix(value: Expr): Expr {
    const { tokens } = this;
    for (let links = 0; ; links++) {
      tokens.link(links);
      if (tokens.skip('operator', '.')) value = this.#attribute(value);
      else if (tokens.isOperator('[')) value = this.#subscript(value);
      else if (tokens.isOperator('(')) {
        value = { kind: 'call', callee: value, args: this.#arguments() };
      } else return value;
    }
  }

  #attribute(of: Expr): Expr {
    const { tokens } = this;
    const { type, text } = tokens.next();
    if (type === 'name') return { kind: 'attribute', of, name: text };
    if (type !== 'integer') throw tokens.fail('expected name or number');
    return { kind: 'item', of, key: { kind: 'const', value: integerLiteral(text) } };
  }

  #subscript(of: Expr): Expr {
    const { tokens } = this;
    const keys: Expr[] = [];
    tokens.expect('operator', '[');
    while (!tokens.isOperator(']')) {
      if (keys.length > 0) tokens.expect('operator', ',');
      keys.push(this.#key());
    }
    tokens.expect('operator', ']');
    return { kind: 'item', of, key: keys.length === 1 ? keys[0] : { kind: 'tuple', items: keys } };
  }

  #key(): Expr {
    const { tokens } = this;
    const ends = () => tokens.isOperator(':') || tokens.isOperator(']') || tokens.isOperator(',');
    const first = ends() ? undefined : this.expression();
    if (first !== undefined && !tokens.isOperator(':')) return first;
    const bounds = [first];
    while (bounds.length < 3 && tokens.skip('operator', ':')) {
      bounds.push(ends() ? undefined : this.expression());
    }
    if (bounds.length === 1) throw tokens.fail(`unexpected '${tokens.describe()}'`);
    return { kind: 'slice', bounds };
  }

  #arguments(): CallArgs {
    const { tokens } = this;
    const args: Expr[] = [];
    const named: [string, Expr][] = [];
    let spread: Expr | undefined;
    let spreadNamed: Expr | undefined;
    const allow = (valid: boolean) => {
      if (!valid) throw tokens.fail('invalid syntax for function call expression');
    };
    tokens.expect('operator', '(');
    for (let first = true; !tokens.isOperator(')'); first = false) {
      if (!first) tokens.expect('operator', ',');
      if (tokens.isOperator(')')) break;
      if (tokens.skip('operator', '*')) {
        allow(spread === undefined && spreadNamed === undefined);
        spread = this.expression();
      } else if (tokens.skip('operator', '**')) {
        allow(spreadNamed === undefined);
        spreadNamed = this.expression();
      } else if (tokens.is('name') && tokens.following.text === '=') {
        allow(spreadNamed === undefined);
        const name = tokens.next().text;
        tokens.next();
        named.push([name, this.expression()]);
      } else {
        allow(spread === undefined && spreadNamed === undefined && named.length === 0);
        args.push(this.expression());
      }
    }
    tokens.expect('operator', ')');
    return { args, named, spread, spreadNamed };
  }

  #filters(value: Expr): Expr {
    const { tokens } = this;
    for (let links = 0; ; links++) {
      tokens.link(links);
      if (tokens.isOperator('|')) value = this.filter(value) as Expr;
      else if (tokens.isName('is')) value = this.#test(value);
      else if (tokens.isOperator('(')) {
        value = { kind: 'call', callee: value, args: this.#arguments() };
      } else return value;
    }
  }

  /** `| name(…)`, as often as it comes; the first bar is missing in a filter block. */
  filter(value: Expr | undefined, inline = false): Expr | undefined {
    const { tokens } = this;
    for (let links = 0; tokens.isOperator('|') || inline; links++) {
      tokens.link(links);
      if (!inline) tokens.next();
      const name = this.#dotted();
      const args = tokens.isOperator('(') ? this.#arguments() : NO_ARGS;
      value = { kind: 'filter', of: value, name, args };
      inline = false;
    }
    return value;
  }

  #dotted(): string {
    const { tokens } = this;
    let name = tokens.expect('name').text;
    while (tokens.skip('operator', '.')) name += `.${tokens.expect('name').text}`;
    return name;
  }

  #test(of: Expr): Expr {
    const { tokens } = this;
    tokens.next();
    const negated = tokens.skip('name', 'not');
    const name = this.#dotted();
    const test: Expr = { kind: 'test', of, name, args: this.#testArguments() };
    return negated ? { kind: 'unary', op: 'not', of: test } : test;
  }

  #testArguments(): CallArgs {
    const { tokens } = this;
    if (tokens.isOperator('(')) return this.#arguments();
    const { type, text } = tokens.current;
    const begins =
      ['name', 'string', 'integer', 'float'].includes(type) ||
      (type === 'operator' && '[{'.includes(text));
    if (!begins || (type === 'name' && ['else', 'or', 'and'].includes(text))) return NO_ARGS;
    if (tokens.isName('is')) throw tokens.fail('You cannot chain multiple tests with is');
    const argument = tokens.nested(() => this.postfix(this.primary()));
    return { args: [argument], named: [] };
  }
}
