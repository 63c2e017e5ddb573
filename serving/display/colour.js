// Colour as OKLab triples, in which a straight line between two colours looks even to the eye.
// Source: Bjoern Ottosson, "A perceptual color space for image processing", 2020.

/** An OKLab triple from "#rrggbb". */
export function lab(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => linear(parseInt(hex.slice(at, at + 2), 16) / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** The colour a share `t` of the way from `from` to `to`. */
export function mix(from, to, t) {
  return [0, 1, 2].map((i) => from[i] + (to[i] - from[i]) * t);
}

/** The colour turned by `angle` radians, its chroma times `chroma`, its lightness `lift` higher. */
export function shift([l, a, b], angle, chroma = 1, lift = 0) {
  const [cos, sin] = [Math.cos(angle) * chroma, Math.sin(angle) * chroma];
  return [Math.min(Math.max(l + lift, 0), 1), a * cos - b * sin, a * sin + b * cos];
}

/** The colour as CSS. */
export function css([lightness, a, b], alpha = 1) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const rgb = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return `rgba(${rgb.map((part) => Math.round(255 * gamma(part))).join(",")},${alpha.toFixed(3)})`;
}

function linear(part) {
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

function gamma(part) {
  const bounded = Math.min(Math.max(part, 0), 1);
  return bounded <= 0.0031308 ? bounded * 12.92 : 1.055 * bounded ** (1 / 2.4) - 0.055;
}
