/** Names of the library in sentences and `param`s become those that requests use. */
const NAMES: Readonly<Record<string, string>> = {
  topP: 'top_p',
  topK: 'top_k',
  minP: 'min_p',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  repetitionPenalty: 'repetition_penalty',
  stopTokenIds: 'stop_token_ids',
  ignoreEos: 'ignore_eos',
  maxTokens: 'max_tokens',
  minTokens: 'min_tokens',
  promptLogprobs: 'prompt_logprobs',
  logitBias: 'logit_bias',
  allowedTokenIds: 'allowed_token_ids',
  badWords: 'bad_words',
  skipSpecialTokens: 'skip_special_tokens',
  includeStopStrInOutput: 'include_stop_str_in_output',
  cacheSalt: 'cache_salt',
  lengthPenalty: 'length_penalty',
  beamWidth: 'n',
  promptTokenIds: 'prompt',
  tokenIds: 'tokens',
  requestId: 'request_id',
  toolChoice: 'tool_choice',
  'reasoning.budget': 'thinking_token_budget',
  'reasoning.effort': 'reasoning_effort',
  toolCallParser: '--tool-call-parser',
  reasoningParser: '--reasoning-parser',
  parallelToolCalls: 'parallel_tool_calls',
  promptName: 'prompt_name',
  topN: 'top_n',
  'truncate: true': 'truncate_prompt_tokens: -1',
  truncate: 'truncate_prompt_tokens',
  timeoutMs: 'x-request-timeout-ms',
  'template.continueFinalMessage': 'continue_final_message',
  'template.chatTemplate': 'chat_template',
  'template.documents': 'documents',
  continueFinalMessage: 'continue_final_message',
  addGenerationPrompt: 'add_generation_prompt',
  // Of the server, not of a request: by its flags.
  maxModelLen: '--max-model-len',
  maxNumSeqs: '--max-num-seqs',
  maxLogprobs: '--max-logprobs',
  maxListLength: '--max-list-length',
  schedulingPolicy: '--scheduling-policy',
  grammarMaxSchemaBytes: '--grammar-max-schema-bytes',
  grammarMaxDepth: '--grammar-max-depth',
  grammarMaxEnumBytes: '--grammar-max-enum-bytes',
  grammarMaxStates: '--grammar-max-states',
  grammarMaxCompileMs: '--grammar-max-compile-ms',
};

const ANY = new RegExp(
  `(?<![\\w.])(${Object.keys(NAMES).join('|').replaceAll('.', '\\.')})\\b`,
  'g',
);

const STRUCTURED = /(?<![\w.])structuredOutputs(\.[a-z]\w*)?/g;
const STRUCTURED_NAMES: Readonly<Record<string, string>> = {
  '.jsonObject': '.json_object',
  '.structuralTag': '.structural_tag',
  '.whitespacePattern': '.whitespace_pattern',
  '.disableAnyWhitespace': '.disable_any_whitespace',
  '.disableAdditionalProperties': '.disable_additional_properties',
};

/** @param structuredField by which a request said what its output must be */
export function inWireNames(text: string, structuredField = 'structured_outputs'): string {
  return text
    .replace(ANY, (name) => NAMES[name])
    .replace(STRUCTURED, (_, member = '') =>
      structuredField === 'structured_outputs'
        ? structuredField + (STRUCTURED_NAMES[member] ?? member)
        : structuredField,
    );
}
