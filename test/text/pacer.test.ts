import { expect, it } from 'vitest';
import { Pacer } from '../../lib/text/pacer.js';

it('gives the event loop its turns', async () => {
  const pacer = new Pacer();
  const until = performance.now() + 60;
  let turns = 0;
  let others = 0;
  const timer = setInterval(() => others++, 1);
  while (performance.now() < until) {
    if (!pacer.due()) continue;
    turns++;
    await pacer.turn();
  }
  clearInterval(timer);
  expect(turns).toBeGreaterThan(3);
  expect(turns).toBeLessThan(30);
  expect(others).toBeGreaterThan(0);
});

it('is not due before its time', () => {
  const pacer = new Pacer();
  let due = 0;
  for (let i = 0; i < 300; i++) due += Number(pacer.due());
  expect(due).toBe(0);
});
