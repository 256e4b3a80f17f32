/** Checks that an encoded grammar has the shape that native code expects; decodes nothing else. */
import { PROGRAM_HEADER, PROGRAM_MAGIC, REGEX_OPS } from '../../lib/grammar/program.js';

/** What is wrong with a program, in words; nothing: []. */
export function wrongInProgram(program: Int32Array): string[] {
  const wrong: string[] = [];
  const check = (right: boolean, what: string) => right || wrong.push(what);
  const [magic, nodes, terminals, sets, rules, alternatives, symbols, start, poolWords] = program;
  check(magic === PROGRAM_MAGIC, 'magic');
  const sizes = [nodes * 4, terminals, sets * 2, rules * 2, alternatives * 2, symbols, poolWords];
  const at = [PROGRAM_HEADER];
  for (const size of sizes) at.push(at.at(-1)! + size);
  check(at.at(-1) === program.length, 'length');
  check(start >= 0 && start < rules, 'start');
  const pool = program.subarray(at[6]);
  const inPool = (offset: number, count: number) =>
    offset >= 0 && count >= 0 && offset + count <= poolWords;

  for (let node = 0; node < nodes; node++) {
    const [op, a, b, c] = program.subarray(at[0] + node * 4);
    const below = (child: number) => child >= 0 && child < node;
    let right = true;
    if (op === REGEX_OPS.bytes) right = inPool(a, 8);
    else if (op === REGEX_OPS.concat || op === REGEX_OPS.alt || op === REGEX_OPS.and) {
      right = inPool(a, b) && b >= 2 && pool.subarray(a, a + b).every(below);
    } else if (op === REGEX_OPS.not) right = below(a);
    else if (op === REGEX_OPS.repeat) right = below(a) && b >= 0 && (c === -1 || c >= b);
    else if (op === REGEX_OPS.automaton) right = automatonFits(pool, a);
    else right = op === REGEX_OPS.empty || op === REGEX_OPS.epsilon;
    check(right, `node ${node}`);
  }
  program.subarray(at[1], at[2]).forEach((root, i) => {
    check(root >= 0 && root < nodes, `terminal ${i}`);
  });
  for (let set = 0; set < sets; set++) {
    const [offset, count] = program.subarray(at[2] + set * 2);
    const ids = [...pool.subarray(offset, offset + count)];
    const sorted = ids.every((id, i) => id >= 0 && (i === 0 || ids[i - 1] < id));
    check(inPool(offset, count) && count > 0 && sorted, `token set ${set}`);
  }
  const ranges = (from: number, count: number, most: number, what: string, least: number) => {
    for (let i = 0; i < count; i++) {
      const [first, many] = program.subarray(from + i * 2);
      check(first >= 0 && many >= least && first + many <= most, `${what} ${i}`);
    }
  };
  ranges(at[3], rules, alternatives, 'rule', 1);
  ranges(at[4], alternatives, symbols, 'alternative', 0);
  const most = [terminals, rules, sets];
  program.subarray(at[5], at[6]).forEach((symbol, i) => {
    check((symbol & 0x0fff_ffff) < most[symbol >>> 28], `symbol ${i}`);
  });
  return wrong;
}

function automatonFits(pool: Int32Array, offset: number): boolean {
  const [numStates, start, numClasses] = pool.subarray(offset);
  const accepts = Math.ceil(numStates / 32);
  const end = offset + 3 + accepts + 64 + numStates * numClasses;
  if (end > pool.length || start < 0 || start >= numStates || numClasses > 256) return false;
  const classes = new Uint8Array(
    pool.slice(offset + 3 + accepts, offset + 3 + accepts + 64).buffer,
  );
  const next = pool.subarray(offset + 3 + accepts + 64, end);
  return (
    classes.every((value) => value < numClasses) &&
    next.every((state) => state >= -1 && state < numStates)
  );
}
