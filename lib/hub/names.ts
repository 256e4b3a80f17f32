/** Names of models on a hub, in all the ways that people write them. */

/** What a name asks for. */
export interface HubName {
  /** `org/name`; models of the hub's first days have no org. */
  readonly repo: string;
  /** A branch, tag or commit. */
  readonly revision: string;
  /** A file of it, or how it is quantised; undefined leaves the choice to us. */
  readonly want: string | undefined;
}

const PART = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}';
const REPO = `(?:${PART}/)?${PART}`;
/** Branches with a slash are written with %2F, but for those that the hub makes by itself. */
const REVISION = 'refs/(?:pr|convert)/[^/:@]+|[^/:@]+';
const BARE = new RegExp(`^(${PART}/${PART})(?:@(${REVISION}))?(?::(.+))?$`);
const MARKED = new RegExp(`^(?:models/)?(${REPO})(?:@(${REVISION}))?(?:[:/](.+))?$`);
/** Hosts that are the public hub. */
const HOSTS = ['huggingface.co', 'www.huggingface.co', 'hf.co'];

/**
 * `org/name`, `org/name@revision`, each with `:quant` or `:file`; the same behind `hf:`, `hf://` or
 * `hf.co/`, and addresses of pages of the hub (or of `endpoint`).
 * @returns null for what is a path: whatever starts with `.`, `/` or `~`, ends in `.gguf` or has
 * another number of parts
 */
export function hubName(text: string, endpoint: string): HubName | null {
  const [, marked] = /^(?:hf:(?:\/\/)?|hf\.co\/)(.*)$/s.exec(text) ?? [];
  if (marked !== undefined) return nameOf(MARKED.exec(marked));
  if (/^https?:\/\//i.test(text)) return addressOf(text, endpoint);
  const found = BARE.exec(text);
  return found === null || /\.gguf$/i.test(found[1]) ? null : nameOf(found);
}

function nameOf(found: RegExpExecArray | null): HubName | null {
  if (found === null) return null;
  const [, repo, revision = 'main', want] = found;
  return { repo, revision: decoded(revision), want };
}

/** /org/name, and under it /tree, /blob, /resolve or /raw with a revision and a file. */
function addressOf(text: string, endpoint: string): HubName | null {
  if (!URL.canParse(text)) return null;
  const { host, pathname } = new URL(text);
  if (!HOSTS.includes(host) && host !== new URL(endpoint).host) return null;
  const page = new RegExp(`^/(${REPO})(?:/(?:tree|blob|resolve|raw)/([^/]+)(?:/(.+?))?)?/?$`);
  const [, repo, revision = 'main', want] = page.exec(pathname) ?? [];
  if (repo === undefined || /^(datasets|spaces)\//.test(repo)) return null;
  return { repo, revision: decoded(revision), want: want && decoded(want) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
