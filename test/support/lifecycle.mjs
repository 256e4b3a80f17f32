/**
 * Every public method of a model in every state of its life, for the main thread, a worker and a
 * process that ends; plain JavaScript over the built package, so that all three can run it.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { LLM } from '../../dist/index.js';

const SHORT = { maxTokens: 3, ignoreEos: true, seed: 1 };
const LONG = { maxTokens: 900, ignoreEos: true, seed: 1 };
const MESSAGES = [{ role: 'user', content: 'Who is there?' }];

async function readAll(iterator) {
  for await (const _ of iterator);
}

/** Needs an engine that takes requests. */
const GENERATING = {
  generate: (llm) => llm.generate('A', SHORT),
  'generate a batch': (llm) => llm.generate(['A', 'B'], SHORT),
  beamSearch: (llm) => llm.beamSearch('A', { beamWidth: 2, maxTokens: 3 }),
  chat: (llm) => llm.chat(MESSAGES, SHORT),
  encode: (llm) => llm.encode('A'),
  checkAdmission: async (llm) => llm.checkAdmission(),
  stream: (llm) => readAll(llm.stream('A', SHORT)),
  streamDeltas: (llm) => readAll(llm.streamDeltas('A', SHORT)),
  'stream, left': async (llm) => {
    const stream = llm.stream('A', LONG);
    await stream.next();
    await stream.return();
  },
};

const OTHERS = {
  'stream, never read': async (llm) => llm.stream('A', SHORT),
  'streamDeltas, never read': async (llm) => llm.streamDeltas('A', SHORT),
  info: async (llm) => llm.info.numBlocks,
  stats: async (llm) => llm.stats(),
  events: async (llm) => {
    const events = llm.events();
    const next = events.next();
    await events.return();
    await next;
  },
  applyChatTemplate: async (llm) => llm.applyChatTemplate(MESSAGES),
  checkParams: async (llm) => llm.checkParams(SHORT),
  resetPrefixCache: async (llm) => llm.resetPrefixCache(),
  tokenizer: async (llm) => llm.tokenizer.decode(await llm.tokenizer.encode('A')),
};

const ENDING = {
  close: (llm) => llm.close(),
  drain: (llm) => llm.drain({ timeoutMs: 1 }),
  'close, twice at once': (llm) => Promise.all([llm.close(), llm.close()]),
  asyncDispose: (llm) => llm[Symbol.asyncDispose](),
};

export const STATES = ['idle', 'stepping', 'draining', 'closing', 'closed'];

/** What each call should come to. */
export function expected(state) {
  const takes = state === 'idle' || state === 'stepping';
  const refusal = state === 'draining' ? 'ERR_DRAINING' : 'ERR_CLOSED';
  const all = (methods, outcome) => Object.keys(methods).map((name) => [name, outcome]);
  return Object.fromEntries([
    ...all(GENERATING, takes ? 'ok' : refusal),
    ...all(OTHERS, 'ok'),
    ...all(ENDING, 'ok'),
  ]);
}

/** A model in a state; `running` is what the request that keeps it busy comes to. */
async function enter(state) {
  const llm = await LLM.load({ numThreads: 1 });
  if (state === 'idle') return { llm, running: 'none' };
  const running = llm.generate('The sea', { ...LONG, n: 2 }).catch((error) => error.code);
  while (llm.stats().numSteps < 3) await turn();
  if (state === 'draining') llm.drain();
  if (state === 'closing') llm.close();
  if (state === 'closed') await llm.close();
  return { llm, running };
}

const outcomeOf = async (call) => {
  try {
    await call();
    return 'ok';
  } catch (error) {
    return error.code ?? String(error);
  }
};

async function callAll(methods, llm) {
  const names = Object.keys(methods);
  const outcomes = await Promise.all(names.map((name) => outcomeOf(() => methods[name](llm))));
  return Object.fromEntries(names.map((name, i) => [name, outcomes[i]]));
}

/** The outcomes of all calls in a state, and what is left in the end. */
export async function runState(state) {
  const { llm, running } = await enter(state);
  const outcomes = await callAll({ ...GENERATING, ...OTHERS }, llm);
  Object.assign(outcomes, await callAll({ close: ENDING.close }, llm));
  for (const name of Object.keys(ENDING).slice(1)) {
    const other = await enter(state);
    Object.assign(outcomes, await callAll({ [name]: ENDING[name] }, other.llm));
    await other.running;
    await other.llm.close();
  }
  const { numRequestsRunning, numRequestsWaiting, kvCacheUsage } = llm.stats();
  const left = [numRequestsRunning, numRequestsWaiting, kvCacheUsage];
  return { outcomes, running: await running, left };
}

/** Calls everything in a state, and waits for nothing. */
export async function callAndLeave(state) {
  if (state === 'loading') {
    LLM.load({ numThreads: 1 }).catch(() => {});
    return;
  }
  const { llm } = await enter(state);
  callAll({ ...GENERATING, ...OTHERS }, llm);
}

const [, , how, state] = process.argv;
if (!isMainThread && workerData?.octavoLifecycle === 'run') {
  const results = {};
  for (const each of STATES) results[each] = await runState(each);
  parentPort.postMessage(results);
} else if (!isMainThread && workerData?.octavoLifecycle === 'leave') {
  await callAndLeave(workerData.state);
  parentPort.postMessage('left');
} else if (how === 'exit' || how === 'end') {
  await callAndLeave(state);
  if (how === 'exit') process.exit(7);
}
