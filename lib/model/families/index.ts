/** The families by the names that files give them. A new one is a function and a row here. */
import type { Family } from '../config.js';
import { arcee } from './arcee.js';
import { bert, roberta } from './bert.js';
import { cohere, cohere2 } from './cohere.js';
import { deepseek2, deepseekV2, deepseekV3, glm4moeLite, mistral4 } from './deepseek.js';
import { ernie4_5 } from './ernie4_5.js';
import { exaone4 } from './exaone4.js';
import { falconH1 } from './falcon-h1.js';
import { gemma2 } from './gemma2.js';
import { embeddingGemma, gemma3 } from './gemma3.js';
import { gemma4, gemma4Unified } from './gemma4.js';
import { glm4 } from './glm4.js';
import { glm4moe } from './glm4-moe.js';
import { gptOss } from './gpt-oss.js';
import { gpt2 } from './gpt2.js';
import { granite } from './granite.js';
import { graniteHybrid } from './granite-hybrid.js';
import { hunyuan } from './hunyuan.js';
import { lfm2 } from './lfm2.js';
import { lfm2moe } from './lfm2-moe.js';
import { llama } from './llama.js';
import { llama4 } from './llama4.js';
import { mamba2 } from './mamba2.js';
import { minimaxM2 } from './minimax-m2.js';
import { ministral3 } from './ministral3.js';
import { mistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { modernbert } from './modernbert.js';
import { museGlimmer } from './muse-glimmer.js';
import { nemotronH } from './nemotron-h.js';
import { olmo2, olmo3 } from './olmo2.js';
import { olmoe } from './olmoe.js';
import { phi3 } from './phi3.js';
import { qwen2moe, qwen3moe } from './qwen-moe.js';
import { qwen2vl, qwen3vl } from './qwen-vl.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { qwen3_5, qwen3_5moe, qwen3next } from './qwen3-next.js';
import { seedOss } from './seed-oss.js';
import { smollm3 } from './smollm3.js';
import { stablelm } from './stablelm.js';
import { starcoder2 } from './starcoder2.js';

type ByName = Readonly<Record<string, Family>>;

export interface FamilyRow {
  /** What people call it. */
  readonly title: string;
  /** By model_type of config.json. */
  readonly hf: ByName;
  /** By general.architecture. */
  readonly gguf: ByName;
  /**
   * By model_type of models for more than text: of which text models their text_config may be; a
   * name among them is its own text model, in files that know no text_config.
   */
  readonly inside?: Readonly<Record<string, readonly string[]>>;
}

function alike(title: string, families: ByName): FamilyRow {
  return { title, hf: families, gguf: families };
}

/** The README has them as a table: scripts/family-table.mjs. */
export const FAMILIES: readonly FamilyRow[] = [
  { title: 'Llama 1 to 3, Mixtral', hf: { llama, mixtral }, gguf: { llama } },
  {
    title: 'Llama 4 (text)',
    hf: { llama4_text: llama4 },
    gguf: { llama4 },
    inside: { llama4: ['llama4_text'] },
  },
  { ...alike('Mistral, Mistral Small 3', { mistral }), inside: { mistral3: ['mistral'] } },
  {
    title: 'Ministral 3',
    hf: { ministral3 },
    gguf: { mistral3: ministral3 },
    inside: { mistral3: ['ministral3'] },
  },
  alike('Qwen 2 and 2.5', { qwen2 }),
  { title: 'Qwen 1.5 and 2 MoE', hf: { qwen2_moe: qwen2moe }, gguf: { qwen2moe } },
  {
    title: 'Qwen 2 VL and 2.5 VL (text)',
    hf: {
      ...{ qwen2_vl: qwen2vl, qwen2_vl_text: qwen2vl },
      ...{ qwen2_5_vl: qwen2vl, qwen2_5_vl_text: qwen2vl },
    },
    gguf: { qwen2vl },
    inside: {
      qwen2_vl: ['qwen2_vl', 'qwen2_vl_text'],
      qwen2_5_vl: ['qwen2_5_vl', 'qwen2_5_vl_text'],
    },
  },
  alike('Qwen 3', { qwen3 }),
  { title: 'Qwen 3 MoE', hf: { qwen3_moe: qwen3moe }, gguf: { qwen3moe } },
  {
    title: 'Qwen 3 VL (text)',
    hf: { qwen3_vl_text: qwen3vl },
    gguf: { qwen3vl },
    inside: { qwen3_vl: ['qwen3_vl_text'] },
  },
  {
    title: 'Qwen 3.5 and later (text)',
    hf: { qwen3_5_text: qwen3_5, qwen3_5_moe_text: qwen3_5moe },
    gguf: { qwen35: qwen3_5, qwen35moe: qwen3_5moe },
    inside: { qwen3_5: ['qwen3_5_text'], qwen3_5_moe: ['qwen3_5_moe_text'] },
  },
  { title: 'Qwen 3 Next', hf: { qwen3_next: qwen3next }, gguf: { qwen3next } },
  { title: 'gpt-oss', hf: { gpt_oss: gptOss }, gguf: { 'gpt-oss': gptOss } },
  alike('Gemma 2', { gemma2 }),
  {
    title: 'Gemma 3, EmbeddingGemma',
    hf: { gemma3_text: gemma3 },
    gguf: { gemma3, 'gemma-embedding': embeddingGemma },
    inside: { gemma3: ['gemma3_text'] },
  },
  {
    title: 'Gemma 4 (text)',
    hf: { gemma4_text: gemma4, gemma4_unified_text: gemma4Unified },
    gguf: { gemma4 },
    inside: { gemma4: ['gemma4_text'], gemma4_unified: ['gemma4_unified_text'] },
  },
  alike('Phi 3 and 4', { phi3 }),
  alike('SmolLM 3', { smollm3 }),
  {
    title: 'Granite 3 and 4',
    hf: { granite, granitemoehybrid: graniteHybrid },
    gguf: { granite, granitehybrid: graniteHybrid },
  },
  alike('LFM 2', { lfm2 }),
  { title: 'LFM 2 MoE', hf: { lfm2_moe: lfm2moe }, gguf: { lfm2moe } },
  {
    title: 'Nemotron H, Nemotron 3',
    hf: { nemotron_h: nemotronH },
    gguf: { nemotron_h: nemotronH, nemotron_h_moe: nemotronH },
  },
  { title: 'Falcon H1', hf: { falcon_h1: falconH1 }, gguf: { 'falcon-h1': falconH1 } },
  alike('Mamba 2', { mamba2 }),
  { title: 'OLMo 2 and 3', hf: { olmo2, olmo3 }, gguf: { olmo2 } },
  alike('OLMoE', { olmoe }),
  alike('EXAONE 4', { exaone4 }),
  { title: 'Command R', hf: { cohere }, gguf: { 'command-r': cohere } },
  alike('Command R7B, A', { cohere2 }),
  alike('Seed-OSS', { seed_oss: seedOss }),
  alike('GLM 4', { glm4 }),
  { title: 'GLM 4.5 to 4.7', hf: { glm4_moe: glm4moe }, gguf: { glm4moe } },
  {
    title: 'DeepSeek V2, V3, R1; GLM 4.7 Flash',
    hf: { deepseek_v2: deepseekV2, deepseek_v3: deepseekV3, glm4_moe_lite: glm4moeLite },
    gguf: { deepseek2 },
  },
  {
    title: 'Mistral Small 4 (text)',
    hf: { mistral4 },
    gguf: { mistral4 },
    inside: { mistral3: ['mistral4'] },
  },
  { title: 'MiniMax M2', hf: { minimax_m2: minimaxM2 }, gguf: { 'minimax-m2': minimaxM2 } },
  { title: 'HunYuan dense', hf: { hunyuan_v1_dense: hunyuan }, gguf: { 'hunyuan-dense': hunyuan } },
  {
    title: 'Muse Glimmer (text)',
    hf: { muse_glimmer_text: museGlimmer },
    gguf: { 'muse-glimmer': museGlimmer },
    inside: { muse_glimmer: ['muse_glimmer_text'] },
  },
  alike('ERNIE 4.5', { ernie4_5 }),
  alike('Arcee', { arcee }),
  alike('StableLM', { stablelm }),
  alike('StarCoder 2', { starcoder2 }),
  alike('GPT-2', { gpt2 }),
  {
    title: 'BERT, RoBERTa, XLM-RoBERTa',
    hf: { bert, roberta, 'xlm-roberta': roberta },
    gguf: { bert },
  },
  { title: 'ModernBERT', hf: { modernbert }, gguf: { 'modern-bert': modernbert } },
];

export const HF_FAMILIES: ByName = Object.assign({}, ...FAMILIES.map(({ hf }) => hf));
export const GGUF_FAMILIES: ByName = Object.assign({}, ...FAMILIES.map(({ gguf }) => gguf));
export const WRAPPERS: NonNullable<FamilyRow['inside']> = insides();

/** What people call the family that this function reads. */
export function titleOf(family: Family): string {
  const row = FAMILIES.find(({ hf, gguf }) =>
    [...Object.values(hf), ...Object.values(gguf)].includes(family),
  );
  return row?.title ?? '';
}

/** What one model may hold of several families, in one list. */
function insides(): Record<string, string[]> {
  const all: Record<string, string[]> = {};
  for (const [outer, inner] of FAMILIES.flatMap(({ inside }) => Object.entries(inside ?? {}))) {
    all[outer] = [...(all[outer] ?? []), ...inner];
  }
  return all;
}
