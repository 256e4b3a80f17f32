/** `octavo serve [model]` */
import { Command } from 'commander';
import { addEngineFlags } from './flags.js';
import { addModelFlags } from './model-flags.js';
import type { ServeFlags } from './run-server.js';

/** A list after a flag would swallow the model. */
const collect = (text: string, before: string[] | undefined) => [...(before ?? []), text];

export function serveCommand(): Command {
  const command = new Command('serve')
    .description("serve a model to clients of OpenAI's and Anthropic's APIs")
    .argument('[model]', 'a folder, a .gguf file or org/name of the hub (default: bundled)')
    .option('--host <address>', 'where to listen; 0.0.0.0 is every network', '127.0.0.1')
    .option('--port <number>', 'port; 0 takes a free one', Number, 8000)
    .option('--uds <path>', 'listen on a Unix socket instead')
    .option(
      '--api-key <key>',
      'requests must bring it; may be repeated (or OCTAVO_API_KEY)',
      collect,
    )
    .option('--allowed-origins <origin>', 'whose pages may ask; may be repeated; * = any', collect)
    .option(
      '--allowed-hosts <name>',
      'a name of this server on loopback without a key; may be repeated; * = any',
      collect,
    )
    .option('--root-path <path>', 'path in front of every route')
    .option('--ssl-keyfile <path>', 'key of the certificate (PEM)')
    .option('--ssl-certfile <path>', 'certificate (PEM); then HTTPS')
    .option('--request-timeout-ms <ms>', 'a request that takes longer ends with 408', Number)
    .option('--shutdown-timeout <seconds>', 'how long requests may go on after SIGTERM', Number, 30)
    .option('--max-connections <number>', 'connections at once', Number, 10_000)
    .option(
      '--max-total-body-bytes <bytes>',
      'what bodies of requests may have together; then 503',
      Number,
    )
    .option('--max-messages <number>', 'messages, parts and calls of a conversation', Number)
    .option('--max-buffered-bytes <bytes>', 'what may wait for a slow reader', Number)
    .option('--stream-interval <tokens>', 'tokens of a frame after the first (default 1)', Number)
    .option('--ping-interval-ms <ms>', 'how often a silent stream says so; 0 = never', Number)
    .option('--enable-request-id-headers', 'answers say x-request-id (they do)')
    .option('--no-enable-request-id-headers', 'answers do not say x-request-id')
    .option('--enable-force-include-usage', 'streams end with usage, asked for or not')
    .option(
      '--enable-dashboard',
      'a live page at /dashboard; tells of all requests, asks for the key',
    )
    .option('--disable-log-requests', 'no line for each request')
    .option('--disable-log-stats', 'no /metrics');
  addEngineFlags(addModelFlags(command))
    .option('--preemption-mode <word>', 'the same as --preemption-policy; vLLM called it so')
    .action(async (model: string | undefined, flags: ServeFlags) => {
      // Other commands need not load what only this one needs.
      const { runServer } = await import('./run-server.js');
      await runServer(model, flags);
    });
  return command;
}
