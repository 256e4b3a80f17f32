/**
 * What a regular expression can cost. The tokenizer library's engine (Oniguruma) backtracks, cannot
 * be interrupted, and ends the process after ten million steps of one match; so patterns whose
 * steps at one place can grow faster than the text are refused. Those of all known tokenizers grow
 * with it at most (`\s+(?!\S)`), most not at all.
 */
import { type OnigurumaAst, parse } from 'oniguruma-parser/parser';

/** Longest pattern, in UTF-16 units; known ones have some hundred. */
const MAX_LENGTH = 10_000;
/** Deepest nesting of groups. */
const MAX_DEPTH = 32;
/** Ways to try at one place, by the power of the text's length that they are multiplied by. */
const MAX_FACTORS = [256, 8];
/** Copies of a part that is repeated a set number of times; the engine writes them all out. */
const MAX_COPIES = 1000;

type Node = OnigurumaAst['body'][number]['body'][number];
type Branches = OnigurumaAst['body'];

/** factor · (length of the text) ^ power */
interface Growth {
  readonly power: number;
  readonly factor: number;
}

const ONE: Growth = { power: 0, factor: 1 };
const LINEAR: Growth = { power: 1, factor: 1 };
const ENDLESS: Growth = { power: Number.POSITIVE_INFINITY, factor: 1 };

const times = (a: Growth, b: Growth) => ({ power: a.power + b.power, factor: a.factor * b.factor });
const plus = (a: Growth, b: Growth) => ({
  power: Math.max(a.power, b.power),
  factor: a.factor + b.factor,
});

const larger = (a: Growth, b: Growth) => ({
  power: Math.max(a.power, b.power),
  factor: Math.max(a.factor, b.factor),
});

/** One after the other at the same place: what grows adds up. */
function either(a: Growth, b: Growth): Growth {
  if (a.power === b.power) return a.power > 0 ? plus(a, b) : larger(a, b);
  return a.power > b.power ? a : b;
}

/** Why a pattern is refused, to stand behind "a pattern that"; undefined if it is not. */
export function patternFault(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `has ${pattern.length} characters`;
  let branches: Branches;
  try {
    branches = parsed(pattern);
    checkParts(branches, 0, 1);
  } catch (error) {
    return (error as Error).message;
  }
  const { power, factor } = costOfBranches(branches, false);
  if (!(factor <= (MAX_FACTORS[power] ?? 0)))
    return 'can take very long: it repeats what may repeat';
  return undefined;
}

/** The fewest characters that a pattern without fault matches. */
export function shortestMatch(pattern: string): number {
  return shortestBranch(parsed(pattern));
}

function parsed(pattern: string): Branches {
  try {
    return parse(pattern, { skipPropertyNameValidation: true, unicodePropertyMap: null }).body;
  } catch (cause) {
    throw new Error('cannot be read', { cause });
  }
}

/** Groups, lookarounds and the whole are alternatives; others have none. */
function branchesOf(node: Node): Branches {
  return node.type === 'Group' ||
    node.type === 'CapturingGroup' ||
    node.type === 'LookaroundAssertion'
    ? (node.body as Branches)
    : [];
}

/** @throws Error about a part whose cost cannot be told */
function checkParts(branches: Branches, depth: number, copies: number): void {
  if (depth > MAX_DEPTH) throw new Error('is nested too deeply');
  for (const node of branches.flatMap(({ body }) => body)) checkPart(node, depth, copies);
}

function checkPart(node: Node, depth: number, copies: number): void {
  if (node.type === 'Quantifier') {
    const more = copies * Math.max(1, Number.isFinite(node.max) ? node.max : node.min);
    if (more > MAX_COPIES) throw new Error(`repeats a part more than ${MAX_COPIES} times`);
    checkPart(node.body as Node, depth + 1, more);
  } else if (/^(Backreference|Subroutine|AbsenceFunction|NamedCallout)$/.test(node.type)) {
    throw new Error('refers to other parts of itself');
  } else {
    checkParts(branchesOf(node), depth + 1, copies);
  }
}

/** In how many ways a part can match at one place. */
function ways(node: Node): Growth {
  if (isClosed(node)) return ONE;
  if (node.type === 'Quantifier') {
    const inner = ways(node.body as Node);
    const { min, max } = node;
    const endless = !Number.isFinite(max);
    if (inner.power === 0 && inner.factor === 1) {
      return endless ? LINEAR : { power: 0, factor: max - min + 1 };
    }
    if (endless) return ENDLESS;
    let all: Growth = ONE;
    for (let i = 0; i < max; i++) all = times(all, inner);
    return plus(all, { power: 0, factor: max - min });
  }
  const branches = branchesOf(node);
  if (branches.length === 0) return ONE;
  return branches.map(({ body }) => body.map(ways).reduce(times, ONE)).reduce((a, b) => plus(a, b));
}

function costOfBranches(branches: Branches, failsBehind: boolean): Growth {
  return branches.map(({ body }) => costOfSequence(body, failsBehind)).reduce(either);
}

/** Only what something behind may refuse is tried in all its ways; each comes to what follows. */
function costOfSequence(nodes: readonly Node[], failsBehind: boolean): Growth {
  const lastToFail = failsBehind ? nodes.length : nodes.findLastIndex(mayFail);
  let tried = ONE;
  let cost = ONE;
  nodes.forEach((node, i) => {
    const fails = i < lastToFail;
    const own = costInside(node, fails);
    cost = larger(
      cost,
      times(tried, isClosed(node) && isEndless(node) ? larger(own, LINEAR) : own),
    );
    if (fails) tried = times(tried, ways(node));
  });
  return larger(cost, tried);
}

function costInside(node: Node, fails: boolean): Growth {
  const tried = fails && !isClosed(node);
  if (node.type !== 'Quantifier') {
    const branches = branchesOf(node);
    return branches.length === 0 ? ONE : costOfBranches(branches, tried);
  }
  const body = node.body as Node;
  let cost = costInside(body, tried || node.min > 1);
  // Each round may look far ahead and then take little.
  const rounds = Number.isFinite(node.max) ? { power: 0, factor: Math.max(1, node.max) } : LINEAR;
  if (cost.power > 0) cost = times(cost, rounds);
  // A copy that must be there may refuse what the ones before it have taken.
  const before = ways(body);
  for (let i = 1; i < node.min; i++) cost = times(cost, before);
  return cost;
}

/** Is it left for good once it has matched? */
function isClosed(node: Node): boolean {
  if (node.type === 'Quantifier') return node.kind === 'possessive';
  return node.type === 'LookaroundAssertion' || (node.type === 'Group' && node.atomic === true);
}

/** Can it go over any number of characters, even in one way? */
function isEndless(node: Node): boolean {
  if (node.type === 'Quantifier') {
    return !Number.isFinite(node.max) || isEndless(node.body as Node);
  }
  return branchesOf(node).some(({ body }) => body.some(isEndless));
}

function mayFail(node: Node): boolean {
  if (node.type === 'Directive') return false;
  return node.type !== 'Quantifier' || (node.min > 0 && mayFail(node.body as Node));
}

function shortestBranch(branches: Branches): number {
  const lengths = branches.map(({ body }) => body.reduce((sum, node) => sum + shortest(node), 0));
  return Math.min(...lengths);
}

function shortest(node: Node): number {
  if (node.type === 'Quantifier') return node.min * shortest(node.body as Node);
  if (node.type === 'LookaroundAssertion') return 0;
  if (node.type === 'Group' || node.type === 'CapturingGroup') {
    return shortestBranch(branchesOf(node));
  }
  return /^Character/.test(node.type) ? 1 : 0;
}
