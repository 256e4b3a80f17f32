/** JSON that keeps numbers as they are written, as suites of schemas mean 1.0 and 1 to differ. */
export type JsonText =
  | { readonly kind: 'object'; readonly members: (readonly [name: string, value: JsonText])[] }
  | { readonly kind: 'array'; readonly items: JsonText[] }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'word'; readonly text: string };

export function readJson(text: string): JsonText {
  let at = 0;
  const space = () => {
    while (/\s/.test(text[at] ?? '')) at++;
  };
  const string = (): string => {
    const from = at++;
    while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
    return JSON.parse(text.slice(from, ++at)) as string;
  };
  const list = (close: string, one: () => void) => {
    at++;
    space();
    while (text[at] !== close) {
      one();
      space();
      if (text[at] === ',') at++;
      space();
    }
    at++;
  };
  const value = (): JsonText => {
    space();
    if (text[at] === '"') return { kind: 'string', value: string() };
    if (text[at] === '[') {
      const items: JsonText[] = [];
      list(']', () => items.push(value()));
      return { kind: 'array', items };
    }
    if (text[at] !== '{') {
      const word = /^[-+.\w]+/.exec(text.slice(at, at + 400))![0];
      at += word.length;
      return { kind: 'word', text: word };
    }
    const members: (readonly [string, JsonText])[] = [];
    list('}', () => {
      const name = string();
      space();
      at++;
      members.push([name, value()]);
    });
    return { kind: 'object', members };
  };
  return value();
}

export function member(value: JsonText, name: string): JsonText | undefined {
  return value.kind === 'object' ? value.members.find(([own]) => own === name)?.[1] : undefined;
}

/** As Python writes it by default, but with all characters as they are. */
export function writeJson(value: JsonText): string {
  switch (value.kind) {
    case 'string':
      return JSON.stringify(value.value);
    case 'word':
      return value.text;
    case 'array':
      return `[${value.items.map(writeJson).join(', ')}]`;
    case 'object': {
      const members = value.members.map(
        ([name, own]) => `${JSON.stringify(name)}: ${writeJson(own)}`,
      );
      return `{${members.join(', ')}}`;
    }
  }
}
