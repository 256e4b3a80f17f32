/** Which prefixes the cache has most of, against a count by hand. */
import { expect, it } from 'vitest';
import { PrefixIndex, UNSALTED_ROOT } from '../../lib/core/prefix-hash.js';
import { PrefixSurvey } from '../../lib/engine/prefix-survey.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

const SIZE = 2;

it('counts any tree of prefixes, in as many parts as it takes, without what lost its beginning', () => {
  const draws = random(SEED);
  for (const count of [3, 200, 30_000]) {
    const index = new PrefixIndex(count + 2, SIZE);
    /** By block: identity, the block before it, its first. */
    const made: { identity: number; parent: number; first: number }[] = [];
    for (let block = 1; block <= count; block++) {
      const isFirst = made.length === 0 || draws.integer(count > 1000 ? 500 : 20) === 0;
      const parent = isFirst ? 0 : 1 + draws.integer(made.length);
      const before = isFirst ? UNSALTED_ROOT : made[parent - 1].identity;
      const identity = index.publish(block, before, Int32Array.of(block, draws.integer(9)), 0);
      made.push({ identity, parent, first: isFirst ? block : made[parent - 1].first });
    }
    const gone = new Set<number>();
    for (let i = 0; i < count / 20; i++) gone.add(1 + draws.integer(count));
    for (const block of gone) index.evict(block);
    const sums = new Map<number, number>();
    const isLost = made.map(() => false);
    made.forEach(({ parent, first }, i) => {
      isLost[i] = gone.has(i + 1) || (parent > 0 && isLost[parent - 1]);
      if (!isLost[i]) sums.set(first, (sums.get(first) ?? 0) + 1);
    });
    const survey = new PrefixSurvey(index);
    let numParts = 0;
    for (; survey.found === null; numParts++) survey.goOn();
    expect(numParts).toBe(count > 10_000 ? 8 : 1);
    const largest = [...sums.values()].sort((a, b) => b - a).slice(0, 10);
    const { found } = survey;
    expect(found!.map(({ numBlocks }) => numBlocks)).toEqual(largest);
    made.forEach(({ identity, first }, i) => {
      const place = survey.placeOf(identity);
      if (place < 0) return;
      expect(isLost[i]).toBe(false);
      expect(found![place].numBlocks).toBe(sums.get(first));
      expect(found![place].tokenIds[0]).toBe(first);
    });
  }
});
