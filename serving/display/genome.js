// What a painting is made from: numbers between 0 and 1 out of an artwork's DNA, and a palette. Draws nothing.
//
// Positions of the DNA: 0-11 colour, 12-23 texture, 24-33 composition, 34-43 mood, 44-49 morph controls.
// An artwork without a usable vector (none, or the stub of equal numbers) gets one from a hash of its styles and its
// id: of a style alike, and yet each its own.

import { lab, mix, shift } from "./colour.js";

export const LENGTH = 50;
const TASTE = 44;
const SEEDS = 96; // further numbers, from the id alone: where things stand
export const MOTIFS = 6;
const JOINING = [1, 2]; // veils and orbits leave room for another motif

// Ground, its second tone, three colours, an accent, and the ink that is read on the ground.
const PALETTES = [
  ["#0f1626", "#1d2b46", "#3d5a80", "#8aa6c1", "#e0c9a6", "#e07a5f", "#f2e9dc"], // nocturne
  ["#0d1b2a", "#1b3550", "#3f7396", "#8fc1d4", "#dcebee", "#f7b267", "#fbfdfd"], // ice
  ["#e8eef0", "#cfdde3", "#86aebf", "#4d7c95", "#f0d5b0", "#e2805a", "#22394a"], // salt and sky
  ["#f1ebdf", "#dfd8c8", "#2f53ab", "#7d99d0", "#e2b24a", "#d5432f", "#16203b"], // cobalt and bone
  ["#f4f1ea", "#e2dccf", "#98948c", "#5c5852", "#2f2c2a", "#b23a2a", "#141312"], // ink wash
  ["#e9e4e6", "#d2c7d0", "#97819a", "#5f5672", "#7c8a64", "#c9a35c", "#2c2735"], // mauve and moss
  ["#f7e9e3", "#e9dff0", "#b9c6e6", "#f2b5a7", "#f6d8a0", "#7f8fc9", "#4b4a68"], // morning
  ["#2a1a2e", "#4a2b4c", "#9a5276", "#d98e8b", "#f0c6a8", "#f6e3b8", "#fff3e3"], // rose dusk
  ["#130f2b", "#241a52", "#5b3fb5", "#a55fd0", "#f08fb4", "#57d1d6", "#f6ecff"], // ultraviolet
  ["#1a0f0f", "#3a1518", "#7d2427", "#c8472f", "#f08a3c", "#f9cf72", "#fdf0d0"], // ember
  ["#0c0b0a", "#1d1914", "#4a3a20", "#9c7a36", "#d9b566", "#f3dfa8", "#fff7e0"], // gold and black
  ["#e9dcc3", "#d9c29c", "#c08a4e", "#8c4a2f", "#44566c", "#c8452d", "#2b2320"], // ochre wall
  ["#f3e4cf", "#ebcfae", "#e2552f", "#b22f22", "#27324a", "#f0a43a", "#1b1a20"], // vermilion
  ["#efe0d2", "#dcbfa8", "#c4714f", "#8f4433", "#5e6b57", "#e8a86d", "#33241f"], // terracotta
  ["#fdf1e7", "#f8d9c9", "#f2836b", "#d9475c", "#2f8f9d", "#f4bc5f", "#1d3a44"], // reef
  ["#f2efd9", "#dfe0b8", "#9bb06a", "#5c7d4e", "#d88a5b", "#e7c252", "#28352a"], // meadow
  ["#081a17", "#0e302a", "#146b55", "#4fae8a", "#c9dca9", "#f2c14e", "#f3f1de"], // emerald night
  ["#10211f", "#1c3b37", "#3f7d6e", "#8fb8a0", "#d9cfa8", "#e39a4f", "#f1ead6"], // verdigris
].map((palette) => palette.map(lab));

/** The genome of an artwork: `dna` (50) and `seeds` (96) within 0 and 1, `palette` (7 colours), `weights` of motifs. */
export function genomeOf(artwork) {
  const seeds = Float64Array.from({ length: SEEDS }, chance(artwork.artwork_id));
  const dna = isUsable(artwork.dna_vector) ? Float64Array.from(artwork.dna_vector, spread) : invented(artwork);
  return { dna, seeds, palette: paletteOf(dna, seeds), weights: weightsOf(dna, seeds) };
}

/** The bare wall, before anything hangs on it. */
export function bareWall() {
  const [dna, seeds] = [new Float64Array(LENGTH).fill(0.4), new Float64Array(SEEDS).fill(0.4)];
  const tones = ["#24211f", "#2c2825", "#332e2a", "#2b2724", "#3a342f", "#453d36", "#efe9e0"];
  return { dna, seeds, palette: tones.map(lab), weights: new Array(MOTIFS).fill(0) };
}

/** What hangs at the entrance, while nobody has shown a pass: a night without anybody's artwork. */
export function entrance() {
  const seeds = Float64Array.from({ length: SEEDS }, chance("entrance"));
  return { ...bareWall(), seeds, palette: PALETTES[0], weights: [1, 0, 0, 0, 0, 0] };
}

/** The genome a share `t` of the way between two. */
export function between(from, to, t) {
  const part = (name) => from[name].map((number, i) => number + (to[name][i] - number) * t);
  return {
    dna: part("dna"),
    seeds: part("seeds"),
    weights: part("weights"),
    palette: from.palette.map((colour, i) => mix(colour, to.palette[i], t)),
  };
}

/** Whether a vector says something: 50 finite numbers whose taste part is not all one number. */
export function isUsable(vector) {
  return (
    Array.isArray(vector) &&
    vector.length === LENGTH &&
    vector.every(Number.isFinite) &&
    vector.slice(0, TASTE).some((number) => number !== vector[0])
  );
}

/** A number of 0 to 1, 2 or 3 (the vector does not say which) as one of 0 to 1, the crowded middle pulled apart. */
function spread(number) {
  const squashed = 1 - Math.exp(-1.4 * Math.max(number, 0));
  return Math.min(Math.max(0.5 + 1.7 * (squashed - 0.55), 0), 1);
}

function invented(artwork) {
  const styles = artwork.styles ?? [];
  const [own, shared] = [chance(`own ${artwork.artwork_id}`), chance(`style ${styles.join("+")}`)];
  const share = styles.length ? 0.6 : 0;
  return Float64Array.from({ length: LENGTH }, () => share * shared() + (1 - share) * own());
}

function paletteOf(dna, seeds) {
  const place = (dna[0] + 0.8 * dna[3] + 0.6 * dna[7] + 1.4 * seeds[0]) * PALETTES.length;
  const [first, second] = [0, 1].map((step) => PALETTES[(Math.floor(place) + step) % PALETTES.length]);
  const alike = Math.abs(first[0][0] - second[0][0]) < 0.3; // a dark and a light palette make mud
  const turn = (dna[5] - 0.5) * 0.4;
  const chroma = 0.85 + 0.35 * dna[36];
  return first.map((colour, i) => shift(mix(colour, second[i], alike ? 0.3 * dna[9] : 0), turn, chroma));
}

/** One motif leads; one that goes with others joins where it is nearly as strong. */
function weightsOf(dna, seeds) {
  const scores = Array.from({ length: MOTIFS }, (_, i) => 0.5 * dna[24 + i] + 0.4 * dna[12 + i] + seeds[90 + i]);
  const most = Math.max(...scores);
  return scores.map((score, i) => (score === most ? 1 : JOINING.includes(i) && most - score < 0.22 ? 0.45 : 0));
}

/** A stream of numbers from 0 to 1 that a text starts (FNV-1a into mulberry32). */
export function chance(text) {
  let state = 2166136261;
  for (const character of text) state = Math.imul(state ^ character.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
