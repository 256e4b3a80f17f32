/**
 * How the event loop fared while something ran: turns it got, and the longest wait in ms.
 *
 * Whoever looks at the clock meanwhile sees a millisecond more than at the look before: turns that
 * long work gives by the clock depend on the work, not on how fast this machine is.
 */
export async function watchEventLoop<T>(
  run: () => Promise<T>,
): Promise<{ value: T; turns: number; longest: number }> {
  const read = performance.now.bind(performance);
  let looks = read();
  let turns = 0;
  let longest = 0;
  let last = read();
  let running = true;
  const tick = () => {
    longest = Math.max(longest, read() - last);
    last = read();
    turns++;
    if (running) setImmediate(tick);
  };
  setImmediate(tick);
  performance.now = () => ++looks;
  try {
    const value = await run();
    return { value, turns, longest: Math.max(longest, read() - last) };
  } finally {
    Reflect.deleteProperty(performance, 'now'); // its prototype has it
    running = false;
  }
}
