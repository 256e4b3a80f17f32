/** A server in a process group of its own: started, awaited, held while others are measured. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Linux counts processors' time in these, a second. */
const TICKS = 100;

/** Lines of a log that are told when a server does not start. */
const TAIL = 15;

export class Server {
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  #held = false;

  private constructor(
    readonly port: number,
    { program, args, env }: Command,
    log: string,
  ) {
    mkdirSync(dirname(log), { recursive: true });
    const out = openSync(log, 'w');
    this.#child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', out, out],
      env: { ...process.env, ...env },
    });
    closeSync(out);
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', ({ message }) => resolve(message));
      this.#child.on('exit', (code, signal) => resolve(`it ended with ${signal ?? code}`));
    });
    running.add(this);
  }

  /**
   * Resolves when /health answers.
   * @throws with the end of its log
   */
  static async start(
    commandOf: (port: number) => Command,
    log: string,
    timeoutMs: number,
  ): Promise<Server> {
    const port = await freePort();
    const server = new Server(port, commandOf(port), log);
    const end = performance.now() + timeoutMs;
    let why: string | null = null;
    while (why === null && !(await server.#isHealthy())) {
      why = await Promise.race([server.#ended, sleep(250, null)]);
      if (performance.now() > end) why = `no answer within ${timeoutMs / 1000} s`;
    }
    if (why === null) return server;
    server.kill();
    const tail = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-TAIL).join('\n');
    throw new Error(`${why}; the end of ${log}:\n${tail}`);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Takes no processor's time until it goes on. */
  hold(): void {
    if (!this.#held) this.#signal('SIGSTOP');
    this.#held = true;
  }

  goOn(): void {
    if (this.#held) this.#signal('SIGCONT');
    this.#held = false;
  }

  kill(): void {
    running.delete(this);
    this.#signal('SIGKILL');
  }

  /** Seconds of processors that the processes of the group have taken. */
  cpuSeconds(): number {
    const ticks = this.#processes().map(({ stat }) => Number(stat[11]) + Number(stat[12]));
    return ticks.reduce((a, b) => a + b, 0) / TICKS;
  }

  /** The most that the processes have held, in MiB. */
  peakMiB(): number {
    const peaks = this.#processes().map(({ pid }) => {
      const [, kib] = /VmHWM:\s+(\d+)/.exec(textOf(`/proc/${pid}/status`)) ?? [];
      return Number(kib ?? 0) / 1024;
    });
    return peaks.reduce((a, b) => a + b, 0);
  }

  /** Of the group, with the fields of /proc/PID/stat from the state on. */
  #processes() {
    const group = String(this.#child.pid);
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => ({ pid, stat: textOf(`/proc/${pid}/stat`).split(') ').at(-1)!.split(' ') }))
      .filter(({ stat }) => stat[2] === group);
  }

  async #isHealthy(): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(2000);
      return (await fetch(`${this.url}/health`, { signal })).status === 200;
    } catch {
      return false;
    }
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, signal);
    } catch {
      // It is gone.
    }
  }
}

/** None outlives the bench, however that ends. */
const running = new Set<Server>();
process.on('exit', () => {
  for (const server of running) server.kill();
});
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => process.exit(code));
}

/** '' of what is gone meanwhile. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function freePort(): Promise<number> {
  const probe = createServer();
  return new Promise((resolve, reject) => {
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
