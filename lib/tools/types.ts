/** What callers say about tools and reasoning, and what they get of it. */

/** A tool, as OpenAI's API spells it; further members reach the chat template as they are. */
export interface ToolDefinition {
  /** There is no other kind. */
  readonly type: 'function';
  /** What is called. */
  readonly function: {
    /** Letters, digits, `_`, `-`, `.` and `:`, at most 128; unique among the tools of a call. */
    readonly name: string;
    /** What the model is told of it. */
    readonly description?: string;
    /** JSON Schema of the arguments, of type object. Default: an object without members. */
    readonly parameters?: Readonly<Record<string, unknown>> | null;
    /**
     * True: a schema that cannot be enforced whole is refused. Default false: it is enforced as far
     * as it can be, and a warning says what is not.
     */
    readonly strict?: boolean | null;
    readonly [member: string]: unknown;
  };
  readonly [member: string]: unknown;
}

/**
 * Which tools may or must be called. `none`: no tool; `auto`: any number of any; `required`: at
 * least one; `{ name }`: exactly this one, once; `{ allowed, mode }`: as `mode` says, of these.
 */
export type ToolChoice =
  | 'none'
  | 'auto'
  | 'required'
  | { readonly name: string }
  | { readonly allowed: readonly string[]; readonly mode?: 'auto' | 'required' };

/** Whether and how long a model reasons before it answers. */
export interface ReasoningOptions {
  /**
   * False asks the template for an answer without reasoning, true for one with; by whatever
   * variable the template has for it. Default: as the template does by itself.
   */
  readonly enabled?: boolean;
  /** Most tokens of reasoning: then its end is written for the model. Default: no limit. */
  readonly budget?: number;
  /** The template's variable `reasoning_effort`. */
  readonly effort?: string;
}

/** How an answer to messages is read: into reasoning, content and calls. */
export interface ChatOptions {
  /** Default none. They are also what the template describes to the model. */
  readonly tools?: readonly ToolDefinition[] | null;
  /** Default `auto` where there are tools. */
  readonly toolChoice?: ToolChoice | null;
  /** False: at most one call in an answer. Default true, where the format has several. */
  readonly parallelToolCalls?: boolean | null;
  /** Default: as the chat template does by itself. */
  readonly reasoning?: ReasoningOptions | null;
  /** A format by its name, instead of what the chat template shows. Default `auto`. */
  readonly toolCallParser?: string | null;
  /** As `toolCallParser`, for reasoning; `none` takes reasoning for content. Default `auto`. */
  readonly reasoningParser?: string | null;
}

/** A call that a model made. */
export interface ToolCall {
  /** Made up where the format has none, or one that comes after the arguments. */
  readonly id: string;
  /** The tool. */
  readonly name: string;
  /** Parsed; undefined where the answer ended within them (finishReason `length`, `error`). */
  readonly arguments: unknown;
  /** The JSON of the arguments; never '' of a call that is whole. */
  readonly argumentsText: string;
}

/**
 * A piece of an answer. Calls have indices 0, 1 …; the `json` of a call's events is together the
 * JSON of its arguments. Texts come coalesced.
 */
export type ChatEvent =
  | { readonly type: 'reasoning'; readonly text: string }
  | { readonly type: 'content'; readonly text: string }
  | { readonly type: 'call'; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: 'arguments'; readonly index: number; readonly json: string }
  | { readonly type: 'call-end'; readonly index: number };
