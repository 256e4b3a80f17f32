/** What a step moves between here and the host's memory: pairs of an id here and one there. */
import { IntList } from './int-list.js';

export class SwapList extends IntList {
  /** Pairs that go out, and after them those that come in. A step has one direction only. */
  numOuts = 0;
  numIns = 0;

  addOut(id: number, host: number): void {
    this.push(id);
    this.push(host);
    this.numOuts++;
  }

  addIn(id: number, host: number): void {
    this.push(id);
    this.push(host);
    this.numIns++;
  }

  clear(): void {
    this.cut(0);
    this.numOuts = 0;
    this.numIns = 0;
  }
}
