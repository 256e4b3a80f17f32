/** A line of OpenAI's batch input: {custom_id, method, url, body}. */

import { writtenMember } from '../text/json-members.js';

export interface BatchRequest {
  readonly customId: string;
  /** The path: /v1/chat/completions. */
  readonly url: string;
  /** An object of JSON as it is written, with every digit of its numbers. */
  readonly body: string;
}

/** A line that cannot be asked. */
export interface BadRequest {
  /** Where it is there. */
  readonly customId: string | null;
  readonly problem: string;
}

export function parseRequest(text: string): BatchRequest | BadRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { customId: null, problem: `not JSON: ${(error as Error).message}` };
  }
  if (!isObject(value)) return { customId: null, problem: 'a line must be a JSON object' };
  const { custom_id: id, method, url, body } = value;
  const customId = typeof id === 'string' && id !== '' ? id : null;
  const problem = problemOf(customId, method, url, body);
  if (problem !== null) return { customId, problem };
  return {
    customId: customId as string,
    url: url as string,
    body: writtenMember(text, ['body']) as string,
  };
}

function problemOf(
  customId: string | null,
  method: unknown,
  url: unknown,
  body: unknown,
): string | null {
  if (customId === null) return 'custom_id must be a text that is not empty';
  if (method !== 'POST') return 'method must be "POST"';
  if (typeof url !== 'string' || !/^\/\S+$/.test(url)) {
    return 'url must be a path such as "/v1/chat/completions"';
  }
  if (!isObject(body)) return 'body must be an object';
  if (body.stream === true) return 'a batch is not streamed: body.stream must be left out';
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
