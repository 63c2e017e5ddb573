"""A sheet of pictures painted from DNA: kin within a cluster of vectors, different between clusters.

python tests/evidence/pictures.py [--sheet FILE] [--seed N]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from features.dna import LENGTH
from serving.generation.painter import paint, usual_range
from tests.stage import conclude

CLUSTERS, EACH = 6, 4
TILE = (480, 300)
SPREAD = 0.05  # of a cluster's vectors, in shares of the usual range
BASES, EFFECT = 8, 0.5  # a dimension shows when it changes some picture by so many steps of 255
console = Console()

Pictures = list[NDArray[np.uint8]]


def main() -> None:
    """Paint, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path, default=Path(tempfile.mkdtemp(prefix="pictures-")) / "sheet.png")
    parser.add_argument("--seed", type=int, default=4)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)
    started = time.monotonic()
    clusters = [_cluster(draw) for _ in range(CLUSTERS)]
    seconds = (time.monotonic() - started) / (CLUSTERS * EACH)
    again = [_cluster(np.random.default_rng(given.seed))][0]
    figures = {
        "pictures": CLUSTERS * EACH,
        "same_again": all(np.array_equal(one, other) for one, other in zip(clusters[0], again, strict=True)),
        **_kinship(clusters),
        **_effects(draw),
        "seconds_each": round(seconds, 2),
        "seconds_1280x800": round(_full_size(draw), 2),
        "sheet": str(given.sheet),
    }
    given.sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack([np.hstack(row) for row in clusters])).save(given.sheet)
    table = Table("what", "figure", title="pictures from DNA")
    for name, value in figures.items():
        table.add_row(name, str(value))
    console.print(table)
    apart = figures["within_over_between"] < 0.5 and figures["nearest_is_kin"] == 1.0
    conclude("pictures", figures, met=bool(figures["same_again"] and apart and figures["silent_dimensions"] == 0))


def _cluster(draw: np.random.Generator) -> Pictures:
    """Pictures of vectors about one centre."""
    centre = draw.beta(0.7, 0.7, LENGTH)
    return [paint(_vector(centre + draw.normal(0, SPREAD, LENGTH)), *TILE) for _ in range(EACH)]


def _vector(shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """A DNA vector from shares of the usual ranges."""
    low, high = usual_range()
    return (low + np.clip(shares, 0, 1) * (high - low)).astype(np.float32)


def _kinship(clusters: list[Pictures]) -> dict[str, float]:
    """How far pictures are apart within clusters and between them, by what they look like in the small."""
    looks = np.stack([_look(picture) for cluster in clusters for picture in cluster])
    kind = np.repeat(np.arange(len(clusters)), EACH)
    distance = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    same = kind[:, None] == kind[None]
    alone = ~np.eye(len(looks), dtype=bool)
    within, between = distance[same & alone].mean(), distance[~same].mean()
    nearest = np.where(alone, distance, np.inf).argmin(axis=1)
    return {
        "within_over_between": round(float(within / between), 3),
        "nearest_is_kin": round(float((kind[nearest] == kind).mean()), 3),
    }


def _look(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colours as a histogram (4 x 4 x 4), and how rough the picture is at three scales."""
    bins = (picture // 64).reshape(-1, 3) @ np.array([16, 4, 1])
    colours = np.sqrt(np.bincount(bins, minlength=64) / len(bins))
    grey = picture.mean(axis=2)
    rough = [np.abs(np.diff(grey[::step, ::step], axis=1)).mean() / 64 for step in (1, 4, 16)]
    return np.concatenate([colours, rough])


def _effects(draw: np.random.Generator) -> dict[str, float]:
    """How much each dimension, moved by half its range, changes pictures: the least of the 50, and how many do not."""
    bases = draw.random((BASES, LENGTH))
    most = [max(_change(base, dimension) for base in bases) for dimension in range(LENGTH)]
    return {"least_effect": round(min(most), 2), "silent_dimensions": sum(each < EFFECT for each in most)}


def _change(base: NDArray[np.float64], dimension: int) -> float:
    """Mean change of a small picture, in steps of 255."""
    moved = base.copy()
    moved[dimension] = (moved[dimension] + 0.5) % 1.0
    one, other = (paint(_vector(each), 120, 75).astype(int) for each in (base, moved))
    return float(np.abs(one - other).mean())


def _full_size(draw: np.random.Generator) -> float:
    """Seconds of one picture as it would be stored."""
    started = time.monotonic()
    paint(_vector(draw.random(LENGTH)), 1_280, 800)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
