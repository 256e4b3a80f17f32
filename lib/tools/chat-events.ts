/** Events of answers in a row. */
import type { ChatEvent } from './types.js';

/** Adds events to others, texts of one kind in one: pieces of a list are never changed. */
export function join(events: ChatEvent[], more: readonly ChatEvent[]): void {
  for (const event of more) {
    const last = events.at(-1);
    const isText = event.type === 'content' || event.type === 'reasoning';
    if (isText && last?.type === event.type) {
      events[events.length - 1] = { type: event.type, text: last.text + event.text };
    } else if (
      event.type === 'arguments' &&
      last?.type === 'arguments' &&
      last.index === event.index
    ) {
      events[events.length - 1] = { ...last, json: last.json + event.json };
    } else events.push(event);
  }
}
