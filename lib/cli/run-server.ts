/** What `octavo serve` does: checks, loads, listens, ends in order. */
import { apiKeysOf } from '../config/options.js';
import { LLM } from '../engine/llm.js';
import { octavoError } from '../errors.js';
import { jsonLines, type RunningServer, type ServerOptions, serve } from '../server/index.js';
import { serverConfig } from '../server/options.js';
import { listenConfig } from '../server/serve.js';
import { withDownloads } from './download.js';
import { engineOptionsOf } from './flags.js';
import { type ModelFlags, modelOf, modelOptions, readText } from './model-flags.js';

/** The command line, engine flags among it. */
export interface ServeFlags extends ModelFlags {
  host: string;
  port: number;
  uds?: string;
  apiKey?: string[];
  allowedOrigins?: string[];
  allowedHosts?: string[];
  rootPath?: string;
  sslKeyfile?: string;
  sslCertfile?: string;
  requestTimeoutMs?: number;
  shutdownTimeout: number;
  maxConnections: number;
  maxTotalBodyBytes?: number;
  maxMessages?: number;
  maxBufferedBytes?: number;
  pingIntervalMs?: number;
  streamInterval?: number;
  enableRequestIdHeaders?: boolean;
  enableForceIncludeUsage?: boolean;
  enableDashboard?: boolean;
  disableLogRequests?: boolean;
  disableLogStats?: boolean;
  preemptionMode?: string;
  preemptionPolicy?: string;
  [name: string]: unknown;
}

export async function runServer(argument: string | undefined, flags: ServeFlags): Promise<void> {
  const model = modelOf(argument, flags);
  const options = await serverOptions(flags);
  const listening = {
    host: flags.host,
    port: flags.port,
    ...(flags.uds === undefined ? {} : { uds: flags.uds }),
    ...(await tlsOf(flags)),
    maxConnections: flags.maxConnections,
    shutdownTimeoutMs: Math.round(flags.shutdownTimeout * 1000),
  };
  // What is wrong is told before a model is read.
  serverConfig(options);
  listenConfig(listening);
  const policy = flags.preemptionPolicy ?? flags.preemptionMode;
  const engine = engineOptionsOf({ ...flags, preemptionPolicy: policy });
  const llm = await withDownloads((loading) => LLM.load({ ...engine, model }, loading));
  try {
    const server = await listenOrSay(() => serve(llm, options, listening), flags);
    const { architecture, device, maxModelLen, pooling } = llm.info;
    const longest = pooling?.maxSeqLength ?? maxModelLen;
    process.stderr.write(
      `octavo: serving ${architecture} (${device}, ${longest} tokens) at ${server.url}\n`,
    );
    await untilSignal(server);
  } finally {
    await llm.close();
  }
}

async function serverOptions(flags: ServeFlags): Promise<ServerOptions> {
  const keys = [...(flags.apiKey ?? []), ...apiKeysOf()];
  const options = {
    ...(await modelOptions(flags)),
    apiKey: keys.length > 0 ? keys : undefined,
    allowedOrigins: flags.allowedOrigins,
    allowedHosts: flags.allowedHosts,
    rootPath: flags.rootPath,
    maxTotalBodyBytes: flags.maxTotalBodyBytes,
    maxMessages: flags.maxMessages,
    maxBufferedBytes: flags.maxBufferedBytes,
    requestTimeoutMs: flags.requestTimeoutMs,
    pingIntervalMs: flags.pingIntervalMs,
    streamInterval: flags.streamInterval,
    enableRequestIdHeaders: flags.enableRequestIdHeaders,
    enableForceIncludeUsage: flags.enableForceIncludeUsage,
    enableDashboard: flags.enableDashboard,
    metrics: !flags.disableLogStats,
    logger: jsonLines(flags.disableLogRequests ? 'error' : 'info'),
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}

async function tlsOf({ sslKeyfile, sslCertfile }: ServeFlags) {
  if (sslKeyfile === undefined && sslCertfile === undefined) return {};
  if (sslKeyfile === undefined || sslCertfile === undefined) {
    const sentence = '--ssl-keyfile and --ssl-certfile go together';
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'ssl-keyfile' });
  }
  return { tls: { key: await readText(sslKeyfile), cert: await readText(sslCertfile) } };
}

async function listenOrSay(
  listen: () => Promise<RunningServer>,
  { host, port, uds }: ServeFlags,
): Promise<RunningServer> {
  try {
    return await listen();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const where = uds ?? `${host}:${port}`;
    const sentence = `cannot listen on ${where}: ${code}; --port or --uds names another place`;
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'port', cause: error });
  }
}

/** The first signal lets requests end, the second does not. */
function untilSignal(server: RunningServer): Promise<void> {
  return new Promise((resolve, reject) => {
    const onSignal = () => {
      server.shutdown().then(() => {
        process.off('SIGTERM', onSignal);
        process.off('SIGINT', onSignal);
        resolve();
      }, reject);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
