/** Random templates, a fresh seed each run: Python's Jinja must say the same. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it, vi } from 'vitest';
import { TemplateFailure } from '../../../lib/text/jinja/failure.js';
import { JinjaTemplate } from '../../../lib/text/jinja/template.js';
import { Fn, Obj, Stream } from '../../../lib/text/jinja/values.js';
import { pythonWith } from '../../support/python.js';
import { CONTEXT, TemplateMaker } from '../../support/random-template.js';
import { SEED } from '../../support/seed.js';
import { random } from '../support.js';
import { NOW } from './support.js';

const SCRIPT = fileURLToPath(new URL('../../reference/jinja.py', import.meta.url));
const COUNT = 2000;

interface Outcome {
  readonly text?: string;
  readonly error?: string;
}

/** What writes functions, generators and their like: in Python with their addresses. */
const addressed = [Fn, Obj, Stream].map(({ prototype }) => vi.spyOn(prototype, 'print'));

function ours(template: string): Outcome & { limit?: boolean } {
  for (const print of addressed) print.mockClear();
  try {
    return { text: new JinjaTemplate(template).render(CONTEXT, NOW) };
  } catch (error) {
    if (!(error instanceof TemplateFailure)) throw error;
    return { error: error.message, limit: error.kind === 'limit' };
  }
}

/** What cannot be the same: addresses, what only one of them has the patience for, complex numbers. */
function incomparable(right: Outcome, got: Outcome & { limit?: boolean }): boolean {
  if (right.error === 'Late' || right.error === 'MemoryError' || got.limit) return true;
  // Not by the text: it may have been turned, sorted, cut into letters.
  if (addressed.some((print) => print.mock.calls.length > 0)) return true;
  if (/\b0x[0-9a-f]{9}|object at|\dj\)/i.test(`${right.text}`)) return true;
  return /not subscriptable|'slice'|complex|unsupported.*'dict_(keys|items)'/.test(`${got.error}`);
}

const python = pythonWith('jinja2', '3.1.6');

it.skipIf(python === undefined)(
  'renders random templates as Python does',
  () => {
    const maker = new TemplateMaker(random(SEED));
    const templates = Array.from({ length: COUNT }, (_, i) =>
      i % 3 === 0 ? maker.body(2) : `{{ ${maker.expression(3)} }}`,
    );
    const input = JSON.stringify(templates.map((template) => ({ template, context: CONTEXT })));
    const options = { input, encoding: 'utf8', maxBuffer: 2 ** 30 } as const;
    const reference: Outcome[] = JSON.parse(
      execFileSync(python!.path, ['-W', 'ignore', SCRIPT], options),
    );
    let compared = 0;
    const wrong = templates.flatMap((template, i) => {
      const [right, got] = [reference[i], ours(template)];
      if (incomparable(right, got)) return [];
      compared++;
      const same = right.error !== undefined ? got.error !== undefined : got.text === right.text;
      return same || /'slice'|not subscriptable/.test(JSON.stringify(right))
        ? []
        : [{ template, right, got }];
    });
    expect(compared).toBeGreaterThan(COUNT / 2);
    expect(wrong.slice(0, 9).map((one) => JSON.stringify(one))).toEqual([]);
  },
  600_000,
);
