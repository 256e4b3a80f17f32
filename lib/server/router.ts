/** Method and path to a route; a path may end with `{id}`. */
import type { z } from 'zod';
import type { Exchange } from './exchange.js';
import { Problem } from './problem.js';

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** For the OpenAPI document. */
  readonly summary: string;
  readonly body?: z.ZodObject;
  /** Text where it is left out. */
  readonly response?: z.ZodType;
  /** Whether it needs a place in the queue of a model: refused before its body is read if none is
   * free. */
  readonly queued?: boolean;
  /** What it answers with, where that is neither JSON nor plain text. */
  readonly contentType?: string;
  /** Whether `stream: true` is answered with events. */
  readonly streams?: boolean;
  /** The form of its errors where that is not OpenAI's. */
  readonly problem?: z.ZodType;
  /** Whether a key is asked for. */
  readonly guarded: boolean;
  handle(exchange: Exchange): Promise<void> | void;
}

export interface Match {
  readonly route: Route;
  readonly id: string;
}

export class Router {
  readonly #routes = new Map<string, Map<string, Route>>();
  /** What stands before the `{id}` of a path. */
  readonly #prefixes: string[] = [];

  constructor(readonly routes: readonly Route[]) {
    for (const route of routes) {
      const path = route.path.replace(/\{id\}/, '*');
      const methods = this.#routes.get(path) ?? new Map<string, Route>();
      methods.set(route.method, route);
      this.#routes.set(path, methods);
      if (path.endsWith('*') && methods.size === 1) this.#prefixes.push(path.slice(0, -1));
    }
  }

  /** The methods that a path knows, with HEAD where there is GET; null for an unknown path. */
  #methodsAt(path: string): { methods: Map<string, Route>; id: string } | null {
    const exact = this.#routes.get(path);
    if (exact) return { methods: exact, id: '' };
    // A model's name may have slashes of its own.
    const prefix = this.#prefixes.find((one) => path.startsWith(one) && path.length > one.length);
    const methods = prefix === undefined ? undefined : this.#routes.get(`${prefix}*`);
    return methods ? { methods, id: decode(path.slice(prefix!.length)) } : null;
  }

  has(path: string): boolean {
    return this.#methodsAt(path) !== null;
  }

  methods(path: string): string {
    const known = [...(this.#methodsAt(path)?.methods.keys() ?? ['GET', 'POST'])];
    return [...known, ...(known.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  }

  /** @throws Problem 404, or 405 where the path has other methods */
  match(method: string, path: string): Match {
    const found = this.#methodsAt(path);
    if (found === null) throw new Problem(404, `there is no route ${path.slice(0, 200)}`);
    const route = found.methods.get(method === 'HEAD' ? 'GET' : method);
    if (route) return { route, id: found.id };
    const allow = this.methods(path);
    throw new Problem(405, `${path} takes ${allow}, not ${method}`, null, { allow });
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
