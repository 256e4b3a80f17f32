/** What a download says and how it is stopped: a bar on a terminal, else a line now and then. */
import { constants } from 'node:os';
import { Presets, SingleBar } from 'cli-progress';
import type { LoadOptions } from '../engine/find-model.js';
import { shownControls } from './controls.js';
import { bytes } from './report.js';

type Progress = Parameters<NonNullable<LoadOptions['onDownload']>>[0];

/**
 * Work that may have to download a model first. Ctrl-C or SIGTERM while it does ends the process,
 * with the code of the signal, once all that has come is on disk.
 */
export async function withDownloads<T>(work: (loading: LoadOptions) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const view = process.stderr.isTTY ? new BarView() : new LineView();
  let isWatching = false;
  const onSignal = (signal: NodeJS.Signals) => stop.abort(signal);
  const watch = (isOn: boolean) => {
    if (isOn === isWatching) return;
    isWatching = isOn;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      if (isOn) process.on(signal, onSignal);
      else process.off(signal, onSignal);
    }
  };
  const loading: LoadOptions = {
    signal: stop.signal,
    onDownload(progress) {
      const isDone = progress.numDone === progress.numFiles;
      watch(!isDone);
      if (isDone) view.end();
      else view.show(progress);
    },
    onNotice(sentence) {
      view.end();
      process.stderr.write(`octavo: ${shownControls(sentence)}\n`);
    },
  };
  try {
    return await work(loading);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    view.end();
    process.stderr.write('octavo: stopped; the same command goes on with what has come\n');
    process.exit(128 + constants.signals[stop.signal.reason as NodeJS.Signals]);
  } finally {
    view.end();
    watch(false);
  }
}

class BarView {
  #bar: SingleBar | null = null;

  show({ bytes: done, totalBytes, numFiles, numDone }: Progress): void {
    const payload = {
      done: bytes(done),
      all: bytes(totalBytes),
      files: `${numDone} of ${numFiles} file${numFiles === 1 ? '' : 's'}`,
    };
    if (this.#bar === null) {
      const format = '{bar} {percentage}% | {done} of {all}, {files} | ETA {eta_formatted}';
      this.#bar = new SingleBar(
        { format, stream: process.stderr, clearOnComplete: true, hideCursor: true, etaBuffer: 500 },
        Presets.shades_classic,
      );
      this.#bar.start(totalBytes, done, payload);
    } else this.#bar.update(done, payload);
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}

/** A line for each tenth. */
class LineView {
  #tenths = 0;

  show({ bytes: done, totalBytes }: Progress): void {
    const tenths = Math.floor((10 * done) / Math.max(1, totalBytes));
    if (tenths <= this.#tenths) return;
    this.#tenths = tenths;
    process.stderr.write(`octavo: ${10 * tenths}% (${bytes(done)} of ${bytes(totalBytes)})\n`);
  }

  end(): void {
    this.#tenths = 0;
  }
}
