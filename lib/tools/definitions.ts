/** Tools and choices as callers give them, checked. */
import { isPlainObject, readArgument, shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { ChatOptions, ToolChoice, ToolDefinition } from './types.js';

/** Most tools of one call. */
export const MAX_TOOLS = 256;

const NAME = /^[a-zA-Z0-9_.:-]{1,128}$/;

/** A tool that may be called. */
export interface Tool {
  readonly name: string;
  /** Of the arguments; an object's. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly strict: boolean;
  /** Of the definition in the caller's list, for messages. */
  readonly place: number;
}

/** The choice, whole: which tools, and how many calls. */
export interface CheckedTools {
  /** Those that may be called. */
  readonly callable: readonly Tool[];
  /** All of them. */
  readonly tools: readonly Tool[];
  /** As given, for the template; null where there are none. */
  readonly definitions: readonly ToolDefinition[] | null;
  readonly minCalls: 0 | 1;
  readonly maxCalls: number;
  /** Whether a tool was named, so that its call is all of the answer. */
  readonly isNamed: boolean;
}

function invalid(param: string, message: string, cause?: unknown): Error {
  return octavoError('ERR_INVALID_PARAM', message, { param, cause });
}

/** What a tool without parameters takes. */
const NOTHING = { type: 'object', properties: {}, additionalProperties: false };

/** Arguments are an object, whatever else a schema leaves open. */
function schemaOf(parameters: unknown, param: string): Record<string, unknown> {
  if (parameters === undefined || parameters === null) return NOTHING;
  if (!isPlainObject(parameters)) {
    throw invalid(param, `${param} must be a JSON Schema: an object {"type": "object", …}`);
  }
  const schema = { ...parameters } as Record<string, unknown>;
  const { type } = schema;
  if (type === undefined || type === null) return { ...schema, type: 'object' };
  if (type === 'object') return schema;
  if (Array.isArray(type) && type.includes('object')) return { ...schema, type: 'object' };
  throw invalid(
    `${param}.type`,
    `${param}.type is ${shown(type)}, and the arguments of a tool are an object; make it "object"`,
  );
}

function checkTool(definition: unknown, place: number): Tool {
  const param = `tools[${place}]`;
  if (!isPlainObject(definition)) {
    throw invalid(param, `${param} must be an object {type: "function", function: {name, …}}`);
  }
  const { type, function: callee } = definition as Record<string, unknown>;
  if (type !== 'function') {
    throw invalid(`${param}.type`, `${param}.type is ${shown(type)}; only "function" is known`);
  }
  if (!isPlainObject(callee)) {
    throw invalid(`${param}.function`, `${param}.function must be an object {name, parameters}`);
  }
  const { name, description, parameters, strict } = callee as Record<string, unknown>;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw invalid(
      `${param}.function.name`,
      `${param}.function.name is ${shown(name)}; a name has 1 to 128 letters, digits, _, -, . or :`,
    );
  }
  if (description != null && typeof description !== 'string') {
    throw invalid(
      `${param}.function.description`,
      `${param}.function.description must be a string`,
    );
  }
  if (strict != null && typeof strict !== 'boolean') {
    throw invalid(`${param}.function.strict`, `${param}.function.strict must be true or false`);
  }
  const schema = schemaOf(parameters, `${param}.function.parameters`);
  return { name, schema, strict: strict === true, place };
}

function checkList(given: unknown): Tool[] {
  if (!Array.isArray(given)) throw invalid('tools', 'tools must be an array of tool definitions');
  if (given.length > MAX_TOOLS) {
    throw invalid('tools', `${given.length} tools are given, and at most ${MAX_TOOLS} are taken`);
  }
  const tools = given.map(checkTool);
  const known = new Map<string, number>();
  for (const { name, place } of tools) {
    const first = known.get(name);
    if (first !== undefined) {
      throw invalid(
        `tools[${place}].function.name`,
        `tools[${first}] and tools[${place}] are both called ${name}; give each its own name`,
      );
    }
    known.set(name, place);
  }
  return tools;
}

function find(tools: readonly Tool[], name: unknown, param: string): Tool {
  const tool = tools.find((one) => one.name === name);
  if (tool !== undefined) return tool;
  const names = tools.length === 0 ? 'there are none' : tools.map((one) => one.name).join(', ');
  throw invalid(param, `toolChoice asks for ${shown(name)}, which is none of the tools: ${names}`);
}

/** Which tools a choice leaves, and whether one must be called. */
function choose(
  tools: readonly Tool[],
  choice: ToolChoice,
): Omit<CheckedTools, 'tools' | 'definitions' | 'maxCalls'> {
  const some = (callable: readonly Tool[], mode: unknown) => {
    if (mode !== 'auto' && mode !== 'required') {
      throw invalid('toolChoice.mode', 'toolChoice.mode must be "auto" or "required"');
    }
    if (mode === 'required' && callable.length === 0) {
      throw invalid('toolChoice', 'toolChoice requires a call, and there are no tools to call');
    }
    return {
      callable,
      minCalls: mode === 'required' ? (1 as const) : (0 as const),
      isNamed: false,
    };
  };
  if (choice === 'none') return { callable: [], minCalls: 0, isNamed: false };
  if (choice === 'auto' || choice === 'required') return some(tools, choice);
  if (isPlainObject(choice) && 'name' in choice) {
    return { callable: [find(tools, choice.name, 'toolChoice.name')], minCalls: 1, isNamed: true };
  }
  if (isPlainObject(choice) && 'allowed' in choice && Array.isArray(choice.allowed)) {
    const names = new Set(
      choice.allowed.map((name, i) => find(tools, name, `toolChoice.allowed[${i}]`)),
    );
    return some([...names], choice.mode ?? 'auto');
  }
  throw invalid(
    'toolChoice',
    'toolChoice must be "none", "auto", "required", {name} or {allowed: [names], mode}',
  );
}

/**
 * The tools of a call and what is chosen of them.
 * @throws ERR_INVALID_PARAM, naming the place
 */
export function checkTools(options: ChatOptions): CheckedTools {
  const unreadable = (cause: unknown) => invalid('tools', 'tools cannot be read', cause);
  return readArgument(() => {
    const { tools: given, toolChoice, parallelToolCalls } = options;
    if (parallelToolCalls != null && typeof parallelToolCalls !== 'boolean') {
      throw invalid('parallelToolCalls', 'parallelToolCalls must be true or false');
    }
    const tools = given == null ? [] : checkList(given);
    const chosen = choose(tools, toolChoice ?? 'auto');
    const one = parallelToolCalls === false || chosen.isNamed;
    const definitions = tools.length === 0 ? null : [...(given as readonly ToolDefinition[])];
    return { ...chosen, tools, definitions, maxCalls: one ? 1 : Number.POSITIVE_INFINITY };
  }, unreadable);
}
