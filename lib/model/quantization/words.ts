/** AWQ's and GPTQ's matrices: [in, out], codes in words of 32 bits. */
import type { Found } from '../bind.js';
import { damaged } from '../files.js';
import type { Module } from './module.js';
import { codesOf, inParts, partOf, scalesOf } from './parts.js';
import { checkType, sidesOf } from './rows.js';
import type { Scheme } from './scheme.js';

/** Eight codes of neighbouring rows (AWQ), or as many of a row as fit into a word (GPTQ). */
export function wordMatrix(module: Module, weight: Found, scheme: Scheme): Found {
  const { bits, form, span } = scheme;
  checkType(module, weight, 'I32');
  const [first, second] = sidesOf(module, weight);
  const isAwq = form === 'awq';
  const cols = isAwq ? first : Math.floor((first * 32) / bits);
  const rows = isAwq ? second * 8 : second;
  const group = span.per === 'group' ? span.size : cols;
  const groups = Math.ceil(cols / group);
  const zeros = module.need(weight, 'qzeros');
  checkType(module, zeros, 'I32');
  if (zeros.shape[0] !== groups || zeros.bytes !== (groups * rows * bits) / 8) {
    const why = `has shape [${zeros.shape.join(', ')}], which its weight's does not fit`;
    throw damaged(module.fileOf(zeros), `tensor ${zeros.name}`, why);
  }
  const order = module.find('g_idx');
  return inParts(weight, [rows, cols], bits === 8 ? 'INT8' : 'INT4', {
    ...{ codes: codesOf(weight, isAwq ? 'awq' : 'cols', bits, [cols, rows]), group },
    scales: scalesOf(module.need(weight, 'scales'), [rows, groups], module.files, { turned: true }),
    zeros: codesOf(zeros, isAwq ? 'awq' : 'rows', bits, [groups, rows]),
    ...{ zerosTurned: true, zero: scheme.zeroOffset },
    ...(scheme.hasOrder && order ? { groupOf: partOf(order) } : {}),
  });
}
