/** From a template's source to its statements. */
import { ExpressionParser } from './expressions.js';
import { tokenize } from './lexer.js';
import type { Body, Expr, Signature, Statement, Target } from './nodes.js';
import { TokenStream } from './token-stream.js';

class StatementParser {
  readonly expressions: ExpressionParser;
  #loops = 0;
  constructor(readonly tokens: TokenStream) {
    this.expressions = new ExpressionParser(tokens);
  }

  template(): Body {
    const body = this.#body([]);
    return body;
  }

  /** Up to one of the tags, or to the end of the template. */
  #body(ends: readonly string[]): Body {
    const { tokens } = this;
    const body: Statement[] = [];
    while (!tokens.is('end')) {
      if (tokens.is('data')) body.push({ kind: 'text', text: tokens.next().text });
      else if (tokens.skip('variable_begin')) {
        body.push({ kind: 'print', value: this.expressions.tuple() });
        tokens.expect('variable_end');
      } else {
        tokens.expect('block_begin');
        if (tokens.is('name') && ends.includes(tokens.current.text)) return body;
        body.push(...tokens.nested(() => this.#statement()));
        tokens.expect('block_end');
      }
    }
    if (ends.length > 0) {
      throw tokens.fail(`Unexpected end of template, which needs ${ends.join(' or ')}`);
    }
    return body;
  }

  /** The body of a tag, up to one of the tags that may end it. */
  #inside(...ends: string[]): { body: Body; end: string } {
    this.tokens.skip('operator', ':');
    this.tokens.expect('block_end');
    const body = this.#body(ends);
    return { body, end: this.tokens.next().text };
  }

  /** A body that is a function, which break cannot leave. */
  #closed(end: string): Body {
    const loops = this.#loops;
    this.#loops = 0;
    const { body } = this.#inside(end);
    this.#loops = loops;
    return body;
  }

  #statement(): Statement[] {
    const { tokens } = this;
    const name = tokens.expect('name').text;
    const one = STATEMENTS[name];
    if (one !== undefined && Object.hasOwn(STATEMENTS, name)) {
      const statement = one.call(this);
      return Array.isArray(statement) ? statement : [statement];
    }
    throw tokens.fail(`Encountered unknown tag '${name}'`);
  }

  print(): Statement[] {
    const out: Statement[] = [];
    while (!this.tokens.is('block_end')) {
      if (out.length > 0) this.tokens.expect('operator', ',');
      out.push({ kind: 'print', value: this.expressions.expression() });
    }
    return out;
  }

  for(): Statement {
    const { tokens, expressions } = this;
    const target = this.#target('in');
    tokens.expect('name', 'in');
    const over = expressions.tuple({ choices: false, end: 'recursive' });
    const test = tokens.skip('name', 'if') ? expressions.expression() : undefined;
    const recursive = tokens.skip('name', 'recursive');
    this.#loops++;
    const { body, end } = this.#inside('endfor', 'else');
    this.#loops--;
    const otherwise = end === 'else' ? this.#inside('endfor').body : [];
    return { kind: 'for', target, over, test, recursive, body, otherwise };
  }

  if(): Statement {
    const branches: { test: Expr; body: Body }[] = [];
    for (;;) {
      const test = this.expressions.tuple({ choices: false });
      const { body, end } = this.#inside('elif', 'else', 'endif');
      branches.push({ test, body });
      this.tokens.link(branches.length);
      if (end === 'elif') continue;
      const otherwise = end === 'else' ? this.#inside('endif').body : [];
      return { kind: 'if', branches, otherwise };
    }
  }

  set(): Statement {
    const target = this.#target(undefined, true);
    if (this.tokens.skip('operator', '=')) {
      return { kind: 'set', target, value: this.expressions.tuple() };
    }
    const filter = this.expressions.filter(undefined);
    return { kind: 'setblock', target, filter, body: this.#inside('endset').body };
  }

  macro(): Statement {
    const name = this.#name();
    const signature = this.#signature();
    return { kind: 'macro', name, signature, body: this.#closed('endmacro') };
  }

  call(): Statement {
    const signature = this.tokens.isOperator('(') ? this.#signature() : { names: [], defaults: [] };
    const call = this.expressions.expression();
    if (call.kind !== 'call') throw this.tokens.fail('expected call');
    return { kind: 'callblock', call, signature, body: this.#closed('endcall') };
  }

  filter(): Statement {
    const filter = this.expressions.filter(undefined, true) as Expr;
    return { kind: 'filterblock', filter, body: this.#inside('endfilter').body };
  }

  with(): Statement {
    const targets: Target[] = [];
    const values: Expr[] = [];
    while (!this.tokens.is('block_end')) {
      if (targets.length > 0) this.tokens.expect('operator', ',');
      targets.push(this.#target());
      this.tokens.expect('operator', '=');
      values.push(this.expressions.expression());
    }
    return { kind: 'with', targets, values, body: this.#inside('endwith').body };
  }

  autoescape(): Statement {
    const on = this.expressions.expression();
    return { kind: 'autoescape', on, body: this.#inside('endautoescape').body };
  }

  /** Marks what the model wrote; for rendering only a scope. */
  generation(): Statement {
    return { kind: 'scope', body: this.#closed('endgeneration') };
  }

  block(): Statement {
    const name = this.tokens.expect('name').text;
    this.tokens.skip('name', 'scoped');
    this.tokens.skip('name', 'required');
    const body = this.#closed('endblock');
    this.tokens.skip('name', name);
    return { kind: 'block', name, body };
  }

  leave(kind: 'break' | 'continue'): Statement {
    if (this.#loops === 0) throw this.tokens.fail(`'${kind}' outside loop`);
    return { kind };
  }

  other(): never {
    throw this.tokens.fail('a chat template cannot include, import or extend others');
  }

  #name(): string {
    const { tokens } = this;
    const name = tokens.expect('name').text;
    if (/^(true|false|none)$/i.test(name) && name !== name.toUpperCase()) {
      throw tokens.fail(`can't assign to '${name}'`);
    }
    return name;
  }

  #signature(): Signature {
    const { tokens } = this;
    const names: string[] = [];
    const defaults: Expr[] = [];
    tokens.expect('operator', '(');
    while (!tokens.isOperator(')')) {
      if (names.length > 0) tokens.expect('operator', ',');
      names.push(this.#name());
      if (tokens.skip('operator', '=')) defaults.push(this.expressions.expression());
      else if (defaults.length > 0) {
        throw tokens.fail('non-default argument follows default argument');
      }
    }
    tokens.expect('operator', ')');
    return { names, defaults };
  }

  /** A name, several, or (where `members`) an attribute of a namespace. */
  #target(end?: string, members = false): Target {
    const { tokens } = this;
    const items: Target[] = [];
    let many = false;
    const ends = () =>
      tokens.is('block_end') || tokens.isOperator(')') || (end !== undefined && tokens.isName(end));
    while (items.length === 0 || !ends()) {
      items.push(this.#oneTarget(members));
      if (!tokens.skip('operator', ',')) break;
      many = true;
    }
    return many ? { kind: 'tuple', items } : items[0];
  }

  #oneTarget(members: boolean): Target {
    const { tokens } = this;
    if (tokens.skip('operator', '(')) {
      const target = tokens.nested(() => this.#target());
      tokens.expect('operator', ')');
      return target;
    }
    const name = this.#name();
    if (!members || !tokens.skip('operator', '.')) return { kind: 'name', name };
    return { kind: 'member', of: name, name: tokens.expect('name').text };
  }
}

const STATEMENTS: Record<string, (this: StatementParser) => Statement | Statement[]> = {
  print: StatementParser.prototype.print,
  for: StatementParser.prototype.for,
  if: StatementParser.prototype.if,
  set: StatementParser.prototype.set,
  macro: StatementParser.prototype.macro,
  call: StatementParser.prototype.call,
  filter: StatementParser.prototype.filter,
  with: StatementParser.prototype.with,
  autoescape: StatementParser.prototype.autoescape,
  generation: StatementParser.prototype.generation,
  block: StatementParser.prototype.block,
  break() {
    return this.leave('break');
  },
  continue() {
    return this.leave('continue');
  },
  include: StatementParser.prototype.other,
  import: StatementParser.prototype.other,
  from: StatementParser.prototype.other,
  extends: StatementParser.prototype.other,
};

/** @throws TemplateFailure of kind syntax */
export function parse(source: string): Body {
  return new StatementParser(new TokenStream(tokenize(source))).template();
}
