/**
 * Settings that a checkpoint may carry beside those that are read, with the values at which they
 * change nothing in the forward pass. A setting that stands neither here nor in the code is refused
 * by name, whatever its value: what it means is not known.
 */
export class Harmless {
  readonly #rows = new Map<string, readonly unknown[] | 'any'>();

  /** @param rows values (null is always one) or 'any', then the names, separated by blanks */
  constructor(rows: readonly (readonly [values: readonly unknown[] | 'any', names: string])[]) {
    for (const [values, names] of rows) {
      for (const name of names.trim().split(/\s+/)) this.#rows.set(name, values);
    }
  }

  has(name: string, value: unknown): boolean {
    const values = this.#rows.get(name);
    if (values === undefined) return false;
    if (values === 'any' || value === null) return true;
    return values.includes(isEmpty(value) ? EMPTY : value);
  }
}

/** Stands for {} and [] in a row's values. */
export const EMPTY = Symbol('empty');

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Of config.json, in all families: what transformers writes, and what tools have added. */
export const HF_HARMLESS = new Harmless([
  // Names, provenance, types of storage.
  [
    'any',
    `architectures model_type transformers_version torch_dtype dtype _name_or_path name_or_path
    auto_map id2label label2id num_labels problem_type task_specific_params finetuning_task
    _num_labels tokenizer_class prefix unsloth_version unsloth_fixed transformers.js_config
    is_llama_config
    sentence_transformers sbert_ce_default_activation_function
    model_max_length max_sequence_length max_seq_len seq_length pad_token bos_token eos_token`,
  ],
  // Of training, or of how another program computes the same.
  [
    'any',
    `initializer_range use_cache attention_dropout attention_probs_dropout_prob hidden_dropout
    hidden_dropout_prob resid_pdrop embd_pdrop attn_pdrop dropout classifier_dropout
    cache_implementation gradient_checkpointing torchscript use_bfloat16 tf_legacy_loss
    chunk_size_feed_forward
    _attn_implementation _attn_implementation_autoset _flash_attn_2_enabled _experts_implementation
    experts_implementation attn_implementation output_attentions output_hidden_states return_dict
    use_return_dict keys_to_ignore_at_inference is_decoder max_window_layers`,
  ],
  // Token ids (end tokens are read) and values of sampling, which the caller gives here.
  [
    'any',
    `pad_token_id bos_token_id unk_token_id sep_token_id cls_token_id mask_token_id
    decoder_start_token_id max_length min_length do_sample temperature top_k top_p typical_p
    repetition_penalty length_penalty early_stopping num_beams num_beam_groups diversity_penalty
    num_return_sequences output_scores return_dict_in_generate remove_invalid_values
    no_repeat_ngram_size`,
  ],
  [[], 'cross_attention_hidden_size forced_bos_token_id forced_eos_token_id'],
  [[], 'exponential_decay_length_penalty attn_logit_softcapping'],
  [[], 'final_logit_softcapping sliding_window quantization_config text_config'],
  [[EMPTY], 'pruned_heads suppress_tokens begin_suppress_tokens bad_words_ids'],
  [
    [false],
    `is_encoder_decoder add_cross_attention tie_encoder_decoder cross_attention is_composition
    use_sliding_window use_mrope attention_bias mlp_bias qkv_bias rope_interleaved
    use_bidirectional_attention output_router_logits`,
  ],
  [[0], 'encoder_no_repeat_ngram_size num_experts num_local_experts'],
  [[0, 1], 'pretraining_tp'],
  [[true], 'is_causal'],
  [['swiglu'], 'activation'],
]);

/** Of config.json around a text model: of what is beside it, which text does not pass through. */
export const WRAPPER_HARMLESS = new Harmless([
  [
    'any',
    `vision_config audio_config image_token_id image_token_index video_token_id audio_token_id
    boi_token_id boi_token_index eoi_token_id eoi_token_index boa_token_id eoa_token_id
    eoa_token_index vision_soft_tokens_per_image
    vision_start_token_id vision_end_token_id vision_token_id mm_tokens_per_image
    projector_hidden_act projector_hidden_size out_hidden_size multimodal_projector_bias
    spatial_merge_size
    vision_feature_layer vision_feature_select_strategy image_seq_length`,
  ],
]);

/** Of GGUF metadata, below the architecture's own prefix. */
export const GGUF_HARMLESS = new Harmless([
  ['any', 'vocab_size tensor_data_layout attention.layer_norm_epsilon decoder_start_token_id'],
  // Of how it was trained; Granite reads it.
  [[true, false], 'rope.scaling.finetuned'],
  [[true], 'attention.causal'],
  [[false], 'use_parallel_residual swin_norm'],
  [[1], 'rope.scale_linear rope.scaling.yarn_ext_factor rope.scaling.yarn_attn_factor'],
  [[0, 1], 'logit_scale residual_scale embedding_scale'],
  [
    [0],
    `attention.sliding_window expert_count expert_used_count expert_shared_count
    leading_dense_block_count
    attention.clamp_kqv attention.max_alibi_bias attn_logit_softcapping final_logit_softcapping
    attention.scale rope.scaling.yarn_log_multiplier`,
  ],
]);
