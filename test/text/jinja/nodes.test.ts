import { expect, it } from 'vitest';
import { walk } from '../../../lib/text/jinja/nodes.js';
import { parse } from '../../../lib/text/jinja/parser.js';

it('visits every node, but not what constants hold', () => {
  const body = parse('{% if a.b %}{{ c[1:d] | f(g=h) is i(2.5) }}{% endif %}');
  const names = [...walk(body)].flatMap((node) => (node.kind === 'name' ? [node.name] : []));
  expect(names).toEqual(['a', 'c', 'd', 'h']);
});
