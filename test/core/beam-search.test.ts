import { describe, expect, it } from 'vitest';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { type BeamSearch, numCandidates } from '../../lib/core/beam-search.js';
import { type Sequence, SequenceGroup } from '../../lib/core/sequence.js';
import { beamReference } from '../reference/beam-search.js';
import { randomFrom } from '../support/fake-executor.js';
import { SEED } from '../support/seed.js';

const VOCAB = 12;

/** Runs a search without a scheduler: every live beam is given its best tokens at once. */
function search(
  group: SequenceGroup,
  logprobsAfter: (generated: readonly number[]) => number[],
): BeamSearch<Sequence> {
  const beams = group.beams!;
  for (let length = 1; length < 100; length++) {
    for (const sequence of beams.live) {
      const row = logprobsAfter([...sequence.outputTokens]);
      const order = row.map((_, i) => i).sort((a, b) => row[b] - row[a] || a - b);
      const best = order.slice(0, group.params.numLogprobs);
      sequence.candidates = {
        tokenIds: Int32Array.from(best),
        logprobs: Float64Array.from(best, (i) => row[i]),
      };
    }
    const survivors = beams.advance();
    if (survivors === null) return beams;
    // Fresh bodies each step: who reuses what is another file's business.
    const live = survivors.map(({ parent, token, cumulativeLogprob }, i) => {
      const body = new SequenceGroup({ id: 'b', promptTokens: [1], params: group.params })
        .sequences[i];
      body.endsAt = parent.endsAt;
      body.copyTokens(parent);
      body.append(token);
      body.cumulativeLogprob = cumulativeLogprob;
      return body;
    });
    beams.goOn(live);
  }
  throw new Error('the search does not end');
}

describe('a beam search', () => {
  it('keeps the beams and scores of the reference, whatever the widths, penalties and endings', () => {
    const seed = SEED;
    const random = randomFrom(seed);
    let ended = 0;
    for (let i = 0; i < 400; i++) {
      const salt = random(2 ** 31);
      const coarse = 1 + random(40); // few values: ties everywhere
      const after = (generated: readonly number[]) => {
        const state = generated.reduce((h, t) => Math.imul(h ^ t, 0x9e3779b1) ^ (h >>> 13), salt);
        const draw = randomFrom(state);
        return Array.from({ length: VOCAB }, () => -(1 + draw(coarse)));
      };
      const width = 1 + random(4);
      const numEnds = random(3);
      const stopTokenIds = Array.from({ length: numEnds }, (_, k) => (k * 5 + random(4)) % VOCAB);
      const endIds = [...new Set(stopTokenIds)];
      const maxTokens = 1 + random(10);
      const minTokens = random(3) === 0 ? random(maxTokens) : 0;
      const lengthPenalty = [0, 1, -0.5, 1.5][random(4)];
      const earlyStopping = ([true, false, 'never'] as const)[random(3)];
      const params = completeBeamParams(
        { beamWidth: width, lengthPenalty, earlyStopping, maxTokens, minTokens, stopTokenIds },
        { vocabSize: VOCAB, eosTokenIds: [], seed: 1 },
      );
      const group = new SequenceGroup({ id: 'a', promptTokens: [1], params });
      for (const sequence of group.sequences) sequence.endsAt = 1 + maxTokens;
      const { finished } = search(group, after);
      const reference = {
        width,
        lengthPenalty,
        earlyStopping,
        maxNew: maxTokens,
        minNew: minTokens,
        endIds,
      };
      const wanted = beamReference(after, reference);
      const ours = finished.map(({ tokens, score }) => ({ tokens: [...tokens], score }));
      // Equal scores of the same length may stand in another order.
      const sorted = (list: { tokens: number[]; score: number }[]) =>
        list.map((b) => `${b.score.toFixed(9)} ${b.tokens}`).sort();
      expect(sorted(ours), `seed ${seed}, case ${i}`).toEqual(sorted(wanted));
      for (const { finishReason, stopReason, tokens } of finished) {
        if (finishReason !== 'stop') continue;
        ended++;
        expect(stopReason).toBe(tokens[tokens.length - 1]);
      }
    }
    expect(ended).toBeGreaterThan(50);
  });

  it('looks at enough candidates for all beams to live on beside every ending id', () => {
    expect(numCandidates(4, 0)).toBe(8);
    expect(numCandidates(4, 1)).toBe(8);
    expect(numCandidates(4, 3)).toBe(16);
  });
});
