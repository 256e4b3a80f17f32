import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Where a worker's process ends by itself vitest says so, but not in which test: this does. */
export default class Unfinished implements Reporter {
  readonly #begun = new Map<string, string>();

  onTestModuleStart(module: TestModule): void {
    this.#begun.set(module.id, `${module.relativeModuleId}, before its first test`);
  }

  onTestCaseReady({ module, fullName }: TestCase): void {
    this.#at(module, `${module.relativeModuleId} > ${fullName}`);
  }

  onTestCaseResult({ module, fullName }: TestCase): void {
    this.#at(module, `${module.relativeModuleId}, behind ${fullName}`);
  }

  /** Word of a test may come behind that of its file's end. */
  #at({ id }: TestModule, where: string): void {
    if (this.#begun.has(id)) this.#begun.set(id, where);
  }

  onTestModuleEnd(module: TestModule): void {
    this.#begun.delete(module.id);
  }

  onTestRunEnd(): void {
    for (const where of this.#begun.values()) console.error(`Never ended: ${where}`);
  }
}
