"""Paints a picture from a DNA vector: the same vector gives the same picture, near vectors give near ones. Pure numpy.

A picture is a scalar field turned into colour. Composition says where things are, texture what the field is made of,
colour which inks it runs through, mood how they are lit; the morph controls nudge zoom, flow and line, as they would
while music plays. Each of the 50 numbers has its own place below, and none is without effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from features.dna import LENGTH, TASTE_LENGTH, WIDE

Field = NDArray[np.float32]
Picture = NDArray[np.uint8]

TURN = np.float32(2 * np.pi)
GOLDEN = 2.399963  # radians; successive waves turned by it never line up
MOST_OCTAVES = 7
INKS = 5
MIDDLE = 0.5  # lightness
GAMUT_STEPS = 4
_OKLAB = ((0.3963377774, 0.2158037573), (-0.1055613458, -0.0638541728), (-0.0894841775, -1.2914855480))
_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
_MORPH = ((0.5, 2.0), (0.3, 2.0), (0.5, 1.5), (0.3, 1.5), (0.2, 1.0), (0.8, 1.5))  # ranges of 44-49


@dataclass(frozen=True)
class Genome:
    """The 50 numbers, each brought to 0..1 over its usual range, by the part they play."""

    colour: Floats  # (12,)
    texture: Floats  # (12,)
    composition: Floats  # (10,)
    mood: Floats  # (10,)
    morph: Floats  # (6,)


def usual_range() -> tuple[Floats, Floats]:
    """The lower and the upper end of each dimension's usual range, shapes (50,)."""
    low, high = np.zeros(LENGTH, np.float32), np.full(LENGTH, 2.0, np.float32)
    high[list(WIDE)] = 3.0
    low[TASTE_LENGTH:], high[TASTE_LENGTH:] = np.array(_MORPH, np.float32).T
    return low, high


def read_genome(dna: Floats) -> Genome:
    """The parts of a vector of shape (50,); what is beyond a usual range counts as its end."""
    if dna.shape != (LENGTH,):
        raise ValueError(f"a DNA vector has {LENGTH} numbers, not the shape {dna.shape}")
    low, high = usual_range()
    shares = np.clip((dna - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return Genome(shares[:12], shares[12:24], shares[24:34], shares[34:44], shares[44:])


def paint(dna: Floats, width: int, height: int) -> Picture:
    """The picture of a DNA vector (50,), shape (height, width, 3), sRGB."""
    genome = read_genome(dna)
    x, y = _canvas(width, height)
    x, y, focus = _compose(genome, x, y)
    field = _forms(genome, x, y, focus, _texture(genome, x, y))
    marks = (0.03 + 0.12 * genome.texture[2]) * (0.5 + genome.morph[4]) * _strokes(genome, field)
    lab = _ink(genome, field + 0.8 * marks, x, y)
    lab[..., 0] += 0.45 * marks
    return _to_srgb(_light(genome, lab, field, focus))


def _canvas(width: int, height: int) -> tuple[Field, Field]:
    """Coordinates about the middle; the shorter side is -1 to 1."""
    across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    half = min(width, height) / 2
    x, y = np.meshgrid((across - width / 2) / half, (down - height / 2) / half)
    return x.astype(np.float32), y.astype(np.float32)


def _compose(genome: Genome, x: Field, y: Field) -> tuple[Field, Field, Field]:
    """Coordinates moved, turned, folded and zoomed, and the distance to the focal point as the eye has it."""
    focus_x, focus_y, turn, fold, zoom, tile = (genome.composition[i] for i in (1, 2, 7, 3, 0, 8))
    focus = np.hypot(x - (focus_x - 0.5) * 1.6, y - (focus_y - 0.5) * 1.2)
    angle = (turn - 0.5) * np.pi
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    x = x * (1 - fold) + np.abs(x) * fold  # a symmetric picture at the one end, a free one at the other
    scale = (0.7 + 1.6 * zoom) * (0.85 + 0.3 * genome.morph[5])
    x, y = x * scale, y * scale
    waves = 0.35 * tile
    x, y = x + waves * np.sin(2.1 * y + 1.0), y + waves * np.sin(1.7 * x)
    return x, y + 0.6 * (genome.morph[1] - 0.5), focus


def _texture(genome: Genome, x: Field, y: Field) -> Field:
    """What the ground is made of, about -1 to 1: fractal waves, warped by themselves."""
    rough, depth, strength, scale = genome.texture[0], genome.texture[1], genome.texture[6], genome.texture[7]
    unrest = genome.mood[4]
    warp = (0.15 + 1.1 * strength) * (0.6 + 0.8 * unrest)
    size = 0.6 + 1.8 * scale
    dx = _waves(x * size, y * size, 0.5, 3.0, 0.0)
    dy = _waves(x * size, y * size, 0.5, 3.0, 40.0)
    octaves = 1.5 + (MOST_OCTAVES - 1.5) * depth
    calm = 1.5 - 0.9 * genome.mood[8]
    return _waves((x + warp * dx) * calm, (y + warp * dy) * calm, 0.35 + 0.4 * rough, octaves, 11.0)


def _waves(x: Field, y: Field, gain: float, octaves: float, seed: float) -> Field:
    """A sum of turned sine waves, each finer and fainter than the one before; a part of an octave counts in part."""
    total, weight = np.zeros_like(x), np.float32(0)
    for octave in range(int(np.ceil(octaves))):
        part = np.float32(min(octaves - octave, 1.0) * gain**octave)
        frequency = np.float32(1.7 * 1.93**octave)
        for turn in (0.0, 2.1):
            angle = GOLDEN * (octave * 2 + 1) + seed + turn
            phase = seed * 1.3 + octave * 1.9 + turn
            along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
            total += part * np.sin(frequency * along + np.float32(phase))
        weight += 2 * part
    return np.asarray(total / (0.7 * weight), dtype=np.float32)


def _forms(genome: Genome, x: Field, y: Field, focus: Field, ground: Field) -> Field:
    """The field that is inked: layers, rings, stripes and cells over the ground, about 0 to 1."""
    layers, radial, stripes = genome.composition[4], genome.composition[5], genome.composition[6]
    bend = 0.2 + 2.2 * genome.texture[3]
    ridged = 1.0 - 2.2 * np.abs(ground)
    base = ground * (1 - genome.texture[5]) + ridged * genome.texture[5]
    rings = np.sin(TURN * (focus * (0.6 + 2.4 * radial) - 0.5 * genome.morph[3]) + bend * ground)
    angle = genome.texture[4] * np.pi
    bands = np.sin(TURN * (np.cos(angle) * x + np.sin(angle) * y) * (0.4 + 2.6 * stripes) + bend * ground)
    cells = _cells(genome, x + 0.15 * ground, y + 0.15 * ground)
    shares = np.array([0.8, 1.1 * radial**2, 1.1 * stripes**2, 1.2 * genome.texture[10] ** 2], np.float32)
    field = sum(share * part for share, part in zip(shares / shares.sum(), (base, rings, bands, cells), strict=True))
    field = np.tanh(1.6 * field)
    steps = 2.0 + 7.0 * layers
    place = field * steps
    terrace = (
        np.floor(place) + 1.0 / (1.0 + np.exp(-(8 + 40 * genome.mood[7]) * (place - np.floor(place) - 0.5)))
    ) / steps
    keen = layers * (0.35 + 0.65 * genome.mood[7])
    field = field * (1 - keen) + terrace * keen
    double = 0.5 * genome.mood[9]  # a second exposure, mirrored
    field = field * (1 - double) + double * field[:, ::-1]
    return np.asarray(0.5 + 0.45 * field, dtype=np.float32)


def _cells(genome: Genome, x: Field, y: Field) -> Field:
    """Distance to the nearest of a sunflower of points, as cells with soft walls, -1 to 1."""
    count = round(6 + 34 * genome.texture[11])
    nearest = np.full_like(x, 9.0)
    for number in range(count):
        radius, angle = 1.9 * np.sqrt((number + 0.5) / count), GOLDEN * number
        nearest = np.minimum(nearest, np.hypot(x - radius * np.cos(angle), y - radius * np.sin(angle)))
    spread = 1.9 / np.sqrt(count)
    return np.asarray(np.clip(1.0 - 2.0 * nearest / (1.3 * spread), -1, 1), dtype=np.float32)


def _inks(genome: Genome) -> tuple[Floats, Floats]:
    """The places of the inks on the tone's way from 0 to 1, and their Oklab values, shapes (5,) and (5, 3)."""
    hue, spread, richness, light, contrast, warmth = (genome.colour[i] for i in range(6))
    accent, share, shade = genome.colour[6], genome.colour[7], genome.colour[11]
    step = np.linspace(-1, 1, INKS, dtype=np.float32)
    hues = TURN * hue + (0.15 + 0.85 * spread) * step
    hues[0] += (shade - 0.5) * 2.0  # shadows lean to a hue of their own
    hues[3] += (0.5 + accent) * np.pi * 0.8  # one ink stands out
    middle = 0.4 + 0.3 * light
    lightness = np.clip(middle + (0.16 + 0.26 * contrast) * step, 0.08, 0.95)
    chroma = (
        (0.035 + 0.13 * richness) * (0.7 + 0.6 * genome.mood[2]) * np.array([0.7, 1.0, 1.0, 1.35, 0.55], np.float32)
    )
    warm = np.cos(hues - 1.0) * (warmth - 0.5)
    chroma = np.maximum(chroma * (1 + 0.8 * warm), 0.0)
    lightness = np.clip(lightness + 0.08 * warm, 0.06, 0.96)
    places = np.array([0.0, 0.28, 0.55, 0.72 + 0.16 * (0.5 - share), 1.0], np.float32)
    return places, np.stack([lightness, chroma * np.cos(hues), chroma * np.sin(hues)], axis=1).astype(np.float32)


def _ink(genome: Genome, field: Field, x: Field, y: Field) -> Field:
    """The field in Oklab (Ottosson, 2020), shape (height, width, 3): a walk through five related inks."""
    slope, way, bands = genome.colour[8], genome.colour[9], genome.colour[10]
    tilt = np.cos(TURN * way) * x + np.sin(TURN * way) * y
    tone = field + 0.28 * slope * tilt
    count = 4 + round(8 * (1 - bands))
    place = tone * count
    eased = np.floor(place) + 1.0 / (1.0 + np.exp(-16.0 * (place - np.floor(place) - 0.5)))
    tone = np.clip(tone * (1 - 0.9 * bands) + eased / count * 0.9 * bands, 0, 1)
    places, inks = _inks(genome)
    lab = np.stack([np.interp(tone, places, inks[:, part]) for part in range(3)], axis=-1).astype(np.float32)
    line = np.abs(np.sin(np.pi * (2 + 9 * genome.texture[9]) * field))
    edge = np.clip(1.0 - line / (0.1 + 0.5 * genome.morph[2]), 0, 1) * (0.25 + 0.75 * genome.texture[8])
    lab[..., 0] += edge * np.where(lab[..., 0] > MIDDLE, -0.2, 0.2)  # drawn lines, dark on light and light on dark
    return lab


def _strokes(genome: Genome, field: Field) -> Field:
    """Brush marks along the contours of the field, -1 to 1: noise smeared along a flow.

    Line integral convolution (Cabral & Leedom, SIGGRAPH 1993), by steps over whole pixels.
    """
    height, width = field.shape
    brush = 2 + round(min(height, width) / 400 * (1 + 5 * genome.texture[2]))
    rows, columns = np.indices(field.shape, dtype=np.uint32)
    noise = _hash(*(np.floor_divide(each, brush, dtype=np.uint32) for each in (rows, columns)))
    down, across = np.gradient(_blur(field, 2 + min(height, width) // 60))
    turn = np.arctan2(down, across) + np.pi / 2 + (genome.texture[4] - 0.5) * 1.2
    step_x, step_y = np.cos(turn).astype(np.float32) * brush * 0.6, np.sin(turn).astype(np.float32) * brush * 0.6
    total = noise.copy()
    steps = 4 + round(10 * genome.texture[3])
    for way in (1.0, -1.0):
        here_x, here_y = columns.astype(np.float32), rows.astype(np.float32)
        for _ in range(steps):
            at = (here_y.astype(np.int32), here_x.astype(np.int32))
            here_x = np.clip(here_x + way * step_x[at], 0, width - 1)
            here_y = np.clip(here_y + way * step_y[at], 0, height - 1)
            total += noise[here_y.astype(np.int32), here_x.astype(np.int32)]
    mean = total / (2 * steps + 1)
    return np.asarray(np.tanh((mean - 0.5) * np.sqrt(2 * steps + 1) * 2.2), dtype=np.float32)


def _light(genome: Genome, lab: Field, field: Field, focus: Field) -> Field:
    """Glow about the focal point, fog, dusk, vignette, softness, grain and sparkle."""
    glow, soft, _, dusk, _, sparkle, fog = (genome.mood[i] for i in range(7))
    lightness = lab[..., 0]
    if soft > 0.02:  # noqa: PLR2004 - below it nothing would be seen
        blurred = _blur(lightness, 1 + int(field.shape[0] / 60 * soft))
        lightness = lightness * (1 - 0.8 * soft) + blurred * 0.8 * soft
    lightness = lightness + 0.3 * glow * np.exp(-2.4 * focus * focus) * (0.6 + 0.8 * genome.morph[0])
    lightness = lightness * (1 - 0.4 * dusk) - 0.3 * genome.composition[9] * np.clip(focus - 0.4, 0, 1.2)
    mist = 0.6 * fog * np.clip(0.9 - np.abs(field - 0.5) * 1.5, 0, 1)
    lightness = lightness * (1 - mist) + 0.8 * mist
    rows, columns = np.indices(lightness.shape, dtype=np.uint32)
    noise = _hash(rows, columns)
    lightness = lightness + 0.02 * (noise - 0.5)
    coarse = max(1, min(lightness.shape) // 500)
    stars = _hash(rows // np.uint32(coarse), columns // np.uint32(coarse) + np.uint32(7_919))
    bright = stars > 1.0 - 0.015 * sparkle
    lightness = np.where(bright, np.minimum(lightness + 0.35, 0.98), lightness)
    colour = lab[..., 1:] * (1 - 0.7 * mist)[..., None]
    return np.concatenate([lightness[..., None], colour], axis=-1).astype(np.float32)


def _hash(rows: NDArray[np.uint32], columns: NDArray[np.uint32]) -> Field:
    """A number within 0 and 1 for each pixel, the same every time."""
    mixed = rows * np.uint32(0x9E3779B1) ^ columns * np.uint32(0x85EBCA77)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0xC2B2AE3D)
    return np.asarray((mixed ^ (mixed >> np.uint32(13))) / np.float32(2**32), dtype=np.float32)


def _blur(field: Field, radius: int) -> Field:
    """Two passes of a box of 2 radius + 1 pixels along each side, by running sums."""
    for axis in (0, 1, 0, 1):
        padded = np.concatenate(
            [
                np.repeat(field.take([0], axis), radius + 1, axis),
                field,
                np.repeat(field.take([-1], axis), radius, axis),
            ],
            axis,
        )
        sums = np.cumsum(padded, axis=axis, dtype=np.float64)
        length = 2 * radius + 1
        ahead, behind = (
            sums.take(range(length, sums.shape[axis]), axis),
            sums.take(range(sums.shape[axis] - length), axis),
        )
        field = ((ahead - behind) / length).astype(np.float32)
    return field


def _to_srgb(lab: Field) -> Picture:
    """Oklab to 8-bit sRGB; colour gives way where a screen cannot show it, so that light and hue stay."""
    light, colour = np.clip(lab[..., 0], 0.03, 0.97), lab[..., 1:]
    linear = _linear(light, colour)
    for _ in range(GAMUT_STEPS):
        shown = np.all((linear >= 0) & (linear <= 1), axis=-1, keepdims=True)
        colour = np.where(shown, colour, colour * np.float32(0.8))
        linear = _linear(light, colour)
    linear = np.clip(linear, 0.0, 1.0)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # noqa: PLR2004 - sRGB's own
    return np.asarray(np.round(shown * 255), dtype=np.uint8)


def _linear(light: Field, colour: Field) -> Field:
    """Linear sRGB, shape (height, width, 3), beyond 0..1 where it cannot be shown."""
    a, b = colour[..., 0], colour[..., 1]
    long, medium, short = ((light + p * a + q * b) ** 3 for p, q in _OKLAB)
    return np.stack([p * long + q * medium + r * short for p, q, r in _CONES], axis=-1)
