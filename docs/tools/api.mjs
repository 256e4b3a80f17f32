/** The API's part of the site, and all of its HTML, by TypeDoc. */
import { join } from 'node:path';

/** typedoc is in docs/node_modules: it asks for an older compiler than the rest is built with. */
async function typedoc() {
  try {
    return await import('typedoc');
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error('typedoc is not installed: npm ci --prefix docs', { cause: error });
  }
}

/**
 * Public symbols that say nothing of themselves. What lies in a type without a name (a member of a
 * union, a row of ERRORS) is told of by what holds it; `stop` of SamplingParams is one of its own.
 */
export function undocumented(project, { ReflectionKind }) {
  const kinds =
    ReflectionKind.Class |
    ReflectionKind.Interface |
    ReflectionKind.TypeAlias |
    ReflectionKind.Variable |
    ReflectionKind.Function |
    ReflectionKind.Method |
    ReflectionKind.Property |
    ReflectionKind.Accessor;
  const isNameless = (reflection) =>
    reflection !== undefined &&
    (reflection.kindOf(ReflectionKind.TypeLiteral) || isNameless(reflection.parent));
  const isTold = (reflection) =>
    reflection.hasComment() ||
    [...(reflection.signatures ?? []), reflection.getSignature].some((one) => one?.hasComment());
  return project
    .getReflectionsByKind(kinds)
    .filter((reflection) => !reflection.flags.isExternal && !isNameless(reflection.parent))
    .filter((reflection) => !isTold(reflection))
    .map((reflection) => `${reflection.getFullName()} has no docstring`);
}

/**
 * @param pages files of Markdown, in their order; the first is the front page
 * @returns sentences: TypeDoc's warnings, and what has no docstring; with none of them, the site
 * is in `out`
 */
export async function writeSite({ root, pages, out }) {
  const td = await typedoc();
  const [readme, ...documents] = pages;
  const app = await td.Application.bootstrap({
    entryPoints: [join(root, 'lib/index.ts'), join(root, 'lib/server/index.ts')],
    tsconfig: join(root, 'tsconfig.json'),
    name: 'octavo',
    readme,
    projectDocuments: documents,
    out,
    cleanOutputDir: true,
    alwaysCreateEntryPointModule: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    disableSources: true,
    disableGit: true,
    // tsc has looked at the types, by the version that the package is built with.
    skipErrorChecking: true,
    categorizeByGroup: false,
    defaultCategory: 'API',
    categoryOrder: [
      'Start',
      'Features',
      'Running it',
      'From elsewhere',
      'Inside',
      'API',
      '*',
      'Files',
    ],
    sortEntryPoints: false,
    sort: ['source-order'],
    navigation: { includeCategories: true, includeGroups: false, includeFolders: false },
    sluggerConfiguration: { lowercase: true },
    highlightLanguages: ['ts', 'js', 'json', 'yaml', 'sh', 'cpp', 'dockerfile', 'text'],
    ignoredHighlightLanguages: ['text'],
    validation: { notExported: true, invalidLink: true, invalidPath: true, notDocumented: false },
    customCss: join(import.meta.dirname, 'site.css'),
    hideGenerator: true,
    githubPages: false,
    includeVersion: true,
  });
  if (app.logger.hasErrors()) return ['TypeDoc does not know its options'];
  const said = [];
  app.logger = new (class extends td.Logger {
    log(message, level) {
      if (level >= td.LogLevel.Warn) said.push(message);
    }
  })();
  const project = await app.convert();
  if (project === undefined) return [...said, 'TypeDoc could not read the sources'];
  said.push(...undocumented(project, td));
  app.validate(project);
  if (said.length === 0) await app.generateOutputs(project);
  return said;
}
