import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { HubConfig } from '../../lib/config/hub.js';
import { type DownloadProgress, fetchModel } from '../../lib/hub/fetch-model.js';
import { hubName } from '../../lib/hub/names.js';
import type { HubServer } from '../support/hub-server.js';
import { temporaryFolder } from '../support/write-model.js';

const folder = temporaryFolder();

/** Calls of `fetchModel()` with a cache of their own. */
export function fetcher(hub: HubServer, given: Partial<HubConfig> = {}) {
  const config: HubConfig = {
    endpoint: hub.url,
    cacheDir: mkdtempSync(join(folder, 'cache-')),
    ...{ token: undefined, offline: false, timeoutMs: 3_600_000 },
    ...given,
  };
  const notices: string[] = [];
  const told: DownloadProgress[] = [];
  const fetch = (
    name: string,
    changed: Partial<HubConfig> = {},
    signal = new AbortController().signal,
    onProgress: (progress: DownloadProgress) => void = () => {},
  ) =>
    fetchModel(
      hubName(name, hub.url)!,
      { ...config, ...changed },
      {
        tokenizerOnly: false,
        signal,
        onProgress: (progress) => {
          told.push(progress);
          onProgress(progress);
        },
        onNotice: (sentence) => notices.push(sentence),
        checkConfig: async () => {},
      },
    );
  return { fetch, notices, told, cacheDir: config.cacheDir };
}
