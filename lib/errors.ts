/**
 * The one table of errors: code → the built-in class it extends, its HTTP status, what it means.
 * Every error that leaves the package carries one of these codes and a sentence that says what to
 * do. `native.ts` checks at load that every code the addon can raise stands here.
 */
export const ERRORS = {
  ERR_INVALID_OPTION: {
    type: 'RangeError',
    status: 400,
    means: 'an engine option is unknown or out of range',
  },
  ERR_INVALID_PARAM: {
    type: 'RangeError',
    status: 400,
    means: 'a sampling parameter or an option of a call is unknown or out of range',
  },
  ERR_INVALID_PROMPT: {
    type: 'TypeError',
    status: 400,
    means: 'the prompt is empty, or not text, ids or messages',
  },
  ERR_PROMPT_TOO_LONG: {
    type: 'RangeError',
    status: 400,
    means: 'the prompt leaves no room in the context',
  },
  ERR_REQUEST_TOO_LARGE: {
    type: 'RangeError',
    status: 400,
    means: 'the request can never fit into the KV pool',
  },
  ERR_MODEL_TASK: {
    type: 'Error',
    status: 400,
    means: 'the model was loaded for something else than this call asks',
  },
  ERR_OVERLOADED: { type: 'Error', status: 429, means: 'the waiting queue is full' },
  ERR_TIMEOUT: {
    type: 'Error',
    status: 408,
    means: 'the request did not end within its timeoutMs',
  },
  ERR_ABORTED: { type: 'Error', status: 499, means: 'the request was aborted by its caller' },
  ERR_DRAINING: {
    type: 'Error',
    status: 503,
    means: 'the engine finishes what it has and takes nothing new',
  },
  ERR_CLOSED: { type: 'Error', status: 503, means: 'the engine is closing or closed' },
  ERR_MODEL_NOT_FOUND: {
    type: 'Error',
    status: 404,
    means: 'no model at this path, or by this name',
  },
  ERR_MODEL_ACCESS: {
    type: 'Error',
    status: 403,
    means: 'the hub gives this model only to who may have it',
  },
  ERR_HUB: {
    type: 'Error',
    status: 502,
    means: 'the hub cannot be reached, or a download broke off',
  },
  ERR_QUEUE: {
    type: 'Error',
    status: 502,
    means: "a queue's broker cannot be reached, or refuses",
  },
  ERR_CHECKSUM: {
    type: 'Error',
    status: 502,
    means: 'a downloaded file is not what the hub lists',
  },
  ERR_DISK_FULL: { type: 'Error', status: 507, means: 'no room for what is to be downloaded' },
  ERR_MODEL_FORMAT: {
    type: 'Error',
    status: 500,
    means: 'a model file is damaged or not what it says',
  },
  ERR_MODEL_UNSUPPORTED: {
    type: 'Error',
    status: 500,
    means: 'an architecture, switch or type this build does not know',
  },
  ERR_TOKENIZER: { type: 'Error', status: 500, means: 'the tokenizer could not be built or used' },
  ERR_CHAT_TEMPLATE: {
    type: 'Error',
    status: 400,
    means: 'the chat template refused the messages',
  },
  ERR_GRAMMAR: {
    type: 'Error',
    status: 400,
    means: 'a grammar or schema cannot be compiled, or not enforced',
  },
  ERR_FILE: {
    type: 'Error',
    status: 400,
    means: 'a file could not be read or a line of it is wrong',
  },
  ERR_TRACE: {
    type: 'Error',
    status: 400,
    means: 'a scheduling trace is damaged, or its replay decides otherwise',
  },
  ERR_OUT_OF_MEMORY: {
    type: 'Error',
    status: 503,
    means: 'memory for weights, KV or activations was refused',
  },
  ERR_DEVICE_NOT_FOUND: { type: 'Error', status: 500, means: 'the device asked for is not there' },
  ERR_DEVICE_LOST: { type: 'Error', status: 503, means: 'the device failed; load the model anew' },
  ERR_NON_FINITE: {
    type: 'Error',
    status: 500,
    means: 'the model produced NaN or no finite logit',
  },
  ERR_NATIVE_MISSING: {
    type: 'Error',
    status: 500,
    means: 'the native addon is not built or does not load',
  },
  ERR_NATIVE_MISMATCH: {
    type: 'Error',
    status: 500,
    means: 'the native addon belongs to another version',
  },
  ERR_BUSY: { type: 'Error', status: 503, means: 'a step is running already' },
  ERR_INVALID_STEP: {
    type: 'RangeError',
    status: 500,
    means: 'a step was refused by the native side',
  },
  ERR_INTERNAL: { type: 'Error', status: 500, means: 'a bug in octavo; please report it' },
} as const satisfies Record<string, ErrorRow>;

interface ErrorRow {
  readonly type: 'Error' | 'TypeError' | 'RangeError';
  readonly status: number;
  readonly means: string;
}

/** One of the keys of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;

/** What every error of this package looks like; test with {@link isOctavoError}. */
export interface OctavoError extends Error {
  /** Says which error it is; see {@link ERRORS}. */
  readonly code: ErrorCode;
  /** HTTP status a server would answer with. */
  readonly status: number;
  /** The option, parameter, field or file that the error is about, where there is one. */
  readonly param?: string;
  /** Of a batch: the place of the prompt that the error is about. */
  readonly promptIndex?: number;
}

const CLASSES = { Error, TypeError, RangeError };

/** Makes (does not throw) the error of a code: its class, status and name come from the table. */
export function octavoError(
  code: ErrorCode,
  message: string,
  details: { param?: string; cause?: unknown } = {},
): OctavoError {
  const row = ERRORS[code];
  const options = details.cause === undefined ? undefined : { cause: details.cause };
  const error = new CLASSES[row.type](message, options);
  Object.defineProperties(error, {
    code: { value: code, enumerable: true },
    status: { value: row.status, enumerable: false },
    ...(details.param === undefined ? {} : { param: { value: details.param, enumerable: true } }),
  });
  return error as OctavoError;
}

/** Whether an error is one of this package: then it has a `code` of {@link ERRORS}. */
export function isOctavoError(error: unknown): error is OctavoError {
  return error instanceof Error && 'code' in error && String(error.code) in ERRORS;
}

/** For mistakes of ours, never of the user: throws ERR_INTERNAL unless the condition holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw octavoError('ERR_INTERNAL', `internal error: ${message}`);
}
