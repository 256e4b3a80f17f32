/** How a conversation is to be rendered. */
import { isPlainObject, readArgument } from '../arguments.js';
import { octavoError } from '../errors.js';

/** How a chat template is to render a conversation. */
export interface RenderOptions {
  /** Whether the text ends with the beginning of the assistant's turn. Default true. */
  addGenerationPrompt?: boolean;
  /**
   * Ends the text where the last message's content ends, so that the model goes on with it; a
   * string names another member (reasoning_content). Excludes `addGenerationPrompt`.
   */
  continueFinalMessage?: boolean | string;
  /** Tool descriptions, as the template wants them (OpenAI's shape). Default none. */
  tools?: readonly unknown[] | null;
  /** Documents to answer from, as the template wants them. Default none. */
  documents?: readonly unknown[] | null;
  /**
   * Another template than the model's. Messages reach it as transformers' apply_chat_template
   * passes them: parts, arguments and empty lists as they were given.
   */
  chatTemplate?: string;
  /** Which of several. Default: "tool_use" if there are tools and such a one, else "default". */
  templateName?: string;
  /** Further variables by name, for those that are called like an option. */
  variables?: Readonly<Record<string, unknown>>;
  /** What strftime_now takes for now. Default: the time of the call. */
  now?: Date;
  /** Any other name is a variable of the template (enable_thinking, date_string …). */
  [variable: string]: unknown;
}

/** Options, whole and checked. */
export interface RenderSettings {
  readonly addGenerationPrompt: boolean;
  /** The member to go on with. */
  readonly continued: string | undefined;
  readonly tools: readonly unknown[] | null;
  readonly documents: readonly unknown[] | null;
  readonly chatTemplate: string | undefined;
  readonly templateName: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly now: Date;
}

function invalid(name: string, must: string, cause?: unknown): Error {
  return octavoError('ERR_INVALID_PARAM', `the template option ${name} must be ${must}`, {
    param: `template.${name}`,
    cause,
  });
}

function take<T>(
  from: Record<string, unknown>,
  name: string,
  is: (value: unknown) => boolean,
  must: string,
): T | undefined {
  const value = from[name];
  delete from[name];
  const refusal = (cause?: unknown) => invalid(name, must, cause);
  if (value === undefined || readArgument(() => is(value), refusal)) return value as T | undefined;
  throw refusal();
}

const isFlag = (value: unknown) => typeof value === 'boolean';
const isText = (value: unknown) => typeof value === 'string';
const isList = (value: unknown) => value === null || Array.isArray(value);
const isMember = (value: unknown) => isFlag(value) || (isText(value) && value !== '');
const isRecord = isPlainObject;
const isTime = (value: unknown) => value instanceof Date && !Number.isNaN(value.getTime());

/** Options and variables in one, taken once. */
function taken(options: RenderOptions): Record<string, unknown> {
  const refusal = (cause?: unknown) =>
    octavoError('ERR_INVALID_PARAM', 'the template options must be an object', {
      param: 'template',
      cause,
    });
  const left = readArgument(() => (isRecord(options) ? { ...options } : undefined), refusal);
  if (left === undefined) throw refusal();
  const must = 'an object of variables by name';
  const variables = take<object>(left, 'variables', isRecord, must);
  return readArgument(
    () => ({ ...variables, ...left }),
    (cause) => invalid('variables', must, cause),
  );
}

/**
 * Names that transformers spells with underscores mean the same here.
 *
 * @throws ERR_INVALID_PARAM, naming the option
 */
export function renderSettings(options: RenderOptions): RenderSettings {
  const rest = taken(options);
  const either = (name: string, theirs: string, is: (v: unknown) => boolean, must: string) => {
    const value = take<boolean | string>(rest, name, is, must);
    const other = take<boolean | string>(rest, theirs, is, must);
    return value ?? other;
  };
  const prompt = either('addGenerationPrompt', 'add_generation_prompt', isFlag, 'a boolean');
  const goOn = either(
    'continueFinalMessage',
    'continue_final_message',
    isMember,
    'a boolean or the name of a member',
  );
  if (goOn && prompt === true) {
    throw octavoError(
      'ERR_CHAT_TEMPLATE',
      'The chat template cannot both go on with the last message and begin another: ' +
        'give continueFinalMessage or addGenerationPrompt',
      { param: 'template.continueFinalMessage' },
    );
  }
  return {
    addGenerationPrompt: Boolean(prompt ?? !goOn),
    continued: goOn === true ? 'content' : goOn || undefined,
    tools: take<readonly unknown[] | null>(rest, 'tools', isList, 'an array or null') ?? null,
    documents: take<readonly unknown[]>(rest, 'documents', isList, 'an array or null') ?? null,
    chatTemplate: take<string>(rest, 'chatTemplate', isText, 'a string'),
    templateName: take<string>(rest, 'templateName', isText, 'a string'),
    now: take<Date>(rest, 'now', isTime, 'a valid Date') ?? new Date(),
    variables: rest,
  };
}
