"""What a synthetic world is made from: seed, sizes, time, and the chance that the parts share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from features.errors import BadRecipeError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Times = NDArray[np.int64]  # microseconds since 1970 in UTC
Flags = NDArray[np.bool_]

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NEVER = np.iinfo(np.int64).max
ALWAYS = np.iinfo(np.int64).min
HOUR_OF_UNTIL = 21.5
EARLIEST = 3_652 * DAY  # 1980

STYLE_FAMILIES = (
    ("impressionism", "post-impressionism", "pointillism", "art-nouveau"),
    ("renaissance", "baroque", "romanticism", "realism"),
    ("cubism", "bauhaus", "constructivism", "suprematism", "op-art"),
    ("ukiyo-e", "sumi-e", "persian-miniature"),
    ("surrealism", "symbolism", "expressionism", "abstract-expressionism"),
    ("vaporwave", "cyberpunk", "glitch-art", "generative"),
)
STYLES = tuple(chain.from_iterable(STYLE_FAMILIES))
FAMILY_OF_STYLE = np.repeat(np.arange(len(STYLE_FAMILIES)), [len(family) for family in STYLE_FAMILIES])

LOOK = 10  # dimensions of the latent visual space

PARTS = ("ids", "pool", "looks", "dna", "words", "names", "people", "tastes", "habits", "visits", "policy", "signals")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a world is made from. Raises BadRecipeError naming the field that breaks its rule."""

    seed: int = 1
    users: int = 2_000
    artworks: int = 2_000
    days: int = 60
    until: datetime

    def __post_init__(self) -> None:
        for field, least in (("seed", 0), ("users", 1), ("artworks", 1), ("days", 1)):
            if getattr(self, field) < least:
                raise BadRecipeError(field=field, value=getattr(self, field), rule=f"it must be at least {least}")
        if self.until.tzinfo is None:
            raise BadRecipeError(field="until", value=self.until.isoformat(), rule="it needs a time zone")
        if self.begin < EARLIEST:
            raise BadRecipeError(field="days", value=self.days, rule="the world may not begin before 1980")

    @property
    def end(self) -> int:
        """The last moment, in microseconds since 1970."""
        return int(self.until.timestamp()) * SECOND

    @property
    def begin(self) -> int:
        """The first moment, in microseconds since 1970."""
        return self.end - self.days * DAY

    @property
    def artists(self) -> int:
        """How many artists there are: the same number for each style."""
        return len(STYLES) * int(np.clip(self.artworks // (25 * len(STYLES)), 2, 40))

    def generators(self) -> dict[str, Generator]:
        """One independent generator per part."""
        root = np.random.SeedSequence([self.seed, self.users, self.artworks, self.days])
        return {part: np.random.default_rng(child) for part, child in zip(PARTS, root.spawn(len(PARTS)), strict=True)}


def artist_names(recipe: Recipe) -> tuple[str, ...]:
    """Invented names, all different, one for each artist."""
    firsts = ("Ama", "Bo", "Cira", "Dov", "Elin", "Fai", "Goro", "Hale", "Ines", "Jun", "Kaya", "Lio", "Mira", "Noor")
    openings = ("Ar", "Bel", "Cor", "Dra", "Es", "Fen", "Gal", "Hol", "Is", "Jar", "Kel", "Lu", "Mor", "Nav", "Or")
    endings = ("ano", "berg", "dell", "eva", "ford", "gar", "holt", "iri", "kova", "lund", "mand", "oto", "quist")
    everyone = [f"{first} {opening}{ending}" for first in firsts for opening in openings for ending in endings]
    rows = recipe.generators()["names"].permutation(len(everyone))[: recipe.artists]
    return tuple(everyone[row] for row in rows)


def at_rate(weights: Floats, rate: float) -> Floats:
    """Probabilities in proportion to the weights, with a mean of about ``rate`` and none over 0.6."""
    scale = rate * len(weights) / max(float(weights.sum()), 1e-9)
    return np.asarray(np.minimum(weights * scale, 0.6), dtype=np.float32)


def logistic(x: ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(x, dtype=np.float32))), dtype=np.float32)


def dealt(rng: Generator, count: int, shares: tuple[float, ...]) -> Rows:
    """Kinds 0, 1, 2 and so on in exactly these shares (rounded; the first takes the rest), in random order."""
    counts = np.rint(np.array(shares[1:]) * count).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(len(shares)), [max(count - int(counts.sum()), 0), *counts])[:count])


def uuids(rng: Generator, count: int) -> tuple[str, ...]:
    """Version 4 uuids as text."""
    octets = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    text = octets.tobytes().hex()
    return tuple(
        f"{part[:8]}-{part[8:12]}-{part[12:16]}-{part[16:20]}-{part[20:]}"
        for part in (text[start : start + 32] for start in range(0, len(text), 32))
    )
