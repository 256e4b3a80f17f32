import { describe, expect, it } from 'vitest';
import { unenforced } from '../../lib/tools/unenforced.js';

const tagged = { kind: 'tagged' } as Parameters<typeof unenforced>[1];
const python = { kind: 'python' } as unknown as Parameters<typeof unenforced>[1];
const quoted = { kind: 'quoted' } as Parameters<typeof unenforced>[1];
const of = (a: object) => ({ type: 'object', properties: { a } });

describe.each([
  ['tagged', tagged],
  ['python', python],
  ['quoted', quoted],
])('%s arguments', (_, style) => {
  it.each([
    [{ anyOf: [{ enum: ['x', 'y'] }, { type: 'null' }] }, style === quoted ? [] : ['/anyOf']],
    [{ type: 'string', format: 'date' }, ['/format']],
    [{ type: 'string', pattern: '^(?=b)b$' }, ['/pattern']],
    [{ enum: ['x'], pattern: 'y' }, ['/pattern']],
    [{ allOf: [{ enum: ['x'] }] }, ['/allOf']],
    [{ type: 'string', pattern: '^b$', maxLength: 3, description: 'some' }, []],
    [{ enum: ['x', 1, null] }, []],
    [{ type: 'integer', minimum: 3, multipleOf: 2 }, []],
  ])('%j', (schema, wanted) => {
    const places = wanted.map((place) => `/properties/a${place}`);
    expect(unenforced(of(schema), style)).toEqual(places);
  });

  it('keywords of all of them', () => {
    for (const keyword of ['allOf', 'anyOf', 'oneOf', 'if', 'dependentRequired', 'minProperties']) {
      expect(unenforced({ type: 'object', [keyword]: {} }, style)).toEqual([`/${keyword}`]);
    }
  });
});
