/** How long a check may fail, in ms: so long that only what will never come is reported. */
const LIMIT_MS = 120_000;

/**
 * Resolves as soon as `check` neither throws nor says false. vi.waitFor gives up after a second,
 * which a busy machine may take for nothing.
 */
export async function until(check: () => unknown): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    try {
      if ((await check()) !== false) return;
      if (performance.now() > end) throw new Error(`it never came that ${check}`);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
