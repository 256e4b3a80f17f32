/**
 * Byte-fallback tokens ("<0xE2>") and UTF-8. Hugging Face's ByteFallback decoder replaces *every*
 * byte of a run of such tokens by U+FFFD when any of it is invalid, so one bad byte would take back
 * characters that were certain long before, and nothing of a run could be streamed. SentencePiece
 * itself keeps each valid character and replaces each invalid byte; so does this package: a stray
 * byte token becomes a literal U+FFFD before the library's decoder sees it.
 */
const REPLACEMENT = '\ufffd';

/** The token of a byte, as SentencePiece spells it. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** Length in bytes of the sequence a byte begins: 1 to 4; 0 when no sequence begins with it. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/** Whether a byte may stand second: no overlong forms, no surrogates, nothing past U+10FFFF. */
function secondFits(lead: number, second: number): boolean {
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  return second >= low && second <= high;
}

/** What the bytes at the front are: a whole character, the beginning of one, or a stray byte. */
function look(bytes: readonly number[]): 'whole' | 'partial' | 'stray' {
  const length = sequenceLength(bytes[0]);
  if (length === 0) return 'stray';
  for (let i = 1; i < Math.min(length, bytes.length); i++) {
    const fits = i === 1 ? secondFits(bytes[0], bytes[1]) : bytes[i] >= 0x80 && bytes[i] <= 0xbf;
    if (!fits) return 'stray';
  }
  return bytes.length >= length ? 'whole' : 'partial';
}

/** Collects byte tokens until they make up characters. At most three bytes wait at any time. */
export class ByteRun {
  #bytes: number[] = [];

  /** How many bytes were replaced so far. */
  strays = 0;

  /** Takes a byte; appends to `out` the tokens that are certain now. */
  push(byte: number, out: string[]): void {
    this.#bytes.push(byte);
    while (this.#bytes.length > 0) {
      const state = look(this.#bytes);
      if (state === 'partial') return;
      const taken = state === 'whole' ? sequenceLength(this.#bytes[0]) : 1;
      const bytes = this.#bytes.splice(0, taken);
      if (state === 'stray') this.#replace(1, out);
      else for (const whole of bytes) out.push(byteToken(whole));
    }
  }

  /** The run is over: each byte that still waits becomes a U+FFFD. */
  end(out: string[]): void {
    this.#replace(this.#bytes.length, out);
    this.#bytes = [];
  }

  #replace(count: number, out: string[]): void {
    for (let i = 0; i < count; i++) out.push(REPLACEMENT);
    this.strays += count;
  }

  clone(): ByteRun {
    const copy = new ByteRun();
    copy.#bytes = [...this.#bytes];
    copy.strays = this.strays;
    return copy;
  }
}
