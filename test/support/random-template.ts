/** Random templates over a fixed context: to be rendered by Python's Jinja and by ours. */

type Random = () => number;

export const CONTEXT = {
  messages: [
    { role: 'system', content: ' Be brief.\n' },
    { role: 'user', content: 'Hello <b>World</b>, "you" & it\'s 3.5' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c1', function: { name: 'f', arguments: { a: 1, b: [true, null] } } }],
    },
    { role: 'tool', content: '{"x": 1}', name: 'f' },
    { role: 'user', content: [{ type: 'text', text: 'é日👍' }, { type: 'image' }] },
  ],
  tools: null,
  s: 'The quick-brown fox\n\tjumps  over 12 dogs.\n',
  u: 'ÀßΣ 👍🏽 日本ǆ İi',
  e: '',
  n: 7,
  m: -3,
  f: 2.5,
  big: '123456789012345678901',
  yes: true,
  no: false,
  none: null,
  l: [3, 1, 2, 1],
  w: ['b', 'A', 'c', 'a', ''],
  mix: [1, 'a', null, true, 2.5, [1], { k: 'v' }],
  d: { b: 1, A: [1, 2], 'c d': { x: null } },
  rows: [
    { k: 'b', v: 2 },
    { k: 'A', v: 1 },
    { k: 'a', v: 3.5 },
  ],
  empty: [],
};

/** Items between bars. */
function listed(text: string): string[] {
  return text.split('¦').map((item) => item.trim());
}

const ATOMS = listed(`
  messages ¦ messages[0] ¦ messages[2].tool_calls ¦ messages[1].content ¦ messages[-1].content ¦ tools ¦ s ¦
  u ¦ e ¦ n ¦ m ¦ f ¦ big ¦ yes ¦ no ¦ none ¦ l ¦ w ¦ mix ¦ d ¦ rows ¦ empty ¦ nope ¦ 0 ¦ 1 ¦ -1 ¦ 2 ¦ 10 ¦
  1.5 ¦ 0.1 ¦ 1e3 ¦ 100000000000000000000 ¦ 9223372036854775807 ¦ 9223372036854775808 ¦
  -9223372036854775808 ¦ -9223372036854775809 ¦ true ¦ none ¦ '' ¦ 'a' ¦ 'a,b,,c' ¦ ' x ' ¦ '%s|%5.1f' ¦
  '{:>6}|{!r}' ¦ [] ¦ {} ¦ () ¦ [1, 2] ¦ ('a', 1) ¦ {'z': 1, 'a': none} ¦ range(4) ¦ namespace(a=1) ¦
  dict(a=1) ¦ '<&>'|e ¦ l|map("string") ¦ d.items() ¦ d.keys() ¦ rows[0].k ¦ range
`);

const FILTERS = listed(`
  abs ¦ capitalize ¦ center(9) ¦ count ¦ default("D") ¦ default("D", true) ¦ dictsort ¦ dictsort(true) ¦
  dictsort(by="value") ¦ e ¦ escape ¦ filesizeformat ¦ first ¦ float ¦ float(1.5) ¦ forceescape ¦ int ¦
  int(5) ¦ int(base=16) ¦ items ¦ join ¦ join(", ") ¦ join("-", attribute="k") ¦ last ¦ length ¦ list ¦ lower ¦
  map("upper") ¦ map(attribute="k") ¦ map(attribute="role", default="?") ¦ map("length") ¦ max ¦ min ¦
  max(attribute="v") ¦ pprint ¦ reject ¦ reject("none") ¦ rejectattr("k", "eq", "b") ¦ replace("a", "Z") ¦
  replace("", "-", 3) ¦ reverse ¦ round ¦ round(1) ¦ round(1, "ceil") ¦ round(-1) ¦ round(2, "floor") ¦ safe ¦
  select ¦ select("string") ¦ select("number") ¦ select("gt", 1) ¦ selectattr("v") ¦
  selectattr("role", "in", ["user"]) ¦ slice(2) ¦ slice(3, "x") ¦ batch(2) ¦ batch(3, "x") ¦ sort ¦
  sort(true) ¦ sort(attribute="k") ¦ sort(case_sensitive=true) ¦ sort(attribute="k,v") ¦ string ¦ striptags ¦
  sum ¦ sum(attribute="v") ¦ sum(start=10) ¦ title ¦ tojson ¦ tojson(indent=2) ¦ tojson(sort_keys=true) ¦
  tojson(ensure_ascii=true) ¦ tojson(separators=(",", ":")) ¦ trim ¦ trim("aT ") ¦ truncate(8) ¦
  truncate(9, true) ¦ truncate(7, leeway=0, end="~") ¦ unique ¦ unique(true) ¦ upper ¦ urlencode ¦ wordcount ¦
  wordwrap(10) ¦ wordwrap(7, false) ¦ xmlattr ¦ groupby("k") ¦ indent ¦ indent(2, true) ¦
  indent("> ", blank=true) ¦ format(1, 2.25) ¦ format("x") ¦ attr("k") ¦ attr("upper") ¦ list|tojson ¦
  list|length ¦ center(-9223372036854775809) ¦ replace("a", "Z", 9223372036854775807) ¦
  replace("a", "Z", 9223372036854775808) ¦ indent(-9223372036854775808) ¦ indent(-9223372036854775809) ¦
  truncate(9223372036854775808) ¦ batch(9223372036854775808) ¦ int(5, 9223372036854775808)
`);

const TESTS = listed(`
  defined ¦ undefined ¦ none ¦ boolean ¦ true ¦ false ¦ integer ¦ float ¦ number ¦ string ¦ mapping ¦
  iterable ¦ sequence ¦ callable ¦ odd ¦ even ¦ divisibleby(2) ¦ lower ¦ upper ¦ escaped ¦ sameas(none) ¦
  in("abc") ¦ in([1, "a"]) ¦ eq(1) ¦ ne("a") ¦ lt(2) ¦ ge(1) ¦ not none ¦ not defined
`);

const METHODS = listed(String.raw`
  strip() ¦ strip("aT.\n") ¦ lstrip("T") ¦ rstrip() ¦ split() ¦ split(",") ¦ split(none, 1) ¦ split(" ", 2) ¦
  rsplit(" ", 1) ¦ rsplit(none, 2) ¦ splitlines() ¦ splitlines(true) ¦ partition(" ") ¦ rpartition("o") ¦
  startswith("T") ¦ endswith((".", "a")) ¦ find("o") ¦ rfind("o") ¦ index("o") ¦ count("o") ¦ count("") ¦
  upper() ¦ lower() ¦ title() ¦ capitalize() ¦ swapcase() ¦ casefold() ¦ replace("o", "0") ¦
  replace("", ".", 2) ¦ removeprefix("The") ¦ ljust(9, "*") ¦ rjust(9) ¦ center(10, "-") ¦ center(11) ¦
  zfill(8) ¦ expandtabs(4) ¦ isdigit() ¦ isalpha() ¦ isalnum() ¦ isspace() ¦ isupper() ¦ islower() ¦
  istitle() ¦ isidentifier() ¦ isnumeric() ¦ isprintable() ¦ join(w) ¦ join(["x", "y"]) ¦ format(1, "b") ¦
  format(s) ¦ keys() ¦ values() ¦ items() ¦ get("a") ¦ get("b", 5) ¦ copy() ¦ index(1) ¦ count(1) ¦ append(1) ¦
  update({}) ¦ bit_length() ¦ is_integer() ¦ as_integer_ratio() ¦ real ¦ imag ¦ start ¦ a ¦ k ¦ role ¦ b ¦
  split(none, 9223372036854775807) ¦ split("o", 9223372036854775808) ¦ rsplit(none, -9223372036854775809) ¦
  replace("o", "0", -9223372036854775809) ¦ ljust(-9223372036854775808) ¦ zfill(-9223372036854775809) ¦
  expandtabs(2147483648) ¦ splitlines(-2147483649) ¦ find("o", 9223372036854775808) ¦
  count("o", -9223372036854775809) ¦ index(1, 0, 9223372036854775808)
`);

const BINARY = listed(`
  + ¦ - ¦ * ¦ / ¦ // ¦ % ¦ ** ¦ ~ ¦ == ¦ != ¦ < ¦ <= ¦ > ¦ >= ¦ in ¦ not in ¦ and ¦ or
`);
const KEYS = listed(`
  0 ¦ -1 ¦ 1 ¦ "a" ¦ "b" ¦ "k" ¦ 9 ¦ :2 ¦ 1: ¦ ::-1 ¦ -2: ¦ :-1 ¦ ::2 ¦ 3:0:-1 ¦ n ¦ none ¦
  9223372036854775808 ¦ -9223372036854775809 ¦ :9223372036854775808 ¦ -9223372036854775809: ¦ ::9223372036854775808
`);
const FORMATS = listed(`
  '%d|%5d|%-5d|%05d' % (n, n, n, m) ¦ '%x %o %X' % (n, 255, 255) ¦ '%.3f %e %g' % (f, f, f) ¦
  '%r %s' % (s, u) ¦ '{:,}'.format(1234567) ¦ '{:08.3f}|{:+}|{: }'.format(f, n, m) ¦ '{0}{1}{0}'.format(s, n) ¦
  '{a.b} {a[b]}'.format(a=d) ¦ '{:e}'.format(f) ¦ '{:g}|{:.2}'.format(0.00001234, f) ¦
  '{:b}|{:#x}|{:o}'.format(n, 255, 8) ¦ '%5s|%-5s|%.2s' % (u, e, s)
`);

/** Templates of a seed. */
export class TemplateMaker {
  constructor(readonly random: Random) {}

  #below(count: number): number {
    return Math.floor(this.random() * count);
  }

  #one<T>(from: readonly T[]): T {
    return from[this.#below(from.length)];
  }

  expression(depth: number): string {
    if (depth <= 0) return this.#one(ATOMS);
    const inner = () => this.expression(depth - 1 - this.#below(2));
    switch (this.#below(13)) {
      case 0:
      case 1:
      case 2:
        return `(${inner()})|${this.#one(FILTERS)}`;
      case 3:
      case 4:
        return `(${inner()}).${this.#one(METHODS)}`;
      case 5:
        return `(${inner()} ${this.#one(BINARY)} ${inner()})`;
      case 6:
        return `${inner()} ${this.#one(BINARY)} ${inner()}`;
      case 7:
        return `(${inner()}) is ${this.#one(TESTS)}`;
      case 8:
        return `(${inner()})[${this.#one(KEYS)}]`;
      case 9:
        return `(${inner()} if ${inner()} else ${inner()})`;
      case 10:
        return this.#one([
          `not ${inner()}`,
          `-${inner()}`,
          `[${inner()}, ${inner()}]`,
          `{'q': ${inner()}}`,
          `(${inner()},)`,
        ]);
      case 11:
        return this.#one(FORMATS);
      default:
        return this.#one(ATOMS);
    }
  }

  #space(): string {
    return this.#one(['', '', '', ' ', '\n', '  \n', '\n  ', ' \t', '\n\n']);
  }

  #tag(body: string): string {
    return `{%${this.#one(['', '', '-', '+'])} ${body} ${this.#one(['', '', '-', '+'])}%}`;
  }

  #print(): string {
    return `{{${this.#one(['', '', '-', '+'])} ${this.expression(1)} ${this.#one(['', '', '-'])}}}`;
  }

  body(depth: number): string {
    let out = '';
    for (let i = 1 + this.#below(3); i > 0; i--) {
      out += this.#space() + this.statement(depth) + this.#one(['', 'x', '. ', '\n']);
    }
    return out + this.#space();
  }

  statement(depth: number): string {
    const tag = (body: string) => this.#tag(body);
    const body = () => this.body(depth - 1);
    const name = () => this.#one(['x', 'y', 'z', 'n', 's']);
    switch (depth <= 0 ? this.#below(3) : this.#below(14)) {
      case 0:
        return this.#print();
      case 1:
        return `{{ ${name()} }}`;
      case 2:
        return tag(`set ${name()} = ${this.expression(1)}`);
      case 3:
      case 4: {
        const over = this.#one([
          'l',
          'w',
          'rows',
          'messages',
          'range(3)',
          'd',
          'u',
          'empty',
          'l|map("string")',
          this.expression(1),
        ]);
        const test = this.#one(['', '', ` if ${name()} is defined`, ' if x']);
        const otherwise = this.random() < 0.3 ? tag('else') + body() : '';
        const leave = this.#one([
          '',
          '',
          tag('break'),
          tag('if loop.index > 1') + tag('continue') + tag('endif'),
        ]);
        return (
          tag(`for x in ${over}${test}`) + this.#loop() + leave + body() + otherwise + tag('endfor')
        );
      }
      case 5:
        return (
          tag(
            `for k, v in ${this.#one(['d.items()', 'd|dictsort', 'rows|groupby("k")', 'd|items'])}`,
          ) +
          body() +
          '{{ k }}' +
          tag('endfor')
        );
      case 6:
        return (
          tag(`if ${this.expression(1)}`) +
          body() +
          this.#one(['', tag(`elif ${this.expression(1)}`) + body(), tag('else') + body()]) +
          tag('endif')
        );
      case 7:
        return (
          tag('macro g(x, y=5)') +
          body() +
          this.#one(['{{ x }}', '{{ varargs }}{{ kwargs }}', '{{ caller() }}', '']) +
          tag('endmacro') +
          this.#one([
            '{{ g(1) }}',
            '{{ g(1, 2, 3) }}',
            '{{ g(y=n, x=s) }}',
            '{% call g(2) %}C{{ n }}{% endcall %}',
            '{{ g() }}{{ g }}'.slice(0, 9),
          ])
        );
      case 8:
        return (
          tag(`set ${name()}${this.#one(['', ' | upper', ' | trim | replace("x", "y")'])}`) +
          body() +
          tag('endset')
        );
      case 9:
        return (
          tag(`filter ${this.#one(['upper', 'trim', 'indent(2)', 'replace("x", "Q") | length'])}`) +
          body() +
          tag('endfilter')
        );
      case 10:
        return tag(`with x = ${this.expression(1)}, z = x`) + body() + tag('endwith');
      case 11:
        return (
          tag('set ns = namespace(c=0)') +
          tag('for x in l') +
          tag('set ns.c = ns.c + x') +
          body() +
          tag('endfor') +
          '{{ ns.c }}'
        );
      case 12:
        return this.#one([
          tag('generation') + body() + tag('endgeneration'),
          `{#${this.#one(['', '-'])} c {{ x }} ${this.#one(['', '-'])}#}`,
          `{% raw ${this.#one(['', '-'])}%} {{ x }} {%${this.#one(['', '-', '+'])} endraw %}`,
        ]);
      default:
        return (
          tag(`for x in ${this.#one(['mix', 'messages', 'rows'])} recursive`) +
          '{{ loop.depth }}{{ loop(x) if x is iterable and x is not string and x is not mapping }}' +
          tag('endfor')
        );
    }
  }

  #loop(): string {
    return this.#one([
      '',
      '{{ loop.index }}/{{ loop.length }}',
      '{{ loop.last }}',
      '{{ loop.cycle("a", "b") }}',
      '{{ loop.changed(x) }}',
      '{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }}',
      '{{ loop.revindex0 }}',
      '{{ loop.first }}{{ loop.depth0 }}',
    ]);
  }
}
