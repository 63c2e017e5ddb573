"""Lists of artworks as rows of small pictures, painted from what the catalogue knows of each: no image is fetched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from features.arrays import Floats, Rows
from features.catalogue import Catalogue
from features.content import WORD_LENGTH
from features.dna import LENGTH, TASTE_LENGTH
from serving.generation.painter import paint, usual_range
from training.plots import ACCENT, FAINT, INK, drawn, headline, main_styles, only_words
from training.variants import SHOWN, Example

SIZE = (96, 64)  # pixels of a picture
SPREAD = 0.22  # of the usual range, that one standard deviation of a pool's looks takes
BEFORE = "liked before"


@drawn
def side_by_side(examples: Sequence[Example], catalogue: Catalogue) -> Figure:
    """What each model would have listed for a user next, under what the user had liked; framed: liked afterwards."""
    if not examples:
        return only_words("Nobody has liked enough before and after the cut for an example")
    names = [BEFORE, *examples[0].lists]
    painted, styles = _genomes(catalogue), main_styles(catalogue)
    rows = len(examples) * len(names)
    figure = Figure(figsize=(10.0, 0.95 * rows + 1.2), layout="constrained")
    hits = {name: sum(len(np.intersect1d(one.lists[name], one.after)) for one in examples) for name in names[1:]}
    best = max(hits, key=lambda name: hits[name])
    title = f"Next lists of {len(examples)}: most that was liked later is on those of {best}, {hits[best]} artworks"
    headline(figure, title, "painted from DNA, or from a style's mean where an artwork has none; framed: liked later")
    panels = figure.subplots(rows, SHOWN, squeeze=False)
    for place, one in enumerate(examples):
        for step, name in enumerate(names):
            line = panels[place * len(names) + step]
            found = one.before if name == BEFORE else one.lists[name]
            _draw_list(line, found, one.after, painted, styles)
            ink = INK if name != BEFORE else FAINT
            label = f"{one.user_id[:12]}\n{name}" if name == BEFORE else name
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, color=ink)
    return figure


def _draw_list(panels: Sequence[Axes], rows: Rows, liked: Rows, painted: Floats, styles: np.ndarray) -> None:
    """One list, its artworks named by their style."""
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, row in zip(panels, rows.tolist(), strict=False):
        axes.imshow(paint(painted[row], *SIZE), aspect="auto", interpolation="bilinear")
        axes.set_title(str(styles[row]), fontsize=6.5, loc="center", color=FAINT, pad=2)
        if row in liked:
            axes.add_patch(Rectangle((0, 0), 1, 1, fill=False, transform=axes.transAxes, color=ACCENT, linewidth=4))


def _genomes(catalogue: Catalogue) -> Floats:
    """Vectors to paint from, shape (n, 50): looks spread over the usual ranges, a style's mean for want of an own."""
    looks = catalogue.vectors[:, WORD_LENGTH:]
    own = looks.any(axis=1)
    apart = looks[own] - looks[own].mean(axis=0) if own.any() else looks[own]
    spread = np.maximum(apart.std(axis=0), 1e-6) if own.any() else np.ones(TASTE_LENGTH)
    shares = np.full((len(looks), LENGTH), 0.5, np.float32)
    shares[own, :TASTE_LENGTH] += SPREAD * apart / spread
    styles = main_styles(catalogue)
    for style in np.unique(styles[~own]):
        kin = own & (styles == style)
        if kin.any():
            shares[~own & (styles == style)] = shares[kin].mean(axis=0)
    low, high = usual_range()
    return np.asarray(low + np.clip(shares, 0.0, 1.0) * (high - low), dtype=np.float32)
