/** What goes wrong, in the words of HTTP and of each protocol. */
import { isOctavoError } from '../errors.js';
import { inWireNames } from './wire-names.js';

const TYPES: Readonly<Record<number, string>> = {
  400: 'BadRequestError',
  401: 'AuthenticationError',
  403: 'PermissionDeniedError',
  404: 'NotFoundError',
  405: 'MethodNotAllowedError',
  408: 'RequestTimeoutError',
  413: 'RequestEntityTooLargeError',
  415: 'UnsupportedMediaTypeError',
  422: 'UnprocessableEntityError',
  429: 'RateLimitError',
  499: 'ClientClosedRequestError',
  500: 'InternalServerError',
  501: 'NotImplementedError',
  503: 'ServiceUnavailableError',
};

const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  405: 'invalid_request_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
};

/** An error whose HTTP form is known where it is thrown. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
    readonly headers: Readonly<Record<string, string>> = {},
    /** What Anthropic's clients act upon. */
    readonly details: object | null = null,
  ) {
    super(message);
  }
}

export function badRequest(message: string, param: string | null = null): Problem {
  return new Problem(400, message, param);
}

/** OpenAI's clients try 408, 409, 429 and 5xx again by themselves, whatever the use of it. */
function retryHeaders(status: number): Record<string, string> {
  if (status === 429 || status === 503) return { 'retry-after': '1' };
  return status === 408 || status === 500 ? { 'x-should-retry': 'false' } : {};
}

/**
 * Any error as a problem. What is a bug of ours is told without its message, which may name paths;
 * it stands in the log.
 * @param structuredField see {@link inWireNames}
 * @param logprobsField by which a request said how many logprobs it wants
 */
export function asProblem(
  error: unknown,
  structuredField?: string,
  logprobsField = 'logprobs',
): Problem {
  if (error instanceof Problem) {
    const headers = { ...retryHeaders(error.status), ...error.headers };
    return new Problem(error.status, error.message, error.param, headers, error.details);
  }
  if (!isOctavoError(error) || error.code === 'ERR_INTERNAL') {
    return new Problem(500, 'internal error; the log of the server says more', null, {
      ...retryHeaders(500),
    });
  }
  const { status, message, param } = error;
  const said = inWireNames(message, structuredField);
  const headers = retryHeaders(status);
  const about = param ?? (error.code === 'ERR_GRAMMAR' ? 'structuredOutputs' : undefined);
  if (about === 'logprobs') {
    return new Problem(status, said.replace(/^logprobs\b/, logprobsField), logprobsField, headers);
  }
  const named = about === undefined ? null : inWireNames(about, structuredField);
  return new Problem(status, said, named, headers);
}

/** Whether it is how things are, not how they should not be: its sentence says all there is. */
export function isExpected(error: unknown): boolean {
  if (error instanceof Problem) return true;
  if (!isOctavoError(error)) return false;
  return error.status < 500 || error.code === 'ERR_DRAINING' || error.code === 'ERR_CLOSED';
}

/** OpenAI's form; `code` is vLLM's, the HTTP status. */
export function openaiError({ status, message, param }: Problem): object {
  return { message, type: TYPES[status] ?? 'InternalServerError', param, code: status };
}

export function openaiBody(problem: Problem): object {
  return { error: openaiError(problem) };
}

export function anthropicError({ status, message, details }: Problem): object {
  const type = ANTHROPIC_TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  return { type, message, ...(details === null ? {} : { details }) };
}

export function anthropicBody(problem: Problem, requestId: string): object {
  return { type: 'error', error: anthropicError(problem), request_id: requestId };
}
