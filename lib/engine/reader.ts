/**
 * An async iterator by hand. An async generator puts `return()` off while its `next()` waits;
 * whoever leaves one of these has left at once.
 */
export abstract class Reader<T> implements AsyncGenerator<T, void, void> {
  abstract next(): Promise<IteratorResult<T, void>>;

  /** Nothing comes after it, and nothing more is done for it; harmless a second time. */
  protected abstract leave(): void;

  async return(): Promise<IteratorResult<T, void>> {
    this.leave();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<T, void>> {
    this.leave();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave();
  }
}
