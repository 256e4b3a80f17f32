/**
 * Formats that are enforced, as regexes of the whole text. Some are a little narrower than their
 * standard (no leap seconds; addresses without comments, whose hosts have a dot): what fits is
 * always right.
 */
const DAY = '(0[1-9]|[12][0-9]|3[01])';
const LEAP_YEAR = '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)';
const DATE =
  `([0-9]{4}-(((0[13578]|1[02])-${DAY})|((0[469]|11)-(0[1-9]|[12][0-9]|30))` +
  `|(02-(0[1-9]|1[0-9]|2[0-8])))|${LEAP_YEAR}-02-29)`;
const CLOCK = '([01][0-9]|2[0-3]):[0-5][0-9]';
const TIME = `(${CLOCK}:[0-5][0-9](\\.[0-9]{1,9})?([zZ]|[+-]${CLOCK}))`;

const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const IPV4 = `(${OCTET}\\.){3}${OCTET}`;
const GROUP = '[0-9a-fA-F]{1,4}';

/** `::` stands for one group or more: each number of groups before it bounds those behind. */
function ipv6(): string {
  const last = `(${GROUP}:${GROUP}|${IPV4})`;
  const tail = (most: number) => {
    if (most < 2) return most === 1 ? `(${GROUP})?` : '';
    return `((${GROUP}:){0,${most - 2}}${last}|${GROUP})?`;
  };
  const parts = [`(${GROUP}:){6}${last}`, `::${tail(7)}`];
  for (let before = 1; before <= 7; before++) {
    parts.push(`(${GROUP}:){${before - 1}}${GROUP}::${tail(7 - before)}`);
  }
  return parts.join('|');
}

const LABEL = '[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const HOSTNAME = `${LABEL}(\\.${LABEL})*`;
const ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
const EMAIL = `${ATOM}(\\.${ATOM})*@(${LABEL}\\.)+${LABEL}`;

const ESCAPED = '%[0-9a-fA-F]{2}';
const PLAIN = "\\-a-zA-Z0-9._~!$&'()*+,;=";
const PCHAR = `([${PLAIN}:@]|${ESCAPED})`;
const SEGMENTS = `(/${PCHAR}*)*`;
const HOST = `(\\[(${ipv6()})\\]|([${PLAIN}]|${ESCAPED})*)`;
const AUTHORITY = `(([${PLAIN}:]|${ESCAPED})*@)?${HOST}(:[0-9]*)?`;
const ENDING = `(\\?([${PLAIN}:@/?]|${ESCAPED})*)?(#([${PLAIN}:@/?]|${ESCAPED})*)?`;
const PATH = `(//${AUTHORITY}${SEGMENTS}|/(${PCHAR}+${SEGMENTS})?|${PCHAR}+${SEGMENTS})?`;
const URI = `[a-zA-Z][a-zA-Z0-9+.-]*:${PATH}${ENDING}`;
const NO_COLON = `([${PLAIN}@]|${ESCAPED})`;
const ABSOLUTE = `/(${PCHAR}+${SEGMENTS})?`;
const RELATIVE = `(//${AUTHORITY}${SEGMENTS}|${ABSOLUTE}|${NO_COLON}+${SEGMENTS})?${ENDING}`;

const TEMPLATE_CHAR = '([A-Za-z0-9_]|%[0-9a-fA-F]{2})';
const TEMPLATE_NAME = `${TEMPLATE_CHAR}(\\.?${TEMPLATE_CHAR})*(:[1-9][0-9]{0,3}|\\*)?`;
/** RFC 6570, 2. */
const URI_TEMPLATE =
  '([^\\u0000- "\'%<>\\\\^`{|}]|%[0-9a-fA-F]{2}|' +
  `\\{[+#./;?&=,!@|]?${TEMPLATE_NAME}(,${TEMPLATE_NAME})*\\})*`;

export const FORMATS: ReadonlyMap<string, string> = new Map([
  ['date', DATE],
  ['time', TIME],
  ['date-time', `${DATE}[tT]${TIME}`],
  ['uuid', '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'],
  ['email', EMAIL],
  ['hostname', HOSTNAME],
  ['ipv4', IPV4],
  ['ipv6', ipv6()],
  ['uri', URI],
  ['uri-reference', `(${URI})|(${RELATIVE})`],
  ['uri-template', URI_TEMPLATE],
]);
