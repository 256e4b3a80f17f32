/** As much of Markdown as the pages need: sections, blocks, links, fences. */

/** Of a heading, as GitHub makes it. */
export function slugOf(heading) {
  const plain = heading.replace(/[`*]/g, '').trim().toLowerCase();
  return plain.replace(/[^\p{L}\p{N}\- _]/gu, '').replace(/ /g, '-');
}

/** Sections by the title of their heading (`## Title`), each a list of blocks; first `Top`. */
export function sectionsOf(text) {
  let blocks = [];
  const sections = new Map([['Top', blocks]]);
  for (const block of blocksOf(text)) {
    const [, title] = /^## (.+)$/.exec(block) ?? [];
    if (title === undefined) blocks.push(block);
    else sections.set(title, (blocks = []));
  }
  return sections;
}

/** What stands between empty lines; a fence is a block, whatever is in it. */
export function blocksOf(text) {
  const blocks = [];
  let block = [];
  let fence = null;
  const end = () => {
    if (block.length > 0) blocks.push(block.join('\n'));
    block = [];
  };
  for (const line of text.split('\n')) {
    const mark = /^(```+)/.exec(line)?.[1];
    if (fence === null && mark === undefined) {
      if (line.trim() === '' || /^#{1,4} /.test(line)) end();
      if (line.trim() !== '') block.push(line);
      if (/^#{1,4} /.test(line)) end();
    } else {
      if (fence === null) fence = mark;
      else if (line.trim() === fence) fence = null;
      block.push(line);
    }
  }
  end();
  return blocks;
}

/** Fences of a page with their language, the rest of their first line, and their line's number. */
export function fencesOf(text) {
  const fences = [];
  let open = null;
  text.split('\n').forEach((line, i) => {
    const [, mark, language, rest] = /^(```+)(\w*) ?(.*)$/.exec(line) ?? [];
    if (open === null && mark !== undefined) {
      open = { mark, language, rest, line: i + 1, code: [] };
    } else if (open !== null && line.trim() === open.mark) {
      fences.push({ ...open, code: open.code.join('\n') });
      open = null;
    } else open?.code.push(line);
  });
  if (open !== null) throw new Error(`a fence that begins in line ${open.line} does not end`);
  return fences;
}

/** Rewrites targets of links and images outside of code: `change(target, isImage)` → another. */
export function mapLinks(text, change) {
  const parts = text.split(/(^```[\s\S]*?^```$|`[^`\n]*`)/m);
  // The text of a link may be code: a link is found in its rest, `](target)`.
  const changed = (_whole, image, target) =>
    `${image ?? ''}](${change(target, image !== undefined)})`;
  return parts
    .map((part, i) => (i % 2 ? part : part.replace(/(!\[[^\]]*)?\]\(([^)\s]+)\)/g, changed)))
    .join('');
}
