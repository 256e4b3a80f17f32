/** The tools that a request offers: as the model knows them, and as its protocol does. */
import type { ChatOptions, ToolChoice, ToolDefinition } from '../tools/types.js';
import type { Exchange } from './exchange.js';
import { SILENT } from './logs.js';
import { badRequest } from './problem.js';
import type { CustomFormat } from './schemas/tools.js';

/** A tool by the name that the model calls it. */
export interface OfferedTool {
  readonly definition: ToolDefinition;
  /** Its name on the wire, where it is another. */
  readonly name: string;
  readonly namespace?: string;
  /** `custom`: its input is a text, which the model writes as the one argument `input`. */
  readonly kind: 'function' | 'custom';
}

interface FunctionMembers {
  readonly name: string;
  readonly description?: string;
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly strict?: boolean;
}

/** Templates go over the properties. What there is keeps its order: it is what the model reads. */
function completed(parameters: Readonly<Record<string, unknown>> = {}) {
  const { type = 'object', properties = {} } = parameters;
  return Object.keys(parameters).length === 0
    ? { type, properties }
    : { ...parameters, type, properties };
}

/** A tool whose arguments are JSON. Clients leave `parameters` out, or empty. */
export function functionTool(members: FunctionMembers, namespace?: string): OfferedTool {
  const { name, description, parameters, strict } = members;
  const callee = {
    name: namespace === undefined ? name : `${namespace}.${name}`,
    ...(description === undefined ? {} : { description }),
    parameters: completed(parameters),
    ...(strict ? { strict } : {}),
  };
  const definition: ToolDefinition = { type: 'function', function: callee };
  return { definition, name, ...(namespace === undefined ? {} : { namespace }), kind: 'function' };
}

/**
 * A tool whose input is a text. A regular expression for it is enforced; a grammar of Lark is told
 * to the model, but not enforced inside of JSON.
 */
export function customTool(
  { name, description, format }: Omit<FunctionMembers, 'parameters'> & { format?: CustomFormat },
  namespace?: string,
): OfferedTool {
  const { syntax, definition = '' } = format?.grammar ?? format ?? {};
  const isRegex = syntax === 'regex';
  const told =
    syntax === undefined || isRegex ? [] : [`The input follows this grammar:\n${definition}`];
  const input = { type: 'string', ...(isRegex ? { pattern: `^(?:${definition})$` } : {}) };
  const parameters = { properties: { input }, required: ['input'], additionalProperties: false };
  const described = [...(description === undefined ? [] : [description]), ...told].join('\n\n');
  const { definition: made, ...rest } = functionTool(
    { name, ...(described === '' ? {} : { description: described }), parameters, strict: isRegex },
    namespace,
  );
  return { ...rest, definition: made, kind: 'custom' };
}

/** The text that a call of a custom tool is about; of a call that was cut, what there is. */
export function customInput(json: string): string {
  try {
    const { input } = JSON.parse(json) as { input?: unknown };
    return typeof input === 'string' ? input : json;
  } catch {
    return json;
  }
}

/** Arguments of a call of a custom tool, for the conversation's template. */
export const customArguments = (input: unknown): string =>
  JSON.stringify({ input: typeof input === 'string' ? input : '' });

/** Tools by the names that the model calls them. */
export class Toolbox {
  readonly #tools = new Map<string, OfferedTool>();
  readonly #wireNames = new Map<string, string>();
  readonly definitions: readonly ToolDefinition[];

  constructor(tools: readonly OfferedTool[] = []) {
    this.definitions = tools.map(({ definition }) => definition);
    for (const tool of tools) {
      const { name } = tool.definition.function;
      this.#tools.set(name, tool);
      this.#wireNames.set(wireName(tool), name);
    }
  }

  get isEmpty(): boolean {
    return this.definitions.length === 0;
  }

  /** How the protocol calls what the model called. */
  find(name: string): OfferedTool {
    return this.#tools.get(name) ?? functionTool({ name });
  }

  /**
   * The model's name of a tool that a choice names.
   * @throws Problem 400 where it is not offered
   */
  named(name: string | undefined, namespace?: string): string {
    const known = this.#wireNames.get(wireName({ name: name ?? '', namespace }));
    if (known !== undefined) return known;
    const shown = JSON.stringify((name ?? '').slice(0, 100));
    throw badRequest(`tool_choice: ${shown} is not one of the tools`, 'tool_choice');
  }

  /**
   * What of it the library is told.
   * @throws Problem 400 for a choice that needs tools, where there are none
   */
  options(choice: ToolChoice | undefined, parallel: boolean | undefined): ChatOptions {
    if (this.isEmpty) {
      if (choice === undefined || choice === 'auto' || choice === 'none') return {};
      throw badRequest('tool_choice: needs tools', 'tool_choice');
    }
    return {
      tools: this.definitions,
      ...(choice === undefined ? {} : { toolChoice: choice }),
      ...(parallel === undefined ? {} : { parallelToolCalls: parallel }),
    };
  }
}

const wireName = ({ name, namespace }: Pick<OfferedTool, 'name' | 'namespace'>) =>
  namespace === undefined ? name : `${namespace}.${name}`;

/** Tools that run on another's side have no meaning here, and are no reason to refuse a request. */
export function tellHosted({ id, config }: Exchange, types: readonly string[]): void {
  if (types.length === 0) return;
  const fields = { request_id: id, tools: types.map((type) => type.slice(0, 64)) };
  (config.logger ?? SILENT).info(fields, 'hosted tools were passed over');
}
