/**
 * Bytes of KV events. The expected ones are msgspec 0.23's (Python), of vLLM's structs: a batch
 * `array_like`, its events once `array_like` and once by names, all with `omit_defaults` and tags.
 */
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { encodeKvEvents, type KvEvent, type KvEventGroup } from '../../lib/engine/kv-encoding.js';

const stored = (event: Partial<KvEvent>): KvEvent =>
  ({ type: 'stored', parent: null, salt: null, group: null, ...event }) as KvEvent;
const removed = (hashes: bigint[], group: KvEventGroup | null = null): KvEvent => ({
  type: 'removed',
  hashes,
  group,
});
const window: KvEventGroup = { index: 1, kind: 'sliding_window', window: 4096 };
const whole: KvEventGroup = { index: 0, kind: 'full_attention', window: null };
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

const CASES: Record<string, [seconds: number, events: KvEvent[]]> = {
  first: [
    1764500000.25,
    [
      stored({
        hashes: [0x0123456789abcdefn, 0xfedcba9876543210n],
        tokens: [0, 1, 127, 128, 255, 256, 65535, 65536],
        blockSize: 4,
      }),
    ],
  ],
  salted: [1.5, [stored({ hashes: [7n], tokens: [5, 6], blockSize: 2, salt: 'salt ü' })]],
  salted2: [1.5, [stored({ hashes: [7n, 8n], tokens: [5, 6, 7, 8], blockSize: 2, salt: 's' })]],
  next: [
    2,
    [stored({ hashes: [2n ** 63n], parent: 2n ** 64n - 1n, tokens: upTo(20), blockSize: 20 })],
  ],
  group: [3, [stored({ hashes: [9n], parent: 8n, tokens: [1, 2], blockSize: 2, group: window })]],
  group0: [3, [stored({ hashes: [9n], parent: 8n, tokens: [1, 2], blockSize: 2, group: whole })]],
  removed: [4, [removed([1n, 2n ** 32n, 2n ** 64n - 1n]), removed([3n], window)]],
  cleared: [5, [{ type: 'cleared' }]],
};

const GOLDEN: Record<string, Record<'array' | 'map', string>> = {
  first: {
    array:
      '93cb41da4b0888100000919cab426c6f636b53746f72656492cf0123456789abcdefcffedcba9876543210c09800017f' +
      'cc80ccffcd0100cdffffce0001000004c0a3475055c0c0c0c0c000',
    map:
      '93cb41da4b08881000009188a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657392cf01234567' +
      '89abcdefcffedcba9876543210b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739800017fcc80' +
      'ccffcd0100cdffffce00010000aa626c6f636b5f73697a6504a76c6f72615f6964c0a66d656469756da3475055a96c6f' +
      '72615f6e616d65c000',
  },
  salted: {
    array:
      '93cb3ff8000000000000919cab426c6f636b53746f7265649107c092050602c0a3475055c09191a773616c7420c3bcc0' +
      'c0c000',
    map:
      '93cb3ff80000000000009189a474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739107b1706172' +
      '656e745f626c6f636b5f68617368c0a9746f6b656e5f696473920506aa626c6f636b5f73697a6502a76c6f72615f6964' +
      'c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b6579739191a773616c7420c3bc00',
  },
  salted2: {
    array:
      '93cb3ff8000000000000919cab426c6f636b53746f726564920708c0940506070802c0a3475055c09291a173c0c0c0c0' +
      '00',
    map:
      '93cb3ff80000000000009189a474797065ab426c6f636b53746f726564ac626c6f636b5f686173686573920708b17061' +
      '72656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739405060708aa626c6f636b5f73697a6502a76c6f7261' +
      '5f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b6579739291a173c000',
  },
  next: {
    array:
      '93cb4000000000000000919cab426c6f636b53746f72656491cf8000000000000000cfffffffffffffffffdc00140001' +
      '02030405060708090a0b0c0d0e0f1011121314c0a3475055c0c0c0c0c000',
    map:
      '93cb40000000000000009188a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cf80000000' +
      '00000000b1706172656e745f626c6f636b5f68617368cfffffffffffffffffa9746f6b656e5f696473dc001400010203' +
      '0405060708090a0b0c0d0e0f10111213aa626c6f636b5f73697a6514a76c6f72615f6964c0a66d656469756da3475055' +
      'a96c6f72615f6e616d65c000',
  },
  group: {
    array:
      '93cb4008000000000000919cab426c6f636b53746f72656491090892010202c0a3475055c0c001ae736c6964696e675f' +
      '77696e646f77cd100000',
    map:
      '93cb4008000000000000918ba474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739109b1706172' +
      '656e745f626c6f636b5f6861736808a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72615f6964' +
      'c0a66d656469756da3475055a96c6f72615f6e616d65c0a967726f75705f69647801b26b765f63616368655f73706563' +
      '5f6b696e64ae736c6964696e675f77696e646f77bc6b765f63616368655f737065635f736c6964696e675f77696e646f' +
      '77cd100000',
  },
  group0: {
    array:
      '93cb4008000000000000919cab426c6f636b53746f72656491090892010202c0a3475055c0c000ae66756c6c5f617474' +
      '656e74696f6ec000',
    map:
      '93cb4008000000000000918aa474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739109b1706172' +
      '656e745f626c6f636b5f6861736808a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72615f6964' +
      'c0a66d656469756da3475055a96c6f72615f6e616d65c0a967726f75705f69647800b26b765f63616368655f73706563' +
      '5f6b696e64ae66756c6c5f617474656e74696f6e00',
  },
  removed: {
    array:
      '93cb40100000000000009294ac426c6f636b52656d6f7665649301cf0000000100000000cfffffffffffffffffa34750' +
      '55c094ac426c6f636b52656d6f7665649103a34750550100',
    map:
      '93cb40100000000000009283a474797065ac426c6f636b52656d6f766564ac626c6f636b5f6861736865739301cf0000' +
      '000100000000cfffffffffffffffffa66d656469756da347505584a474797065ac426c6f636b52656d6f766564ac626c' +
      '6f636b5f6861736865739103a66d656469756da3475055a967726f75705f6964780100',
  },
  cleared: {
    array: '93cb40140000000000009191b0416c6c426c6f636b73436c656172656400',
    map: '93cb40140000000000009181a474797065b0416c6c426c6f636b73436c656172656400',
  },
};

for (const [name, [seconds, events]] of Object.entries(CASES)) {
  it.each(['array', 'map'] as const)(`${name}, %s`, (format) => {
    expect(encodeKvEvents(seconds, events, format).toString('hex')).toBe(GOLDEN[name][format]);
  });
}

it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'numbers where its buffer ends, after %i more bytes',
  (more) => {
    const hashes = [...Array.from({ length: more }, () => 1n), ...new Array(1000).fill(2n ** 60n)];
    const bytes = encodeKvEvents(4, [removed(hashes)], 'array');
    const head = 34 + more;
    expect(bytes.length).toBe(head + 9 * 1000);
    expect(bytes.subarray(-14).toString('hex')).toBe('cf1000000000000000a3475055c000'.slice(2));
  },
);

it('more members than a short head counts, in more bytes than there is room for at first', () => {
  const hashes = Array.from({ length: 17 }, (_, i) => BigInt(i));
  const events = Array.from({ length: 17 }, () => removed(hashes));
  const one = '94ac426c6f636b52656d6f766564dc0011000102030405060708090a0b0c0d0e0f10a3475055c0';
  const all = `93cb4018000000000000dc0011${one.repeat(17)}00`;
  expect(encodeKvEvents(6, events, 'array').toString('hex')).toBe(all);
  const many = Array.from({ length: 70_000 }, (_, i) => i);
  const large = encodeKvEvents(
    6,
    [stored({ hashes: [1n], tokens: many, blockSize: 70_000, salt: 'x'.repeat(70_000) })],
    'map',
  );
  expect(large.length).toBe(288688);
  expect(large.subarray(0, 13).toString('hex')).toBe('93cb40180000000000009189a4');
  expect(createHash('sha256').update(large).digest('hex')).toBe(
    'cf0cf94f9c92927b7820a755ee1a4ce28d119081e0ad5c4f576a5701ef388f6a',
  );
});
