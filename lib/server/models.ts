/** The models of a server, by the names that requests call them. */
import { basename } from 'node:path';
import type { LLM } from '../engine/llm.js';
import { octavoError } from '../errors.js';
import type { ServerConfig } from './options.js';
import { Problem } from './problem.js';
import { fitness, type Task, whyNot } from './tasks.js';

export interface Model {
  /** Its first name. */
  readonly name: string;
  readonly llm: LLM;
}

export class Models {
  /** Each model once. */
  readonly all: readonly Model[];
  /** Each name once, `*` aside. */
  readonly names: ReadonlyMap<string, Model>;
  readonly #takesAny: boolean;

  constructor(models: LLM | Readonly<Record<string, LLM>>, { servedModelName }: ServerConfig) {
    const names = new Map<string, Model>();
    this.all = entriesOf(models, servedModelName).map(([given, llm]) => {
      const own = given.filter((name) => name !== '*');
      const model = { name: own[0] ?? nameOf(llm), llm };
      for (const name of [model.name, ...own]) names.set(name, model);
      return model;
    });
    this.names = names;
    this.#takesAny = servedModelName?.includes('*') ?? false;
  }

  /**
   * The model of a request that is about this; where it names none, the first that is made for it,
   * else the first that can.
   * @throws Problem 404; ERR_MODEL_TASK for a model that cannot
   */
  findFor(task: Task, name: string | undefined): Model {
    const isNamed = name !== undefined && name !== '';
    const model = isNamed ? this.find(name) : this.#firstFor(task);
    const { info } = model.llm;
    if (fitness(task, info) > 0) return model;
    const sentence = `the model ${model.name} ${whyNot(task, info)}`;
    throw octavoError('ERR_MODEL_TASK', sentence, { param: 'model' });
  }

  /** Where no model can, one that is refused with more than how it was loaded. */
  #firstFor(task: Task): Model {
    const first = (least: number, asked = task) =>
      this.all.find(({ llm }) => fitness(asked, llm.info) >= least);
    return (
      first(2) ?? first(1) ?? (task === 'generate' ? undefined : first(1, 'pool')) ?? this.all[0]
    );
  }

  /**
   * The model of a request; the first where it names none.
   * @throws Problem 404
   */
  find(name: string | undefined): Model {
    if (name === undefined || name === '') return this.all[0];
    const model = this.names.get(name) ?? (this.#takesAny ? this.all[0] : undefined);
    if (model !== undefined) return model;
    const known = [...this.names.keys()].join(', ');
    const shown = JSON.stringify(name.slice(0, 200));
    const sentence = `the model ${shown} does not exist; known: ${known}`;
    throw new Problem(404, sentence, 'model');
  }
}

type Entries = readonly (readonly [readonly string[], LLM])[];

function entriesOf(
  models: LLM | Readonly<Record<string, LLM>>,
  given?: readonly string[],
): Entries {
  if (isModel(models)) return [[given ?? [], models]];
  const entries = Object.entries(models);
  if (entries.length === 0 || !entries.every(([, llm]) => isModel(llm))) {
    const sentence = 'createServer() takes an LLM, or several as {name: llm}';
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'models' });
  }
  if (given !== undefined) {
    const sentence = 'servedModelName is for one model; name several by {name: llm}';
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'servedModelName' });
  }
  return entries.map(([name, llm]) => [[name], llm] as const);
}

function isModel(value: unknown): value is LLM {
  const { stream, info } = (value ?? {}) as Partial<LLM>;
  return typeof stream === 'function' && typeof info === 'object';
}

function nameOf({ info }: LLM): string {
  return info.hub?.repo ?? basename(info.path).replace(/\.gguf$/i, '');
}
