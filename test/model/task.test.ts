import { describe, expect, it } from 'vitest';
import { Fields } from '../../lib/model/fields.js';
import { activationOf, ggufPooling, hfLabels, hfTask, torchClass } from '../../lib/model/task.js';

const labels = (values: Record<string, unknown>) => hfLabels(new Fields('config.json', values));
const SIGMOID = 'torch.nn.modules.activation.Sigmoid';
const IDENTITY = 'torch.nn.modules.linear.Identity';

describe('config.json', () => {
  it.each([
    [['Qwen3ForCausalLM'], 'text'],
    [['GPT2LMHeadModel'], 'text'],
    [undefined, 'text'],
    [[], 'text'],
    [['BertModel'], 'vectors'],
    [['Gemma3TextModel'], 'vectors'],
    [['BertForMaskedLM'], 'vectors'],
    [['BertForPreTraining'], 'vectors'],
    [['Qwen3ForSequenceClassification'], 'labels'],
  ])('says by %j that it is for %s', (architectures, task) => {
    expect(hfTask(architectures, 'c', false)).toBe(task);
  });

  it.each(['BertForTokenClassification', 'BertForQuestionAnswering', 'T5ForConditionalGeneration'])(
    'refuses %s by its name',
    (name) => {
      expect(() => hfTask([name], 'c', false)).toThrow(name);
    },
  );

  it('may be of a text model inside another', () => {
    expect(hfTask(['Gemma3ForConditionalGeneration'], 'c', true)).toBe('text');
    expect(() => hfTask(['Gemma3ForSequenceClassification'], 'c', true)).toThrow(/Sequence/);
  });

  it('names labels by their row; there are two where it does not', () => {
    const id2label = { 1: 'yes', 0: 'no', 2: 'perhaps' };
    expect(labels({ id2label }).names).toEqual(['no', 'yes', 'perhaps']);
    expect(labels({}).names).toEqual(['LABEL_0', 'LABEL_1']);
    expect(labels({ num_labels: 1 }).names).toEqual(['LABEL_0']);
    expect(() => labels({ id2label, num_labels: 2 })).toThrow(/id2label has 3 labels, not 2/);
    expect(() => labels({ id2label: { 0: 'no', 2: 'yes' } })).toThrow(/no label 1/);
    expect(() => labels({ id2label: { 0: 5 } })).toThrow(/no label 0/);
    expect(() => labels({ id2label: {} })).toThrow(/id2label has 0 labels/);
    expect(() => labels({ num_labels: 2 ** 20 })).toThrow(/num_labels/);
  });

  it('says what makes scores of logits, in one of several ways', () => {
    const one = { num_labels: 1 };
    expect(labels(one).activation).toBe('sigmoid');
    expect(labels({ num_labels: 3 }).activation).toBe('softmax');
    expect(labels({ ...one, problem_type: 'regression' }).activation).toBe('none');
    expect(labels({ problem_type: 'multi_label_classification' }).activation).toBe('sigmoid');
    expect(labels({ problem_type: 'single_label_classification' }).activation).toBe('softmax');
    const older = { ...one, sbert_ce_default_activation_function: IDENTITY };
    expect(labels(older).activation).toBe('none');
    const newer = { sentence_transformers: { version: '5.1.0', activation_fn: SIGMOID } };
    expect(labels({ ...older, ...newer }).activation).toBe('sigmoid');
    expect(() => labels({ problem_type: 'ranking' })).toThrow(/problem_type "ranking"/);
    expect(() => labels({ problem_type: 'constructor' })).toThrow(/problem_type/);
    const other = { sbert_ce_default_activation_function: 'my.Sigmoid' };
    expect(() => labels(other)).toThrow(/"my\.Sigmoid"/);
  });
});

it('knows classes of PyTorch by their path, old and short', () => {
  expect(activationOf('torch.nn.Sigmoid', 'c')).toBe('sigmoid');
  expect(activationOf('torch.nn.modules.activation.Softmax', 'c')).toBe('softmax');
  expect(() => activationOf('torch.nn.Tanh', 'c')).toThrow(/torch\.nn\.Tanh/);
  expect(() => activationOf('torch.nn.constructor', 'c')).toThrow(/constructor/);
  expect(torchClass('torch.nn.modules.activation.Tanh')).toBe('Tanh');
  expect(torchClass('os.system')).toBeUndefined();
});

describe('GGUF metadata', () => {
  const pooling = (keys: Record<string, unknown>, tensors: Record<string, number[]> = {}) => {
    const shapes = new Map(Object.entries(tensors));
    const names = new Set(shapes.keys());
    const rest = { vocabSize: 9, biases: new Set<string>(), factors: new Map() };
    return ggufPooling(new Fields('m.gguf', keys), { names, shapes, ...rest });
  };
  const HEAD = { 'cls.output.weight': [2, 8] };

  it('names the way of pooling by number', () => {
    const ways = [0, 1, 2, 3].map((type) => pooling({ pooling_type: type }).pooling);
    expect(ways).toEqual([undefined, 'mean', 'cls', 'last']);
    expect(pooling({}).isDeclared).toBe(false);
    expect(pooling({ pooling_type: 0 }).isDeclared).toBe(false);
    expect(pooling({ pooling_type: 3 }).isDeclared).toBe(true);
    expect(() => pooling({ pooling_type: 5 })).toThrow(/pooling_type/);
  });

  it('has labels where there is a head', () => {
    const list = ['yes', 'no'];
    const ranks = { pooling_type: 4, 'classifier.output_labels': list };
    expect(pooling(ranks, HEAD)).toEqual({
      pooling: undefined,
      isDeclared: true,
      labels: { names: list, activation: 'softmax' },
    });
    expect(pooling(ranks, { 'cls.output.weight': [8] }).labels).toEqual({
      names: ['LABEL_0'],
      activation: 'sigmoid',
    });
    expect(pooling({ 'classifier.output_labels': list }).labels).toBeUndefined();
    expect(() => pooling(ranks)).toThrow(/cls\.output\.weight is missing/);
    expect(() => pooling({}, { 'cls.weight': [8, 8] })).toThrow(/cls\.weight/);
  });
});
