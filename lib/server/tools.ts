/** Tools of chat completions, of responses and of messages, and which of them may be called. */
import type { ToolChoice } from '../tools/types.js';
import { badRequest } from './problem.js';
import type {
  ChatToolBody,
  MessageToolBody,
  ResponseTool,
  ResponseToolBody,
} from './schemas/tools.js';
import { customTool, functionTool, type OfferedTool, Toolbox } from './toolbox.js';

/** What a request says of tools. */
export interface ToolWishes {
  readonly toolbox: Toolbox;
  readonly choice: ToolChoice | undefined;
  readonly parallel: boolean | undefined;
  /** Types of tools that were passed over. */
  readonly hosted: readonly string[];
}

const needed = (place: string) => badRequest(`${place}: is needed`, place);

/** @throws Problem 400 */
export function chatTools(body: Partial<ChatToolBody>): ToolWishes {
  const hosted: string[] = [];
  const tools = (body.tools ?? []).flatMap((tool, i): OfferedTool[] => {
    if (tool.type === 'function') {
      if (tool.function === undefined) throw needed(`tools[${i}].function`);
      return [functionTool(tool.function)];
    }
    if (tool.type === 'custom') {
      if (tool.custom === undefined) throw needed(`tools[${i}].custom`);
      return [customTool(tool.custom)];
    }
    hosted.push(tool.type);
    return [];
  });
  const old = isOld(body) ? (body.functions ?? []).map((one) => functionTool(one)) : [];
  const toolbox = new Toolbox([...tools, ...old]);
  const choice = isOld(body) ? oldChoice(body, toolbox) : chatChoice(body.tool_choice, toolbox);
  const parallel = isOld(body) ? false : body.parallel_tool_calls;
  return { toolbox, choice, parallel, hosted };
}

/** Whether its calls are told as they were before there were tools. */
export function isOld({ tools, functions }: Partial<ChatToolBody>): boolean {
  return (tools ?? []).length === 0 && (functions ?? []).length > 0;
}

function oldChoice({ function_call: call }: Partial<ChatToolBody>, toolbox: Toolbox) {
  return typeof call === 'object' ? { name: toolbox.named(call.name) } : call;
}

/** A word is the library's as it is. */
function chatChoice(choice: ChatToolBody['tool_choice'], toolbox: Toolbox): ToolChoice | undefined {
  if (typeof choice !== 'object') return choice;
  const { type, allowed_tools: allowed } = choice;
  if (type === 'allowed_tools' && allowed !== undefined) {
    const names = allowed.tools.map((one) => toolbox.named((one.function ?? one.custom)?.name));
    return allowedOf(names, allowed.mode);
  }
  if (type !== 'function' && type !== 'custom') throw notKnown(type);
  const { name } = choice.function ?? choice.custom ?? {};
  return { name: toolbox.named(given(name, `tool_choice.${type}.name`)) };
}

function given(name: string | undefined, place: string): string {
  if (name === undefined) throw needed(place);
  return name;
}

function notKnown(type: string) {
  const sentence = `tool_choice: nothing is known of the type ${JSON.stringify(type.slice(0, 64))}`;
  return badRequest(sentence, 'tool_choice');
}

const allowedOf = (allowed: readonly string[], mode: 'auto' | 'required'): ToolChoice =>
  allowed.length === 0 && mode === 'auto' ? 'none' : { allowed, mode };

/** Tools of a namespace are called by both names. @throws Problem 400 */
export function responseTools(body: Partial<ResponseToolBody>): ToolWishes {
  const hosted: string[] = [];
  const tools = (body.tools ?? []).flatMap((tool, i) => {
    const list = tool.type === 'namespace' ? tool.tools : undefined;
    if (list === undefined) return responseTool(tool, `tools.${i}`, hosted);
    return list.flatMap((one, k) => responseTool(one, `tools.${i}.tools.${k}`, hosted, tool.name));
  });
  const toolbox = new Toolbox(tools);
  const choice = responseChoice(body.tool_choice, toolbox);
  return { toolbox, choice, parallel: body.parallel_tool_calls, hosted };
}

function responseTool(
  tool: ResponseTool,
  place: string,
  hosted: string[],
  namespace?: string,
): OfferedTool[] {
  const { type, name } = tool;
  if (type !== 'function' && type !== 'custom') {
    hosted.push(type);
    return [];
  }
  if (name === undefined || name === '') throw needed(`${place}.name`);
  const named = { ...tool, name };
  return [type === 'function' ? functionTool(named, namespace) : customTool(named, namespace)];
}

function responseChoice(
  choice: ResponseToolBody['tool_choice'],
  toolbox: Toolbox,
): ToolChoice | undefined {
  if (typeof choice !== 'object') return choice;
  const { type, name, namespace, mode, tools } = choice;
  if (type === 'allowed_tools' && tools !== undefined) {
    // Hosted ones were passed over as tools, too.
    const ours = tools.filter((one) => one.type === 'function' || one.type === 'custom');
    const names = ours.map((one) => toolbox.named(one.name, one.namespace));
    return allowedOf(names, mode ?? 'auto');
  }
  if (type !== 'function' && type !== 'custom') throw notKnown(type);
  return { name: toolbox.named(given(name, 'tool_choice.name'), namespace) };
}

/** Tools of Anthropic's own have a type with a date, and no schema. @throws Problem 400 */
export function messageTools(body: Partial<MessageToolBody>): ToolWishes {
  const hosted: string[] = [];
  const tools = (body.tools ?? []).flatMap((tool): OfferedTool[] => {
    const { type = 'custom', input_schema: parameters, ...rest } = tool;
    if (type === 'custom') return [functionTool({ ...rest, parameters })];
    hosted.push(type);
    return [];
  });
  const toolbox = new Toolbox(tools);
  const { type, name, disable_parallel_tool_use: single } = body.tool_choice ?? {};
  const parallel = single === undefined ? undefined : !single;
  const isNamed = type === 'tool';
  const choice = isNamed
    ? { name: toolbox.named(given(name, 'tool_choice.name')) }
    : type === 'any'
      ? 'required'
      : type;
  return { toolbox, choice, parallel, hosted };
}
