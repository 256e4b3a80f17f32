/**
 * What this run's random inputs are drawn from: OCTAVO_SEED where it is set, else anything, drawn
 * and printed once (setup.ts). The same seed draws the same again; CI takes the sources' own.
 */
export const SEED = Number(process.env.OCTAVO_SEED ?? 1);
