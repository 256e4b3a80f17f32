/** Tools, and which of them is to be called, as OpenAI says them; read on in tools.ts. */
import { z } from 'zod';
import { flag, opt, text } from './fields.js';

const record = z.record(z.string(), z.unknown());

/** What both of OpenAI's protocols say of a function. */
const functionMembers = {
  description: text,
  parameters: opt(record),
  strict: flag,
};

/** Of a tool whose input is a text, not JSON. */
const customFormat = opt(
  z.looseObject({
    type: z.string(),
    syntax: text,
    definition: text,
    grammar: opt(z.looseObject({ syntax: text, definition: text })),
  }),
);

export type CustomFormat = z.output<typeof customFormat>;

/** Loose: tools that run on OpenAI's side have other members. */
const chatTool = z.looseObject({
  type: z.string(),
  function: opt(z.looseObject({ name: z.string().min(1), ...functionMembers })),
  custom: opt(z.looseObject({ name: z.string().min(1), description: text, format: customFormat })),
});

export type ChatTool = z.output<typeof chatTool>;

const CHOICES = "must be 'none', 'auto', 'required', or an object that has a type";

const choice = <S extends z.ZodType>(named: S) =>
  opt(z.union([z.enum(['none', 'auto', 'required']), named], CHOICES));

const named = z.looseObject({ name: z.string() });

/** Whether there is a name is asked where more can be said of it. */
const chosen = z.looseObject({ name: text });

const chatChoice = choice(
  z.looseObject({
    type: z.string(),
    function: opt(chosen),
    custom: opt(chosen),
    allowed_tools: opt(
      z.looseObject({
        mode: z.enum(['auto', 'required']),
        tools: z.array(
          z.looseObject({ type: z.string(), function: opt(named), custom: opt(named) }),
        ),
      }),
    ),
  }),
);

/** Of chat completions; functions are what tools were before. */
export const chatToolFields = {
  tools: opt(z.array(chatTool)),
  tool_choice: chatChoice,
  parallel_tool_calls: flag,
  functions: opt(z.array(z.looseObject({ name: z.string().min(1), ...functionMembers }))),
  function_call: opt(
    z.union([z.enum(['none', 'auto']), named], "must be 'none', 'auto' or an object with a name"),
  ),
};

const chatTools = z.object(chatToolFields);

export type ChatToolBody = z.output<typeof chatTools>;

const flatTool = z.looseObject({
  type: z.string(),
  name: text,
  ...functionMembers,
  format: customFormat,
});

/** A namespace has tools of its own. */
const responseTool = flatTool.extend({ tools: opt(z.array(flatTool)) });

export type ResponseTool = z.output<typeof flatTool>;

export const responseToolFields = {
  tools: opt(z.array(responseTool)),
  tool_choice: choice(
    z.looseObject({
      type: z.string(),
      name: text,
      namespace: text,
      mode: opt(z.enum(['auto', 'required'])),
      tools: opt(z.array(z.looseObject({ type: z.string(), name: text, namespace: text }))),
    }),
  ),
  parallel_tool_calls: flag,
};

const responseTools = z.object(responseToolFields);

export type ResponseToolBody = z.output<typeof responseTools>;

/** Of Anthropic's messages; tools of its own have a type and no schema. */
export const messageToolFields = {
  tools: opt(
    z.array(
      z.looseObject({
        type: text,
        name: z.string().min(1),
        description: text,
        input_schema: opt(record),
        strict: flag,
      }),
    ),
  ),
  tool_choice: opt(
    z.looseObject({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: text,
      disable_parallel_tool_use: flag,
    }),
  ),
};

const messageTools = z.object(messageToolFields);

export type MessageToolBody = z.output<typeof messageTools>;
