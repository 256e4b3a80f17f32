/** The encoder of random-encoder.ts as an ONNX file, for onnxruntime: the graph of exporters. */
import { writeFileSync } from 'node:fs';
import type { EncoderShape, Tensor } from './random-encoder.js';

type Bytes = Buffer | readonly Bytes[];

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

const flat = (parts: Bytes): Buffer =>
  Buffer.isBuffer(parts) ? parts : Buffer.concat((parts as readonly Bytes[]).map(flat));

/** Fields of protobuf: an integer, a float, or bytes with their length. */
const int = (field: number, value: number | bigint): Bytes => [varint(field << 3), varint(value)];
const float = (field: number, value: number): Bytes => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return [varint((field << 3) | 5), bytes];
};
const bytes = (field: number, value: string | Bytes): Bytes => {
  const content = typeof value === 'string' ? Buffer.from(value) : flat(value);
  return [varint((field << 3) | 2), varint(content.length), content];
};

const FLOAT = 1;
const INT64 = 7;

type Attribute = number | readonly number[] | { readonly float: number };

/** AttributeProto: name 1, f 2, i 3, ints 8, type 20. */
function attribute(name: string, value: Attribute): Bytes {
  if (typeof value === 'number') return [bytes(1, name), int(3, value), int(20, 2)];
  if ('float' in value) return [bytes(1, name), float(2, value.float), int(20, 1)];
  return [bytes(1, name), value.map((one) => int(8, one)), int(20, 7)];
}

/** ValueInfoProto of a tensor whose sizes have names, or are known. */
function valueInfo(name: string, type: number, dims: readonly (string | number)[]): Bytes {
  const shape = dims.map((dim) => bytes(1, typeof dim === 'string' ? bytes(2, dim) : int(1, dim)));
  return [bytes(1, name), bytes(2, bytes(1, [int(1, type), bytes(2, shape)]))];
}

class Graph {
  readonly #nodes: Bytes[] = [];
  readonly #initializers: Bytes[] = [];
  #count = 0;

  /** A node with one output, whose name it returns. */
  op(type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    const output = `${type}_${this.#count++}`;
    this.add(type, inputs, output, attributes);
    return output;
  }

  add(
    type: string,
    inputs: readonly string[],
    output: string,
    attributes: Record<string, Attribute> = {},
  ): void {
    const all = Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value)));
    const names = inputs.map((name) => bytes(1, name));
    const node = [names, bytes(2, output), bytes(3, output), bytes(4, type), all];
    this.#nodes.push(bytes(1, node));
  }

  /** TensorProto: dims 1, data_type 2, name 8, raw_data 9. */
  tensor(name: string, type: number, dims: readonly number[], data: Buffer): string {
    const sizes = dims.map((dim) => int(1, dim));
    const tensor = [sizes, int(2, type), bytes(8, name), bytes(9, data)];
    this.#initializers.push(bytes(5, tensor));
    return name;
  }

  floats(name: string, dims: readonly number[], data: Float32Array): string {
    return this.tensor(name, FLOAT, dims, Buffer.from(data.buffer));
  }

  scalar(name: string, value: number): string {
    return this.floats(name, [], Float32Array.of(value));
  }

  ints(name: string, ...values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.tensor(name, INT64, [values.length], Buffer.from(data.buffer));
  }

  /** ModelProto: ir_version 1, graph 7, opset_import 8. */
  model(inputs: readonly Bytes[], output: Bytes): Buffer {
    const graph = [
      ...[this.#nodes, bytes(2, 'encoder'), this.#initializers],
      ...[inputs.map((one) => bytes(11, one)), bytes(12, output)],
    ];
    return flat([int(1, 8), bytes(7, graph), bytes(8, [bytes(1, ''), int(2, 17)])]);
  }
}

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];

class EncoderGraph {
  readonly #graph = new Graph();
  readonly #tensors: ReadonlyMap<string, Tensor>;

  constructor(
    readonly shape: EncoderShape,
    tensors: readonly Tensor[],
  ) {
    this.#tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  }

  model(): Buffer {
    const { hidden, heads, layers } = this.shape;
    const graph = this.#graph;
    graph.ints('split', 0, 0, heads, hidden / heads);
    graph.ints('merge', 0, 0, hidden);
    graph.scalar('root', Math.sqrt(hidden / heads));
    graph.scalar('one', 1);
    graph.scalar('half', 0.5);
    graph.scalar('sqrt2', Math.SQRT2);
    const mask = this.#mask();
    let x = this.#embeddings();
    for (let i = 0; i < layers; i++) x = this.#layer(`encoder.layer.${i}.`, x, mask);
    graph.add('Identity', [x], 'last_hidden_state');
    const sizes = ['batch', 'length'];
    return graph.model(
      INPUTS.map((name) => valueInfo(name, INT64, sizes)),
      valueInfo('last_hidden_state', FLOAT, [...sizes, hidden]),
    );
  }

  #floats(name: string): string {
    const { shape, data } = this.#tensors.get(name) as Tensor;
    return this.#graph.floats(name, shape, data);
  }

  #mask(): string {
    const graph = this.#graph;
    graph.scalar('lowest', -3.4028234663852886e38);
    const floats = graph.op('Cast', ['attention_mask'], { to: FLOAT });
    const wide = graph.op('Unsqueeze', [floats, graph.ints('axes', 1, 2)]);
    return graph.op('Mul', [graph.op('Sub', ['one', wide]), 'lowest']);
  }

  #embeddings(): string {
    const graph = this.#graph;
    const of = (name: string, ids: string) =>
      graph.op('Gather', [this.#floats(`embeddings.${name}_embeddings.weight`), ids]);
    const sizes = graph.op('Shape', ['input_ids']);
    for (const [name, value] of [
      ['zero', 0],
      ['step', 1],
    ] as const) {
      graph.tensor(name, INT64, [], Buffer.from(BigInt64Array.of(BigInt(value)).buffer));
    }
    const length = graph.op('Gather', [sizes, 'step']);
    const places = graph.op('Range', ['zero', length, 'step']);
    const typed = graph.op('Add', [of('word', 'input_ids'), of('token_type', 'token_type_ids')]);
    return this.#norm('embeddings.LayerNorm', graph.op('Add', [typed, of('position', places)]));
  }

  #norm(name: string, x: string): string {
    const weights = [this.#floats(`${name}.weight`), this.#floats(`${name}.bias`)];
    return this.#graph.op('LayerNormalization', [x, ...weights], {
      ...{ axis: -1, epsilon: { float: 1e-12 } },
    });
  }

  /** ONNX has the columns where PyTorch has rows. */
  #linear(name: string, x: string): string {
    const { shape, data } = this.#tensors.get(`${name}.weight`) as Tensor;
    const [rows, cols] = shape;
    const transposed = new Float32Array(data.length);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) transposed[c * rows + r] = data[r * cols + c];
    }
    const graph = this.#graph;
    const weight = graph.floats(`${name}.weight`, [cols, rows], transposed);
    return graph.op('Add', [graph.op('MatMul', [x, weight]), this.#floats(`${name}.bias`)]);
  }

  #attention(layer: string, x: string, mask: string): string {
    const graph = this.#graph;
    const heads = (name: string, perm: readonly number[]) => {
      const linear = this.#linear(`${layer}attention.self.${name}`, x);
      return graph.op('Transpose', [graph.op('Reshape', [linear, 'split'])], { perm });
    };
    const [q, k] = [heads('query', [0, 2, 1, 3]), heads('key', [0, 2, 3, 1])];
    const v = heads('value', [0, 2, 1, 3]);
    const scores = graph.op('Div', [graph.op('MatMul', [q, k]), 'root']);
    const masked = graph.op('Add', [scores, mask]);
    const shares = graph.op('Softmax', [masked], { axis: -1 });
    const mixed = graph.op('Transpose', [graph.op('MatMul', [shares, v])], { perm: [0, 2, 1, 3] });
    return graph.op('Reshape', [mixed, 'merge']);
  }

  #layer(layer: string, x: string, mask: string): string {
    const graph = this.#graph;
    const added = (name: string, from: string, to: string) =>
      this.#norm(`${name}.LayerNorm`, graph.op('Add', [this.#linear(`${name}.dense`, from), to]));
    const mixed = added(`${layer}attention.output`, this.#attention(layer, x, mask), x);
    const wide = this.#linear(`${layer}intermediate.dense`, mixed);
    const erf = graph.op('Erf', [graph.op('Div', [wide, 'sqrt2'])]);
    const gate = graph.op('Mul', [wide, graph.op('Add', [erf, 'one'])]);
    return added(`${layer}output`, graph.op('Mul', [gate, 'half']), mixed);
  }
}

export function writeOnnx(path: string, shape: EncoderShape, tensors: readonly Tensor[]): void {
  writeFileSync(path, new EncoderGraph(shape, tensors).model());
}
