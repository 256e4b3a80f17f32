/** Real brokers as processes: Debian's redis-server and nats-server, or what is in PATH. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { findProgram } from '../../scripts/find-program.mjs';
import { until } from './until.js';
import { temporaryFolder } from './write-model.js';

const PROGRAMS = { redis: 'redis-server', nats: 'nats-server' } as const;

export type BrokerKind = keyof typeof PROGRAMS;

export interface BrokerProcess {
  readonly kind: BrokerKind;
  readonly url: string;
  readonly port: number;
  /** Ends it; what it has is on its disk. */
  stop(): Promise<void>;
  /** On the same port and disk. */
  start(): Promise<void>;
}

export interface BrokerSettings {
  readonly password?: string;
  readonly maxPayload?: number;
  readonly jetstream?: boolean;
}

const root = temporaryFolder();
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** The program's path; undefined, with a line that says why, where there is none. */
export function brokerProgram(kind: BrokerKind): string | undefined {
  const name = PROGRAMS[kind];
  const found = findProgram(name, '/usr/bin', '/usr/sbin');
  if (found === undefined) {
    console.log(`skipped, batches over ${kind}: there is no ${name} (apt-get install ${name})`);
  }
  return found;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

function argumentsOf(
  kind: BrokerKind,
  port: number,
  folder: string,
  { password, maxPayload = 1024 * 1024, jetstream = true }: BrokerSettings,
): string[] {
  if (kind === 'redis') {
    const disk = ['--dir', folder, '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    const login = password === undefined ? [] : ['--requirepass', password];
    return ['--bind', '127.0.0.1', '--port', String(port), ...disk, ...login];
  }
  const store = jetstream ? `jetstream { store_dir: "${folder}" }` : '';
  const login =
    password === undefined ? '' : `authorization { user: someone, password: "${password}" }`;
  const config = join(folder, 'nats.conf');
  const lines = [`listen: "127.0.0.1:${port}"`, `max_payload: ${maxPayload}`, store, login];
  writeFileSync(config, lines.join('\n'));
  return ['-c', config];
}

export async function startBroker(
  kind: BrokerKind,
  settings: BrokerSettings = {},
): Promise<BrokerProcess> {
  const program = brokerProgram(kind) as string;
  const port = await freePort();
  const args = argumentsOf(kind, port, mkdtempSync(join(root, kind)), settings);
  let child: ChildProcess | null = null;
  const start = async () => {
    const started = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore'] });
    child = started;
    running.add(started);
    started.once('exit', () => running.delete(started));
    await until(() => isOpen(port));
  };
  await start();
  return {
    ...{ kind, port, start },
    url: `${kind}://127.0.0.1:${port}`,
    async stop() {
      const ending = child;
      child = null;
      if (ending === null) return;
      const ended = once(ending, 'exit');
      ending.kill('SIGTERM');
      await ended;
    },
  };
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
