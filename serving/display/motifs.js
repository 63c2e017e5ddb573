// The painting itself: a ground, six motifs, and the grain over all. Pure drawing: the same genome gives the same
// picture at any size, and a genome between two gives a picture between theirs.

import { css, mix } from "./colour.js";
import { chance } from "./genome.js";

const TURN = 2 * Math.PI;
const [GROUND, SECOND, FIRST, MIDDLE, THIRD, ACCENT, INK] = [0, 1, 2, 3, 4, 5, 6];
const DRAWN = [horizon, veils, orbits, fields, currents, blossom];

/** Paint a genome over the whole of a 2D context of `width` x `height` pixels. */
export function paint(context, width, height, genome) {
  const canvas = { context, width, height, unit: Math.sqrt(width * height), ...genome };
  context.globalAlpha = 1;
  ground(canvas);
  genome.weights.forEach((weight, i) => {
    if (weight < 0.02) return;
    context.save();
    context.globalAlpha = Math.min(weight, 1);
    DRAWN[i](canvas, Math.min(weight, 1));
    context.restore();
  });
  finish(canvas);
}

function ground({ context, width, height, unit, palette, seeds, dna }) {
  const angle = Math.PI * (0.25 + 0.5 * seeds[1]);
  const [x, y] = [(Math.cos(angle) * width) / 2, (Math.sin(angle) * height) / 2];
  const wash = context.createLinearGradient(width / 2 - x, height / 2 - y, width / 2 + x, height / 2 + y);
  wash.addColorStop(0, css(palette[GROUND]));
  wash.addColorStop(1, css(palette[SECOND]));
  context.fillStyle = wash;
  context.fillRect(0, 0, width, height);
  [MIDDLE, FIRST, THIRD, SECOND].forEach((tone, i) => {
    const colour = mix(palette[tone], palette[GROUND], 0.35);
    glow(
      context,
      width * seeds[2 + i],
      height * seeds[6 + i],
      unit * (0.35 + 0.4 * seeds[10 + i]),
      colour,
      0.2 + 0.25 * dna[1 + i],
    );
  });
}

/** Ridges in the haze under a low sun. */
function horizon({ context, width, height, unit, palette, seeds, dna }, weight) {
  const sky = 0.34 + 0.22 * seeds[14];
  const dark = palette[GROUND][0] < palette[INK][0] ? palette[GROUND] : palette[INK];
  const [far, near] = [mix(palette[SECOND], palette[MIDDLE], 0.45), mix(dark, palette[FIRST], 0.18)];
  const [x, y, radius] = [
    width * (0.18 + 0.64 * seeds[15]),
    height * sky * (0.45 + 0.4 * seeds[16]),
    unit * (0.045 + 0.06 * seeds[17]),
  ];
  glow(context, x, y, radius * 7, palette[ACCENT], 0.55);
  glow(context, x, y, radius * 2.4, palette[ACCENT], 0.5);
  disc(context, x, y, radius, css(mix(palette[ACCENT], [0.97, 0, 0.03], 0.35)));
  const ridges = 7;
  for (let i = 0; i < ridges; i += 1) {
    const depth = i / (ridges - 1);
    const base = height * (sky + (0.98 - sky) * depth ** 1.35);
    const rise = height * (0.05 + 0.09 * dna[26]) * (0.45 + 0.8 * depth);
    const colour = depth < 0.5 ? mix(far, palette[FIRST], depth * 2) : mix(palette[FIRST], near, depth * 2 - 1);
    const fill = context.createLinearGradient(0, base - rise, 0, base + height * 0.24);
    fill.addColorStop(0, css(colour));
    fill.addColorStop(1, css(mix(colour, far, 0.55 * (1 - depth))));
    context.fillStyle = fill;
    context.beginPath();
    context.moveTo(0, height);
    for (let step = 0; step <= 90; step += 1) {
      const along = step / 90;
      context.lineTo(along * width, base - rise * ridge(along * (width / unit), 18 + i * 4, seeds, 0.7 + 0.5 * depth));
    }
    context.lineTo(width, height);
    context.fill();
  }
  context.globalAlpha = 0.5 * weight;
  glow(context, x, height * (sky + 0.06), unit * 0.5, mix(palette[ACCENT], palette[SECOND], 0.4), 0.35);
}

/** Cloth of many hairlines, folding over itself. */
function veils({ context, width, height, unit, palette, seeds, dna }) {
  const tones = [
    [FIRST, MIDDLE],
    [ACCENT, THIRD],
    [MIDDLE, INK],
    [THIRD, ACCENT],
  ];
  tones.forEach(([from, to], k) => {
    const at = (i) => seeds[44 + k * 8 + i];
    const middle = 0.2 + 0.6 * ((k + at(0)) / tones.length);
    const lines = 64;
    for (let line = 0; line <= lines; line += 1) {
      const across = line / lines;
      const edge = Math.abs(across - 0.5) * 2;
      context.strokeStyle = css(mix(palette[from], palette[to], across), 0.16 + 0.34 * edge ** 3 + 0.12 * dna[13]);
      context.lineWidth = unit * (0.0009 + 0.0011 * edge);
      context.beginPath();
      for (let step = 0; step <= 44; step += 1) {
        const along = step / 44;
        const swing = 0.16 * Math.sin(TURN * (along * (0.5 + 0.7 * at(1)) + at(2)) + across * (0.8 + 3.4 * at(3)));
        const lean = 0.09 * Math.sin(TURN * (along * (0.9 + at(4)) + at(5)) - across * 2.2);
        const width_ = (0.08 + 0.22 * at(6)) * (0.35 + 0.65 * Math.sin(Math.PI * along + at(7) * 2) ** 2);
        context.lineTo(along * width * 1.04 - width * 0.02, height * (middle + swing + lean + width_ * (across - 0.5)));
      }
      context.stroke();
    }
  });
}

/** Rings, discs and straight lines in balance. */
function orbits({ context, width, height, unit, palette, seeds, dna }) {
  const tones = [FIRST, ACCENT, MIDDLE, THIRD, INK];
  const centres = [
    [0.36 + 0.28 * seeds[30], 0.36 + 0.28 * seeds[31], 0.3],
    [seeds[32], seeds[33], 0.18],
    [seeds[34], seeds[35], 0.12],
  ];
  context.lineCap = "butt";
  centres.forEach(([cx, cy, size], c) => {
    const [x, y, reach] = [cx * width, cy * height, unit * size * (0.8 + 0.6 * seeds[36 + c])];
    glow(context, x, y, reach * 1.7, palette[SECOND], 0.5);
    for (let ring = 9; ring >= 1; ring -= 1) {
      const seed = seeds[(40 + c * 11 + ring * 3) % 90];
      const [start, span] = [TURN * (seed + 0.17 * ring), TURN * (0.3 + 0.75 * seeds[(45 + c * 7 + ring * 5) % 90])];
      context.strokeStyle = css(palette[tones[(ring + c) % tones.length]], 0.9);
      context.lineWidth = reach * (ring % 3 === 0 ? 0.008 : 0.03 + 0.055 * seed);
      context.beginPath();
      context.arc(x, y, (reach * ring) / 9, start, start + Math.min(span, TURN));
      context.stroke();
    }
    disc(context, x, y, reach * 0.09, css(palette[tones[c + 1]]));
  });
  for (let i = 0; i < 6; i += 1) {
    const [x, y, radius] = [width * seeds[60 + i], height * seeds[66 + i], unit * (0.012 + 0.06 * seeds[72 + i] ** 2)];
    const from = TURN * seeds[78 + i];
    context.fillStyle = css(palette[tones[i % tones.length]], 0.92);
    context.beginPath();
    context.arc(x, y, radius, from, from + (i % 2 ? TURN : Math.PI));
    context.fill();
  }
  for (let i = 0; i < 4; i += 1) {
    const [angle, x, y] = [Math.PI * (seeds[84 + i] + dna[27]), width * seeds[50 + i], height * seeds[54 + i]];
    const length = unit * (0.25 + 0.5 * seeds[58 + i]);
    context.strokeStyle = css(palette[INK], 0.8);
    context.lineWidth = unit * (i === 0 ? 0.005 : 0.0012);
    segment(
      context,
      x - length * Math.cos(angle),
      y - length * Math.sin(angle),
      x + length * Math.cos(angle),
      y + length * Math.sin(angle),
    );
  }
}

/** Soft blocks of colour, one above the other, with edges as a wide brush leaves them. */
function fields({ context, width, height, unit, palette, seeds }, weight) {
  const tones = [FIRST, ACCENT, THIRD, MIDDLE];
  const [side, end] = [width * 0.055, height * 0.06];
  const shares = [0.45 + 0.9 * seeds[20], 0.12 + 0.5 * seeds[21], 0.35 + 0.8 * seeds[22]];
  const total = shares.reduce((sum, share) => sum + share, 0);
  let top = end;
  shares.forEach((share, i) => {
    const tall = ((height - end * 2) * share) / total;
    const place = i + seeds[23] * 3.99;
    const [one, other] = [0, 1].map((step) => palette[tones[(Math.floor(place) + step) % tones.length]]);
    const colour = mix(one, other, Math.min(Math.max((place % 1) * 5 - 2, 0), 1)); // mostly one of them, yet no jump between
    const noise = chance(`block ${i}`);
    const away = () => unit * 0.05 * noise() ** 2.2; // most layers reach nearly to the edge, few fall short
    for (let layer = 0; layer < 44; layer += 1) {
      context.globalAlpha = 0.075 * weight;
      context.fillStyle = css([colour[0] + 0.06 * (noise() - 0.5), colour[1], colour[2]]);
      rough(
        context,
        side + away(),
        top + away() + unit * 0.006,
        width - side - away(),
        top + tall - away() - unit * 0.006,
        unit * 0.02,
        noise,
      );
    }
    for (let stroke = 0; stroke < 70; stroke += 1) {
      context.globalAlpha = (0.015 + 0.035 * noise()) * weight;
      context.strokeStyle = css([colour[0] + 0.34 * (noise() - 0.5), colour[1], colour[2]]);
      context.lineWidth = unit * (0.004 + 0.03 * noise() ** 2);
      const [y, x] = [
        top + unit * 0.04 + Math.max(tall - unit * 0.08, 0) * noise(),
        side + unit * 0.04 + width * 0.45 * noise(),
      ];
      segment(
        context,
        x,
        y,
        Math.min(x + width * (0.15 + 0.5 * noise()), width - side - unit * 0.05),
        y + unit * 0.01 * (noise() - 0.5),
      );
    }
    top += tall;
  });
}

/** Thousands of short strokes that follow one wind. */
function currents({ context, width, height, unit, palette, seeds, dna }) {
  const eddies = [0, 1, 2].map((i) => [
    width * seeds[24 + i],
    height * seeds[27 + i],
    (seeds[70 + i] - 0.5) * 5,
    unit * (0.16 + 0.3 * seeds[73 + i]),
  ]);
  const [lean, wave] = [TURN * 0.12 * (seeds[76] - 0.5), 1.2 + 2.4 * dna[28]];
  const tones = [FIRST, MIDDLE, SECOND, THIRD, MIDDLE, ACCENT, GROUND];
  context.lineCap = "round";
  const grain = chance("strokes");
  for (let stroke = 0; stroke < 2400; stroke += 1) {
    let [x, y] = [
      width * (1.08 * ((0.5 + stroke * 0.7548776662) % 1) - 0.04),
      height * (1.08 * ((0.5 + stroke * 0.569840291) % 1) - 0.04),
    ];
    const [spice, length] = [grain(), 0.5 + grain()];
    const band =
      0.5 +
      0.25 * Math.sin((x / unit) * 3.1 + TURN * seeds[80]) +
      0.25 * Math.sin((y / unit) * 4.7 + TURN * seeds[81] + (x / unit) * 1.3);
    const place = Math.min(Math.max(band + 0.34 * (spice - 0.5), 0), 0.999) * (tones.length - 1);
    const colour = mix(palette[tones[Math.floor(place)]], palette[tones[Math.floor(place) + 1]], place % 1);
    context.strokeStyle = css([colour[0] + 0.09 * (grain() - 0.5), colour[1], colour[2]], 0.82);
    context.lineWidth = unit * (0.0022 + 0.0075 * grain() * (0.4 + dna[14]));
    context.beginPath();
    context.moveTo(x, y);
    for (let step = 0; step < 8; step += 1) {
      let angle =
        lean +
        0.7 * Math.sin((x / unit) * wave + TURN * seeds[82]) +
        0.6 * Math.sin((y / unit) * wave * 1.4 + TURN * seeds[83]);
      for (const [ex, ey, spin, reach] of eddies) {
        const far = Math.hypot(x - ex, y - ey) / reach;
        angle += spin * Math.exp(-far * far);
      }
      x += unit * 0.0075 * length * Math.cos(angle);
      y += unit * 0.0075 * length * Math.sin(angle);
      context.lineTo(x, y);
    }
    context.stroke();
  }
}

/** A flower of translucent layers, opening from its heart. */
function blossom({ context, width, height, unit, palette, seeds, dna }) {
  const [x, y] = [width * (0.34 + 0.32 * seeds[37]), height * (0.36 + 0.24 * seeds[38])];
  const ramp = [palette[FIRST], palette[MIDDLE], palette[THIRD], palette[ACCENT]];
  const layers = 15;
  glow(context, x, y, unit * 0.75, palette[SECOND], 0.7);
  for (let layer = 0; layer < layers; layer += 1) {
    const open = 1 - layer / layers;
    const place = Math.min((layer / (layers - 1)) * (ramp.length - 1), ramp.length - 1.001);
    const colour = mix(ramp[Math.floor(place)], ramp[Math.floor(place) + 1], place % 1);
    const radius = unit * (0.05 + 0.43 * open ** 1.15);
    const fill = context.createRadialGradient(x, y, radius * 0.05, x, y, radius * 1.35);
    fill.addColorStop(0, css(mix(colour, palette[ACCENT], 0.55), 0.85));
    fill.addColorStop(0.75, css(colour, 0.42));
    fill.addColorStop(1, css(mix(colour, palette[INK], 0.3), 0.6));
    context.fillStyle = fill;
    context.strokeStyle = css(mix(colour, palette[INK], 0.45), 0.5);
    context.lineWidth = unit * 0.0009;
    context.beginPath();
    for (let step = 0; step <= 220; step += 1) {
      const angle = (step / 220) * TURN;
      let petal = 1;
      [5, 6, 8, 3].forEach((count, i) => {
        const strength = (i === 0 ? 0.1 + 0.16 * seeds[39] : 0.11 * seeds[39 + i]) * (0.6 + 0.5 * open);
        petal += strength * Math.cos(count * angle + TURN * seeds[46 + i] + layer * (0.16 + 0.3 * dna[29]));
      });
      context.lineTo(x + radius * petal * Math.cos(angle), y + radius * petal * Math.sin(angle));
    }
    context.closePath();
    context.fill();
    context.stroke();
  }
  const grain = chance("pollen");
  for (let dot = 0; dot < 90; dot += 1) {
    const [angle, away] = [dot * 2.39996, unit * 0.045 * Math.sqrt(dot / 90)];
    disc(
      context,
      x + away * Math.cos(angle),
      y + away * Math.sin(angle),
      unit * (0.0012 + 0.0022 * grain()),
      css(palette[INK], 0.75),
    );
  }
}

/** Grain as of canvas, and a little dusk in the corners. */
function finish({ context, width, height, unit, dna }) {
  const dusk = context.createRadialGradient(
    width / 2,
    height / 2,
    Math.min(width, height) * 0.45,
    width / 2,
    height / 2,
    Math.hypot(width, height) * 0.62,
  );
  dusk.addColorStop(0, "rgba(8,6,12,0)");
  dusk.addColorStop(1, "rgba(8,6,12,0.22)");
  context.fillStyle = dusk;
  context.fillRect(0, 0, width, height);
  context.save();
  context.globalCompositeOperation = "overlay";
  context.globalAlpha = (0.08 + 0.1 * dna[12]) * Math.min(1, 0.4 + unit / 1400);
  context.fillStyle = context.createPattern(grainTile(), "repeat");
  context.fillRect(0, 0, width, height);
  context.restore();
}

let tile = null;

function grainTile() {
  if (tile !== null) return tile;
  const size = 256;
  tile = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = tile.getContext("2d");
  const pixels = context.createImageData(size, size);
  const noise = chance("grain");
  for (let i = 0; i < pixels.data.length; i += 4) {
    const [column, row] = [(i / 4) % size, Math.floor(i / 4 / size)];
    const weave = 14 * ((column % 3 === 0) - (row % 3 === 0));
    pixels.data.fill(128 + weave + 110 * (noise() + noise() - 1), i, i + 3);
    pixels.data[i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return tile;
}

function glow(context, x, y, radius, colour, strength) {
  const light = context.createRadialGradient(x, y, 0, x, y, radius);
  for (let stop = 0; stop <= 4; stop += 1) light.addColorStop(stop / 4, css(colour, strength * (1 - stop / 4) ** 2));
  context.fillStyle = light;
  context.fillRect(x - radius, y - radius, radius * 2, radius * 2);
}

function disc(context, x, y, radius, fill) {
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, TURN);
  context.fill();
}

function segment(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

/** A rectangle whose edges tremble, as slowly as an arm does. */
function rough(context, left, top, right, bottom, tremble, noise) {
  const corners = [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
  const points = corners.flatMap(([x, y], i) => {
    const [nextX, nextY] = corners[(i + 1) % 4];
    return [0, 0.2, 0.4, 0.6, 0.8].map((along) => [
      x + (nextX - x) * along + tremble * (noise() - 0.5),
      y + (nextY - y) * along + tremble * (noise() - 0.5),
    ]);
  });
  const middles = points.map(([x, y], i) => {
    const [nextX, nextY] = points[(i + 1) % points.length];
    return [(x + nextX) / 2, (y + nextY) / 2];
  });
  context.beginPath();
  context.moveTo(...middles[0]);
  points.forEach((_, i) =>
    context.quadraticCurveTo(...points[(i + 1) % points.length], ...middles[(i + 1) % points.length]),
  );
  context.fill();
}

/** The height of a ridge at `x`: a few waves whose lengths do not fit each other. */
function ridge(x, seed, seeds, roughness) {
  const at = (i) => TURN * seeds[(seed + i) % 90];
  return (
    0.55 * Math.sin(2.1 * x + at(0)) +
    0.3 * Math.sin(4.7 * x + at(1)) +
    roughness *
      (0.12 * Math.sin(11.3 * x + at(2)) + 0.05 * Math.sin(27.1 * x + at(3)) + 0.02 * Math.sin(61 * x + at(1)))
  );
}
