// The canvas: still pictures at full resolution, and the way from one to the next. Knows nothing of artworks or time.
//
// Two canvases lie on each other. While the picture changes, the lower one is painted anew in each frame, as finely as
// the machine keeps up with; at rest the upper one holds the picture at full resolution and fades in over it.

import { bareWall, between } from "./genome.js";
import { paint } from "./motifs.js";

const MOST_PIXELS = 3_000_000;
const FRAME_MS = [12, 28]; // paint faster than this: finer; slower: coarser
const FINENESS = [0.22, 1];

const PROBE = { width: 96, height: 60 }; // large enough to tell how light a picture is

export class Painter {
  /** `moving` and `still`: two canvases of the same size on the page, the second one above. */
  constructor(moving, still) {
    this.moving = moving;
    this.still = still;
    this.shown = bareWall(); // what is on the wall, in the middle of a morph the picture between
    this.fineness = 0.6;
    this.run = 0; // counts up; a morph that is not of the latest run ends itself
    new ResizeObserver(() => this.rest()).observe(still);
  }

  /** Change to `genome` within `seconds` (0: at once); true at rest, false when another change cut in. */
  async show(genome, seconds) {
    const run = (this.run += 1);
    if (seconds > 0 && !(await this.morph(this.shown, genome, seconds * 1000, run))) return false;
    this.shown = genome;
    this.rest();
    return true;
  }

  /** Paint what is shown at full resolution. */
  rest() {
    this.fill(this.still, this.shown, 1);
    this.still.classList.add("at-rest");
  }

  async morph(from, to, length, run) {
    const started = performance.now();
    for (let share = 0; share < 1;) {
      const now = await frame();
      if (run !== this.run) return false;
      share = Math.min(Math.max((now - started) / length, 0), 1);
      this.shown = between(from, to, eased(share));
      this.fineness = adapted(this.fineness, this.fill(this.moving, this.shown, this.fineness));
      this.still.classList.remove("at-rest");
    }
    return true;
  }

  /** Paint at a share of full resolution; the milliseconds it took. */
  fill(canvas, genome, fineness) {
    const [width, height] = size(canvas, fineness);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const started = performance.now();
    paint(canvas.getContext("2d", { alpha: false }), width, height, genome);
    return performance.now() - started;
  }
}

/** How light a genome's picture is at its foot, where the words stand: 0 to 1. */
export function lightnessAtFoot(genome) {
  const { width, height } = PROBE;
  const probe = Object.assign(document.createElement("canvas"), PROBE);
  const context = probe.getContext("2d", { alpha: false, willReadFrequently: true });
  paint(context, width, height, genome);
  const { data } = context.getImageData(0, Math.round(height * 0.75), width, Math.round(height * 0.25));
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) sum += 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2];
  return sum / (data.length / 4) / 255;
}

/** The pixels of a canvas, its own on the screen, but not more than a slow machine can paint. */
function size(canvas, fineness) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.max(canvas.clientWidth, 1) * ratio, Math.max(canvas.clientHeight, 1) * ratio];
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height))) * fineness;
  return [Math.max(Math.round(width * scale), 1), Math.max(Math.round(height * scale), 1)];
}

function adapted(fineness, took) {
  const step = took > FRAME_MS[1] ? 0.85 : took < FRAME_MS[0] ? 1.08 : 1;
  return Math.min(Math.max(fineness * step, FINENESS[0]), FINENESS[1]);
}

function eased(share) {
  return share < 0.5 ? 4 * share ** 3 : 1 - (2 - 2 * share) ** 3 / 2;
}

function frame() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
