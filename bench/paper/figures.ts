/** The experiments, one function a figure of the paper (arXiv 2309.06180, section 6). */
import type { Chart, Series } from './charts.js';
import { type Reserve, serveContiguous } from './contiguous.js';
import { OPT_13B, OPT_66B, OPT_175B, type SimModel } from './cost.js';
import type { Served } from './log.js';
import { type PagedOptions, servePaged } from './paged.js';
import {
  alpaca,
  arrivals,
  chat,
  type Lengths,
  type Random,
  shareGpt,
  translation,
} from './workloads.js';

/** A number of ours beside the paper's. */
export interface Comparison {
  readonly figure: string;
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** Absent where the paper prints no number. */
  readonly paper?: string;
}

export interface Figure {
  readonly rows: readonly Comparison[];
  readonly charts: readonly Chart[];
}

/** How much is simulated: seconds of arrivals. */
export interface Effort {
  readonly seconds: number;
}

type Trace = (random: Random) => Lengths;
type System = (rate: number) => Served;

const SYSTEMS = ['paged', 'oracle', 'pow2', 'max'] as const;
type SystemName = (typeof SYSTEMS)[number];
const LABELS: Record<SystemName, string> = {
  paged: 'octavo',
  oracle: 'Orca (Oracle)',
  pow2: 'Orca (Pow2)',
  max: 'Orca (Max)',
};

function system(
  name: SystemName,
  model: SimModel,
  trace: Trace,
  { seconds }: Effort,
  options: PagedOptions = {},
): System {
  return (rate) => {
    const requests = arrivals(trace, rate, seconds, 1);
    return name === 'paged'
      ? servePaged(model, requests, options)
      : serveContiguous(model, requests, { reserve: name as Reserve, n: options.n ?? 1 });
  };
}

/** Latency that a service may have at its sustained rate, in seconds a token. */
const SUSTAINED = 0.5;

interface Curve {
  /** Highest rate whose normalized latency is at most SUSTAINED, in requests a second. */
  readonly rate: number;
  readonly points: [number, number][];
}

/** Finds the knee by bisection; every rate that was tried is a point of the curve. */
function curveOf(serve: System, guess: number): Curve {
  const points: [number, number][] = [];
  const latency = (rate: number) => {
    const { normalizedLatency } = serve(rate);
    points.push([rate, normalizedLatency]);
    return normalizedLatency;
  };
  let low = guess;
  while (latency(low) > SUSTAINED) low /= 2;
  let high = low * 2;
  while (latency(high) <= SUSTAINED) {
    low = high;
    high *= 2;
  }
  for (let i = 0; i < 7; i++) {
    const middle = Math.sqrt(low * high);
    if (latency(middle) <= SUSTAINED) low = middle;
    else high = middle;
  }
  for (const share of [0.25, 0.5, 0.75, 0.9]) latency(low * share);
  points.sort((a, b) => a[0] - b[0]);
  return { rate: low, points: points.filter(([, y]) => y < 4 * SUSTAINED) };
}

export function figure2(effort: Effort): Figure {
  const paper: Record<SystemName, string> = {
    paged: '96.3',
    oracle: '38.2',
    pow2: '26.8',
    max: '20.4',
  };
  const rows: Comparison[] = [];
  const shares: Record<string, [number, number][]> = {
    tokens: [],
    reserved: [],
    internal: [],
    external: [],
  };
  SYSTEMS.forEach((name, i) => {
    const served = system(name, OPT_13B, shareGpt, effort)(2);
    const ofHeld = name === 'paged';
    const tokens = 100 * (ofHeld ? served.ofHeld : served.tokens);
    const what = `${LABELS[name]}: KV memory that holds tokens${ofHeld ? ', of what is held' : ''}`;
    rows.push({ figure: '2', what, unit: '%', ours: tokens, paper: paper[name] });
    if (name === 'max') {
      rows.push(
        {
          figure: '2',
          what: 'Orca (Max): reserved',
          unit: '%',
          ours: 100 * served.reserved,
          paper: '13.3',
        },
        {
          figure: '2',
          what: 'Orca (Max): internal',
          unit: '%',
          ours: 100 * served.internal,
          paper: '57.3',
        },
        {
          figure: '2',
          what: 'Orca (Max): external',
          unit: '%',
          ours: 100 * (1 - served.tokens - served.reserved - served.internal),
          paper: '8.9',
        },
      );
    }
    const reserved = ofHeld ? 0 : 100 * served.reserved;
    const internal = ofHeld ? 100 - tokens : 100 * served.internal;
    shares.tokens.push([i, tokens]);
    shares.reserved.push([i, reserved]);
    shares.internal.push([i, internal]);
    shares.external.push([i, Math.max(0, 100 - tokens - reserved - internal)]);
  });
  const chart: Chart = {
    name: 'fig02-memory',
    title: 'KV memory by use, ShareGPT, OPT-13B (Fig. 2)',
    x: '',
    y: '%',
    kind: 'bars',
    stacked: true,
    yMax: 100,
    categories: SYSTEMS.map((name) => LABELS[name]),
    series: Object.entries(shares).map(([name, points]) => ({ name, points })),
  };
  return { rows, charts: [chart] };
}

/** Knees of all systems, with a chart of their curves. */
function knees(
  name: string,
  title: string,
  serve: (system: SystemName) => System,
  guess: number,
  systems: readonly SystemName[] = SYSTEMS,
): { rates: Record<string, number>; chart: Chart } {
  const rates: Record<string, number> = {};
  const series: Series[] = systems.map((each) => {
    const curve = curveOf(serve(each), guess);
    rates[each] = curve.rate;
    return { name: LABELS[each], points: curve.points };
  });
  const axes = { x: 'requests a second', y: 'normalized latency (s/token)' };
  return { rates, chart: { name, title, ...axes, kind: 'line', series, yMax: 1 } };
}

export function figure12(effort: Effort): Figure {
  const rows: Comparison[] = [];
  const charts: Chart[] = [];
  for (const [trace, traceName, guess] of [
    [shareGpt, 'ShareGPT', 0.3],
    [alpaca, 'Alpaca', 3],
  ] as const) {
    for (const model of [OPT_13B, OPT_66B, OPT_175B]) {
      const { rates, chart } = knees(
        `fig12-${traceName.toLowerCase()}-${model.name.toLowerCase()}`,
        `${model.name}, ${traceName} (Fig. 12)`,
        (name) => system(name, model, trace, effort),
        guess,
      );
      charts.push(chart);
      const where = `${model.name}, ${traceName}`;
      rows.push({ figure: '12', what: `${where}: sustained`, unit: 'req/s', ours: rates.paged });
      for (const other of ['oracle', 'pow2', 'max'] as const) {
        const paper = { oracle: '1.7–2.7', max: '2.7–8', pow2: undefined }[other];
        rows.push({
          figure: '12',
          what: `${where}: rate over ${LABELS[other]}'s`,
          unit: '×',
          ours: rates.paged / rates[other],
          ...(traceName === 'ShareGPT' && paper ? { paper } : {}),
        });
      }
    }
  }
  return { rows, charts };
}

export function figure13(effort: Effort): Figure {
  const paper = {
    ShareGPT: { paged: '30.42', oracle: '13.62', pow2: '9.81', max: '7.00' },
    Alpaca: { paged: '132.44', oracle: '72.75', pow2: '43.24', max: '7.00' },
  };
  const rows: Comparison[] = [];
  for (const [trace, name, rate] of [
    [shareGpt, 'ShareGPT', 2],
    [alpaca, 'Alpaca', 30],
  ] as const) {
    for (const each of SYSTEMS) {
      const { batched } = system(each, OPT_13B, trace, effort)(rate);
      const what = `${name} at ${rate} req/s, ${LABELS[each]}: requests batched`;
      rows.push({ figure: '13', what, unit: '', ours: batched, paper: paper[name][each] });
    }
  }
  return { rows, charts: [] };
}

/** Figs. 14 and 15: several sequences a request. */
export function figures14and15(effort: Effort): Figure {
  const rows: Comparison[] = [];
  const rate: Series[] = [];
  const saved: Series[] = [];
  const ratioPaper: Record<string, string> = { 'parallel 2': '', 'beam 6': '2.3' };
  const savedPaper: Record<string, readonly string[]> = {
    'Alpaca parallel': ['6.09', '8.53', '9.79'],
    'Alpaca beam': ['37.56', '53.13', '55.16'],
    'ShareGPT parallel': ['16.2–30.5', '16.2–30.5', '16.2–30.5'],
    'ShareGPT beam': ['44.3–66.3', '44.3–66.3', '44.3–66.3'],
  };
  for (const beams of [false, true]) {
    const kind = beams ? 'beam' : 'parallel';
    const points: [number, number][] = [];
    [2, 4, 6].forEach((n, i) => {
      const options = { n, beams };
      const serve = (name: SystemName) => system(name, OPT_13B, alpaca, effort, options);
      const paged = curveOf(serve('paged'), 2).rate;
      const ratio = paged / curveOf(serve('oracle'), 2).rate;
      const paper = ratioPaper[`${kind} ${n}`];
      const what = `Alpaca, ${kind} ${n}: rate over Orca (Oracle)'s`;
      rows.push({ figure: '14', what, unit: '×', ours: ratio, ...(paper ? { paper } : {}) });
      points.push([i, ratio]);
    });
    rate.push({ name: beams ? 'beam search' : 'parallel sampling', points });
    for (const [trace, name, at] of [
      [alpaca, 'Alpaca', 4],
      [shareGpt, 'ShareGPT', 0.4],
    ] as const) {
      const list = [2, 4, 6].map((n, i) => {
        const served = system('paged', OPT_13B, trace, effort, { n, beams })(at);
        const what = `${name}, ${kind} ${n}: blocks saved by sharing`;
        const paper = savedPaper[`${name} ${kind}`][i];
        rows.push({ figure: '15', what, unit: '%', ours: 100 * served.saved, paper });
        return [i, 100 * served.saved] as [number, number];
      });
      saved.push({ name: `${name}, ${kind}`, points: list });
    }
  }
  const categories = ['2', '4', '6'];
  const bars = { x: 'sequences a request', kind: 'bars' as const, categories };
  return {
    rows,
    charts: [
      {
        name: 'fig14-rates',
        title: 'Rate over Orca (Oracle), Alpaca (Fig. 14)',
        y: '×',
        series: rate,
        ...bars,
      },
      {
        name: 'fig15-sharing',
        title: 'Blocks saved by sharing (Fig. 15)',
        y: '%',
        series: saved,
        ...bars,
      },
    ],
  };
}

export function figure16(effort: Effort): Figure {
  const charts: Chart[] = [];
  const rows = ([80, 341] as const).map((prefix) => {
    const { rates, chart } = knees(
      `fig16-prefix-${prefix}`,
      `Translation, ${prefix} tokens of shared prefix (Fig. 16)`,
      (name) => system(name, OPT_13B, translation(prefix), effort, { prefixCache: true }),
      4,
      ['paged', 'oracle'],
    );
    charts.push(chart);
    return {
      figure: '16',
      what: `shared prefix of ${prefix} tokens: rate over Orca (Oracle)'s`,
      unit: '×',
      ours: rates.paged / rates.oracle,
      paper: prefix === 80 ? '1.67' : '3.58',
    };
  });
  return { rows, charts };
}

export function figure17(effort: Effort): Figure {
  const { rates, chart } = knees(
    'fig17-chat',
    'Chatbot (Fig. 17)',
    (name) => system(name, OPT_13B, chat, effort),
    0.2,
  );
  const others = (['oracle', 'pow2', 'max'] as const).map((other) => ({
    figure: '17',
    what: `chatbot: rate over ${LABELS[other]}'s`,
    unit: '×',
    ours: rates.paged / rates[other],
    paper: '2',
  }));
  return { rows: others, charts: [chart] };
}

export function figure18(effort: Effort): Figure {
  const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
  const rows: Comparison[] = [];
  const series = (
    [
      [shareGpt, 'ShareGPT', 1.6, '16–128'],
      [alpaca, 'Alpaca', 20, '16–32'],
    ] as const
  ).map(([trace, name, rate, paper]) => {
    const points = sizes.map((blockSize, i): [number, number] => {
      const serve = system('paged', OPT_13B, trace, effort, { blockSize });
      return [i, serve(rate).normalizedLatency];
    });
    const best = Math.min(...points.map(([, y]) => y));
    const good = sizes.filter((_, i) => points[i][1] <= 1.1 * best);
    const common = { figure: '18b', unit: 'tokens', paper };
    rows.push(
      { ...common, what: `${name}: smallest block within 10 % of the best`, ours: good[0] },
      {
        ...common,
        what: `${name}: largest block within 10 % of the best`,
        ours: good[good.length - 1],
      },
    );
    return { name: `${name} at ${rate} req/s`, points };
  });
  const chart: Chart = {
    name: 'fig18b-block-size',
    title: 'Block size (Fig. 18b)',
    x: 'tokens a block',
    y: 'normalized latency (s/token)',
    kind: 'bars',
    categories: sizes.map(String),
    series,
    yMax: 1,
  };
  return { rows, charts: [chart] };
}

export function figure19(effort: Effort): Figure {
  const sizes = [4, 8, 16, 32, 64, 128];
  const rows: Comparison[] = [];
  const points = { recompute: [] as [number, number][], swap: [] as [number, number][] };
  sizes.forEach((blockSize, i) => {
    for (const preemptionPolicy of ['recompute', 'swap'] as const) {
      const options = { blockSize, preemptionPolicy };
      const served = system('paged', OPT_13B, shareGpt, effort, options)(1.9);
      points[preemptionPolicy].push([i, served.normalizedLatency]);
    }
    rows.push({
      figure: '19',
      what: `blocks of ${blockSize}: latency of recompute over swap's`,
      unit: '×',
      ours: points.recompute[i][1] / points.swap[i][1],
      paper: blockSize >= 16 && blockSize <= 64 ? '≈ 1' : '≤ 1.2',
    });
  });
  const chart: Chart = {
    name: 'fig19-preemption',
    title: 'Recompute and swap, ShareGPT at 1.9 req/s (Fig. 19)',
    x: 'tokens a block',
    y: 'normalized latency (s/token)',
    kind: 'bars',
    categories: sizes.map(String),
    series: Object.entries(points).map(([name, list]) => ({ name, points: list })),
  };
  return { rows, charts: [chart] };
}
