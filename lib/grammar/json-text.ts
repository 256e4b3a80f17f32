/**
 * JSON texts, read so that the order of members is known: objects of JavaScript put names that look
 * like whole numbers ("10", "2") first, and ascending.
 */

/** Such a name, perhaps escaped. */
const NUMBER_NAME = /"(?:[0-9]|\\u003[0-9])+"\s*:/;
const TOKEN = /[\s,:]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([[{])|([\]}])|[^\s,:[\]{}"]+)/y;

const orders = new WeakMap<object, readonly string[]>();

type Container = Record<string, unknown> | unknown[];

/** As JSON.parse; {@link namesOf} says the order in the text. @throws SyntaxError */
export function readJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (NUMBER_NAME.test(text) && isContainer(value)) noteOrders(text, value);
  return value;
}

/** The names of an object's members, in the order of the text that it was read from. */
export function namesOf(object: object): readonly string[] {
  return orders.get(object) ?? Object.keys(object);
}

interface Open {
  readonly of: Container;
  /** Of an object: names so far. */
  readonly names: Set<string>;
  /** Of an object: the name whose value comes next. */
  name: string | undefined;
  /** Of an array: values so far. */
  count: number;
}

/** @param text of which `root` was parsed */
function noteOrders(text: string, root: Container): void {
  const stack: Open[] = [];
  const open = (of: Container) => stack.push({ of, names: new Set(), name: undefined, count: 0 });
  /** What the value that begins here has become: nothing where the same name comes again. */
  const place = (): unknown => {
    const around = stack[stack.length - 1];
    if (around === undefined) return root;
    if (Array.isArray(around.of)) return around.of[around.count++];
    const value = around.of[around.name as string];
    around.name = undefined;
    return value;
  };
  TOKEN.lastIndex = 0;
  for (let token = TOKEN.exec(text); token !== null; token = TOKEN.exec(text)) {
    const [, string, opening, closing] = token;
    const around = stack[stack.length - 1];
    if (closing !== undefined) {
      const { of, names } = stack.pop() as Open;
      if (!Array.isArray(of)) orders.set(of, [...names]);
    } else if (opening !== undefined) {
      const value = place();
      const fits = isContainer(value) && Array.isArray(value) === (opening === '[');
      open(fits ? value : opening === '[' ? [] : {});
    } else if (string !== undefined && around && isNamed(around)) {
      around.name = JSON.parse(string) as string;
      around.names.add(around.name);
    } else place();
  }
}

/** Whether a name comes next. */
function isNamed({ of, name }: Open): boolean {
  return !Array.isArray(of) && name === undefined;
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}
