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
};

const ANY = new RegExp(
  `(?<![\\w.])(${Object.keys(NAMES).join('|').replaceAll('.', '\\.')})\\b`,
  'g',
);

export function inWireNames(text: string): string {
  return text.replace(ANY, (name) => NAMES[name]);
}
