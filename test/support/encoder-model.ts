/** A small random encoder of each kind, for tests of what makes vectors and scores. */
import { join } from 'node:path';
import {
  type EncoderShape,
  type EncoderTask,
  writeEncoder,
} from '../../bench/support/random-encoder.js';
import { temporaryFolder } from './write-model.js';

export const ENCODER: EncoderShape = {
  ...{ hidden: 64, heads: 2, layers: 2, ffn: 128, vocab: 512, positions: 128 },
};

/** The folder of one; gone with the process. */
export function encoderFolder(task: EncoderTask, name = 'encoder'): string {
  return writeEncoder(join(temporaryFolder(), name), ENCODER, task);
}
