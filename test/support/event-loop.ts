/** How the event loop fared while something ran: turns it got, and the longest wait in ms. */
export async function watchEventLoop<T>(
  run: () => Promise<T>,
): Promise<{ value: T; turns: number; longest: number }> {
  let turns = 0;
  let longest = 0;
  let last = performance.now();
  let running = true;
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    turns++;
    if (running) setImmediate(tick);
  };
  setImmediate(tick);
  const value = await run();
  longest = Math.max(longest, performance.now() - last);
  running = false;
  return { value, turns, longest };
}
