/** web-xgrammar, the one engine of this kind on npm, over the same schemas and texts. */
import { copyFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import type { Workload } from './schemas.js';
import { installed } from './vocabularies.js';

interface Matcher {
  getNextTokenBitmask(): Promise<Int32Array>;
  acceptToken(id: number): boolean;
  dispose(): void;
}
interface Compiled {
  dispose(): void;
}
interface Compiler {
  compileJSONSchema(
    schema: string,
    anyWhitespace?: boolean,
    indent?: number,
    separators?: [string, string],
    strictMode?: boolean,
  ): Promise<Compiled>;
}
interface Library {
  readonly TokenizerInfo: {
    createTokenizerInfo(
      tokens: string[],
      kind: string,
      prependSpace: boolean,
      vocabSize: number,
      stopTokenIds: number[],
    ): Promise<object>;
  };
  readonly GrammarCompiler: {
    createGrammarCompiler(info: object, cacheEnabled: boolean): Promise<Compiler>;
  };
  readonly GrammarMatcher: { createGrammarMatcher(compiled: Compiled): Promise<Matcher> };
}

function library(): Library {
  const folder = installed('@mlc-ai/web-xgrammar', '0.1.27');
  // Its file is CommonJS, whatever its package.json says.
  const path = resolve(join(folder, 'lib', 'index.cjs'));
  copyFileSync(join(folder, 'lib', 'index.js'), path);
  return createRequire(import.meta.url)(path) as Library;
}

export interface PeerTimes {
  readonly compile: number[];
  readonly cold: number[];
  readonly warm: number[];
}

/** A way to measure schemas, once its tokens are read; milliseconds. */
export async function xgrammarOf(tokenizer: Tokenizer, vocabSize: number, eosTokenId: number) {
  const { TokenizerInfo, GrammarCompiler, GrammarMatcher } = library();
  const tokens = Array.from({ length: vocabSize }, (_, id) => tokenizer.idToToken(id) ?? '');
  const stops = [eosTokenId];
  const info = await TokenizerInfo.createTokenizerInfo(
    tokens,
    'byte_level',
    false,
    vocabSize,
    stops,
  );
  const compiler = await GrammarCompiler.createGrammarCompiler(info, false);
  return async (workload: Workload, repeats: number): Promise<PeerTimes | null> => {
    const times: PeerTimes = { compile: [], cold: [], warm: [] };
    for (let salt = 0; salt < repeats; salt++) {
      const { json } = workload.spec(salt);
      if (json === undefined) return null;
      const start = performance.now();
      const compiled = await compiler.compileJSONSchema(
        JSON.stringify(json),
        true,
        undefined,
        undefined,
        false,
      );
      times.compile.push(performance.now() - start);
      for (const into of [times.cold, times.warm, times.warm]) {
        for (const text of workload.texts) {
          const matcher = await GrammarMatcher.createGrammarMatcher(compiled);
          await walk(matcher, await tokenizer.encode(text, { addSpecialTokens: false }), into);
          matcher.dispose();
        }
      }
      compiled.dispose();
    }
    return times;
  };
}

async function walk(matcher: Matcher, ids: readonly number[], into: number[]): Promise<void> {
  for (const id of ids) {
    const start = performance.now();
    await matcher.getNextTokenBitmask();
    into.push(performance.now() - start);
    if (!matcher.acceptToken(id)) return; // not every schema means the same to it
  }
}
