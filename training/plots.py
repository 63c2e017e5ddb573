"""Figures for the notebooks: each function takes what the packages return and gives a matplotlib Figure.

Nothing is read, shown or saved here, and pyplot with its global state is not used. A title says what the data say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from features.content import WORD_LENGTH
from features.coverage import BANDS
from features.dna import DnaKind
from training.intervals import Interval, paired_interval

if TYPE_CHECKING:  # the registry takes seconds to import, and drawing needs none of it
    from features.arrays import Floats
    from features.catalogue import Catalogue
    from training.evaluate import Judged
    from training.tracking import Version

P = ParamSpec("P")
Rows = NDArray[np.intp]

INK, FAINT, PALE, ACCENT = "#2b2b2b", "#8a8a8a", "#d9d9d9", "#d55e00"
CALM = "#4878a8"
#: Colours that people with any colour vision tell apart (Okabe & Ito, 2008).
STYLE_INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MAP_POINTS = 2_000
LEAST_POINTS = 10
BINS = 20  # of coverage
LEAST_USERS = 5  # of a group whose mean is drawn
STRIP_ROWS = 60  # artworks of each population that the DNA figure shows
COPY_CORRELATION = 0.99  # above it two DNA vectors are the same but for their intensity
DNA_PARTS = (("colour", 0, 12), ("texture", 12, 24), ("composition", 24, 34), ("mood", 34, 44))
OWN, COPIED = "a look of its own", "copy of a prototype"
NOTHING_SAID = {DnaKind.STUB: "stub: 50 equal numbers", DnaKind.ABSENT: "absent", DnaKind.BROKEN: "broken"}
METRICS = {  # of a version, and how a panel names it
    "recall_at_20": "recall@20",
    "ndcg_at_20": "NDCG@20",
    "auc_shown": "AUC, 0.5 is chance",
    "coverage_at_20": "share of the pool listed",
    "novelty_at_20": "novelty (bits)",
}
SCALES = {"auc_shown": (0.5, 0.75)}  # what is chance, and what the scale reaches at least, where these are not 0
MOST_VERSIONS = 12
_LOOK: Any = {  # the library types its keys as a long list of literals
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.dpi": 110,
}


def drawn(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with our look, whatever the notebook's own is."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_LOOK):
            return function(*args, **kwargs)

    return wrapped


@drawn
def content_map(catalogue: Catalogue, seed: int = 0) -> Figure:
    """Active artworks (2,000 at most, drawn with the seed) in two dimensions; the six commonest styles in colour.

    t-SNE of the content vectors (van der Maaten & Hinton, JMLR 9, 2008): near means alike, far means nothing.
    """
    rows = _drawn_rows(catalogue, seed)
    if len(rows) < LEAST_POINTS:
        return only_words(f"Too few artworks for a map: {len(rows)} with content, {LEAST_POINTS} are needed")
    styles = main_styles(catalogue)[rows]
    points = _flatten(catalogue.vectors[rows], seed)
    figure, axes = _figure(8.0, 6.4, _map_title(catalogue.vectors[rows], styles), _map_note(catalogue, rows))
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    common = _commonest(styles)
    rest = ~np.isin(styles, common)
    size = float(np.clip(20_000 / len(rows), 10, 40))
    axes.scatter(points[rest, 0], points[rest, 1], s=0.7 * size, color=PALE, linewidths=0)
    for style, ink in zip(common, STYLE_INKS, strict=False):
        _draw_style(axes, points[styles == style], size, style, ink)
    return figure


@drawn
def coverage_histogram(events: pl.DataFrame, catalogue: Catalogue) -> Figure:
    """How much of the active pool each user has seen; ``events`` as `training.dataset.take_snapshot` has them."""
    shares = seen_shares(events, catalogue)
    if len(shares) == 0:
        return only_words("Nobody has seen anything of this pool yet")
    watched = BANDS[-1][0]
    title = (
        f"{int((shares >= watched).sum()):,} of {len(shares):,} users have seen at least {watched:.0%} of the pool; "
        f"the median user {np.median(shares):.0%}"
    )
    figure, axes = _figure(8.0, 4.2, title, f"{catalogue.size:,} active artworks; users who were shown at least one")
    counts, _, bars = axes.hist(shares, bins=np.linspace(0, 1, BINS + 1).tolist(), color=CALM, rwidth=0.92)
    for bar in bars.patches:  # type: ignore[union-attr] # one data set: one container
        if bar.get_x() > watched - 1e-9:
            bar.set_facecolor(ACCENT)
    top = float(np.max(counts)) * 1.15
    if (shares >= watched).any():
        _name_watched(axes, shares[shares >= watched], top)
    for least, label in BANDS:
        axes.axvline(least, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.text(least + 0.004, top, label, rotation=90, va="top", ha="left", fontsize=8, color=FAINT)
    axes.set(xlim=(0, 1), ylim=(0, top), xlabel="coverage: share of the active pool already seen", ylabel="users")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


@drawn
def dna_populations(catalogue: Catalogue) -> Figure:
    """What the stored DNA is worth: a strip of artworks per population beside how many there are of each.

    A vector that another one equals but for its intensity is a copy of a prototype, such as a host makes up when its
    own analysis fails. Alike ones are drawn together; of stubs and broken ones ranking sees nothing.
    """
    found = populations(catalogue)
    total = sum(len(rows) for rows in found.values())
    if total == 0:
        return only_words("The pool is empty")
    title = f"The DNA of {len(found[OWN]) / total:.0%} of the pool tells an artwork from the others"
    note = (
        f"{total:,} active artworks; a line is an artwork, a column one of the 44 dimensions of taste: "
        "orange under, violet over the pool's mean"
    )
    shown = {name: rows for name, rows in found.items() if len(rows)}
    heights = [2.0 if name in {OWN, COPIED} else 0.55 for name in shown]
    figure = Figure(figsize=(8.0, 1.2 + sum(heights)), layout="constrained")
    headline(figure, title, note)
    panels = figure.subplots(len(shown), 2, width_ratios=(3, 1), height_ratios=heights, squeeze=False)
    most = max(len(rows) for rows in shown.values())
    told = catalogue.vectors[np.concatenate([found[OWN], found[COPIED]]), WORD_LENGTH:]
    mean = told.sum(axis=0) / max(len(told), 1)
    for (strip, bar), (name, rows) in zip(panels, shown.items(), strict=True):
        looks = catalogue.vectors[rows[:: max(len(rows) // STRIP_ROWS, 1)][:STRIP_ROWS], WORD_LENGTH:]
        _draw_strip(strip, _alike_together(looks - mean) if name in {OWN, COPIED} else looks, name)
        _draw_count(bar, len(rows), total, most)
    _name_parts(panels[-1][0])
    return figure


@drawn
def model_metrics(versions: Sequence[Version]) -> Figure:
    """Judged versions side by side, newest on top; hollow where a version was judged on other data than the newest."""
    judged = [version for version in versions if METRICS.keys() & version.metrics.keys()][:MOST_VERSIONS]
    if not judged:
        return only_words("No judged version yet: train one")
    names = [name for name in METRICS if any(name in version.metrics for version in judged)]
    note = _metrics_note(judged)
    figure = Figure(figsize=(2.0 * len(names) + 1.6, 1.3 + 0.34 * len(judged)), layout="constrained")
    headline(figure, _metrics_title(judged), note)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        _draw_metric(axes, judged, name)
    panels[0].set_yticks(range(len(judged)), [f"{version.number}  {version.model}" for version in judged])
    panels[0].set_ylim(len(judged) - 0.4, -0.6)
    return figure


@drawn
def compared(judged: Mapping[str, Judged]) -> Figure:
    """Models judged on the same users, the best NDCG on top; lines are 95% intervals over users."""
    told = {name: one for name, one in judged.items() if one.users.height}
    if not told:
        return only_words("Nobody to judge on: no user liked a thing after the cut")
    order = sorted(told, key=lambda name: -told[name].metrics["ndcg_at_20"])
    panels_of = {
        "recall": "recall@20",
        "ndcg": "NDCG@20",
        "hit_rate": "share of users with a hit",
        "diversity": "diversity",
    }
    panels_of = {
        name: label for name, label in panels_of.items() if any(name in one.intervals() for one in told.values())
    }
    figure = Figure(figsize=(2.3 * len(panels_of) + 1.4, 1.4 + 0.36 * len(order)), layout="constrained")
    headline(
        figure,
        _compared_title(told, order),
        f"{told[order[0]].users.height:,} users; 95% bootstrap intervals over users",
    )
    panels = figure.subplots(1, len(panels_of), sharey=True, squeeze=False)[0]
    for axes, (name, label) in zip(panels, panels_of.items(), strict=True):
        for place, model in enumerate(order):
            _draw_interval(axes, told[model].intervals().get(name), place, ACCENT if place == 0 else CALM)
        axes.set_title(label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=PALE, linewidth=0.6)
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    return figure


@drawn
def sliced(judged: Mapping[str, Judged], models: Sequence[str]) -> Figure:
    """Recall by group of users and of artworks, one colour a model (six at most), with 95% intervals."""
    told = {name: judged[name] for name in models if name in judged and judged[name].slices.height}
    if not told:
        return only_words("Nobody to judge on: no user liked a thing after the cut")
    frames = {
        name: one.slices.filter(pl.col("users") >= LEAST_USERS) for name, one in list(told.items())[: len(STYLE_INKS)]
    }
    first = next(iter(frames.values()))
    if first.is_empty():
        return only_words(f"No group has {LEAST_USERS} users to judge")
    groups = list(zip(first["slice"], first["group"], first["users"], strict=True))
    figure, axes = _figure(
        8.0,
        1.4 + 0.5 * len(groups),
        _sliced_title(frames),
        f"95% bootstrap intervals; n: users; groups of fewer than {LEAST_USERS} are left out",
    )
    step = 0.7 / len(frames)
    for place, (model, ink) in enumerate(zip(frames, STYLE_INKS, strict=False)):
        slices = frames[model]
        at = np.arange(slices.height) - 0.35 + (place + 0.5) * step
        means = slices["recall"].to_numpy()
        reach = np.abs(np.vstack([means - slices["recall_low"].to_numpy(), slices["recall_high"].to_numpy() - means]))
        axes.errorbar(means, at, xerr=reach, fmt="o", color=ink, markersize=5, elinewidth=1.6, label=model)
    for place, (before, (after, _, _)) in enumerate(zip([g[0] for g in groups], groups[1:], strict=False)):
        if before != after:
            axes.axhline(place + 0.5, color=FAINT, linewidth=0.8)
    axes.set_yticks(range(len(groups)), [_group_name(*each) for each in groups])
    axes.set(ylim=(len(groups) - 0.5, -0.5), xlabel="recall@20")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, loc="best", fontsize=9)
    return figure


def seen_shares(events: pl.DataFrame, catalogue: Catalogue) -> NDArray[np.float64]:
    """The coverage of every user who has seen something of the active pool, shape (users,), within 0 and 1."""
    active = [catalogue.ids[row] for row in np.flatnonzero(catalogue.active).tolist()]
    seen = events.filter(pl.col("artwork_id").is_in(active)).group_by("user_id").agg(pl.col("artwork_id").n_unique())
    return seen["artwork_id"].to_numpy() / max(catalogue.size, 1)


def populations(catalogue: Catalogue) -> dict[str, Rows]:
    """Rows of the active artworks by what their DNA is worth."""
    active = np.flatnonzero(catalogue.active)
    kinds = catalogue.dna_kinds[active]
    real = active[kinds == DnaKind.REAL]
    copied = _has_copy(catalogue.vectors[real, WORD_LENGTH:])
    return {
        OWN: real[~copied],
        COPIED: real[copied],
        **{name: active[kinds == kind] for kind, name in NOTHING_SAID.items()},
    }


def _has_copy(looks: Floats) -> NDArray[np.bool_]:
    """Which looks (n, 44) correlate fully with another one, shape (n,); by blocks, for a large pool.

    A correlation over the dimensions does not heed a factor and an offset, which is what intensity and centring are.
    """
    centred = looks - looks.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    found = np.zeros(len(unit), dtype=bool)
    for start in range(0, len(unit), MAP_POINTS):
        correlations = unit[start : start + MAP_POINTS] @ unit.T
        found[start : start + MAP_POINTS] = (correlations > COPY_CORRELATION).sum(axis=1) > 1  # itself is one
    return found


def _alike_together(looks: Floats) -> Floats:
    """The rows in the order of their direction in the plane of the two main components."""
    if len(looks) < LEAST_POINTS:
        return looks
    main = looks @ np.linalg.svd(looks, full_matrices=False)[2][:2].T
    return looks[np.argsort(np.arctan2(main[:, 1], main[:, 0]))]


def _drawn_rows(catalogue: Catalogue, seed: int) -> Rows:
    """Rows of active artworks that have content, a sample where there are many."""
    rows = np.flatnonzero(catalogue.active & catalogue.vectors.any(axis=1))
    if len(rows) <= MAP_POINTS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MAP_POINTS, replace=False))


def main_styles(catalogue: Catalogue) -> NDArray[np.str_]:
    """The commonest style of each artwork, shape (n,); empty where it has none."""
    longest = max(map(len, catalogue.style_rows), default=1)
    main = np.full(len(catalogue.keys), "", dtype=f"<U{longest}")
    for style, rows in sorted(catalogue.style_rows.items(), key=lambda entry: (len(entry[1]), entry[0])):
        main[rows] = style  # the commonest comes last and stays
    return main


def _commonest(styles: NDArray[np.str_]) -> list[str]:
    """The styles that get a colour, commonest first."""
    names, counts = np.unique(styles[styles != ""], return_counts=True)
    return [str(name) for name in names[np.argsort(-counts, kind="stable")][: len(STYLE_INKS)]]


def _flatten(vectors: Floats, seed: int) -> Floats:
    """Two dimensions that keep neighbours together, shape (n, 2)."""
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with threadpool_limits(1, "blas"):
        model = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=seed)
        return np.asarray(model.fit_transform(vectors), dtype=np.float32)


def _map_title(vectors: Floats, styles: NDArray[np.str_]) -> str:
    """How often the nearest artwork, by content and not on the paper, is of the same style."""
    told = styles != ""
    if told.sum() < LEAST_POINTS:
        return "The pool by content; its artworks carry no styles"
    cosines = vectors[told] @ vectors[told].T
    np.fill_diagonal(cosines, -np.inf)
    agreement = float((styles[told][cosines.argmax(axis=1)] == styles[told]).mean())
    _, counts = np.unique(styles[told], return_counts=True)
    chance = float((counts * (counts - 1)).sum() / (told.sum() * (told.sum() - 1)))
    return f"The nearest neighbour by content is of the same style in {agreement:.0%} of cases (by chance {chance:.0%})"


def _map_note(catalogue: Catalogue, rows: Rows) -> str:
    """What is drawn."""
    return f"{len(rows):,} of {catalogue.size:,} active artworks, t-SNE of the content vectors; grey: rarer styles"


def _draw_style(axes: Axes, points: Floats, size: float, style: str, ink: str) -> None:
    """One style's points, named where they are densest."""
    axes.scatter(points[:, 0], points[:, 1], s=size, color=ink, alpha=0.85, linewidths=0)
    x, y = points[np.linalg.norm(points[:, None] - points[None], axis=2).mean(axis=1).argmin()]
    halo = [patheffects.withStroke(linewidth=3, foreground="white")]
    axes.text(float(x), float(y), style, color=ink, weight="bold", ha="center", va="center", path_effects=halo)


def _name_watched(axes: Axes, shares: NDArray[np.float64], top: float) -> None:
    """How many users are near the end of the pool, above their bars, which may be too low to see."""
    middle = min(np.floor(shares.mean() * BINS), BINS - 1) / BINS + 0.5 / BINS
    axes.text(float(middle), top * 0.03, f"{len(shares):,}", ha="center", color=ACCENT, weight="bold")


def _draw_strip(axes: Axes, looks: Floats, name: str) -> None:
    """One line per artwork, one column per dimension."""
    widest = max(float(np.abs(looks).max(initial=0.0)), 1e-9)
    axes.imshow(looks, cmap="PuOr", vmin=-widest, vmax=widest, aspect="auto", interpolation="nearest")
    for _, start, _ in DNA_PARTS[1:]:
        axes.axvline(start - 0.5, color="white", linewidth=2)
    axes.set_title(name)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_count(axes: Axes, count: int, total: int, most: int) -> None:
    """How many artworks a population has."""
    axes.barh(0, count, height=0.5, color=CALM)
    axes.text(count, 0, f"  {count:,} ({count / total:.0%})", va="center", fontsize=9)
    axes.set(xlim=(0, most * 1.9), ylim=(-0.7, 0.7))
    axes.set_axis_off()


def _name_parts(axes: Axes) -> None:
    """The parts of the DNA under the last strip."""
    middles = [(start + end - 1) / 2 for _, start, end in DNA_PARTS]
    axes.set_xticks(middles, [name for name, _, _ in DNA_PARTS])
    axes.tick_params(length=0)


def _draw_metric(axes: Axes, judged: Sequence[Version], name: str) -> None:
    """One metric of every version, with its number, as its distance from chance."""
    chance, least = SCALES.get(name, (0.0, 0.0))
    axes.axvline(chance, color=FAINT, linewidth=0.8)
    for place, version in enumerate(judged):
        value = version.metrics.get(name)
        if value is None:
            continue
        ink = ACCENT if "champion" in version.aliases else CALM
        fill = ink if _data_of(version) == _data_of(judged[0]) else "white"
        axes.plot([chance, value], [place, place], color=PALE, linewidth=2, zorder=1)
        axes.plot(value, place, "o", color=ink, markerfacecolor=fill, markersize=7)
        axes.annotate(f"{value:.3g}", (value, place), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_title(METRICS[name])
    values = [version.metrics[name] for version in judged if name in version.metrics]
    left, right = min(chance, *values), max(least, *values)
    axes.set_xlim(left - 0.02 * (right - left), right + 0.6 * max(right - left, 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _metrics_title(judged: Sequence[Version]) -> str:
    """Which version finds most of what users went on to like, among those judged on the newest's data."""
    alike = [version for version in judged if _data_of(version) == _data_of(judged[0])]
    told = sorted((v for v in alike if "recall_at_20" in v.metrics), key=lambda v: -v.metrics["recall_at_20"])
    if not told:
        return f"{len(judged)} judged versions"
    best = f"Version {told[0].number} ({told[0].model}) has the best recall"
    if len(told) == 1:
        return best
    most, least = (version.metrics["recall_at_20"] for version in (told[0], told[-1]))
    return f"{best}: {most:.3g}, against {least:.3g} of version {told[-1].number} ({told[-1].model})"


def _metrics_note(judged: Sequence[Version]) -> str:
    """How the newest version was judged, and the legend."""
    newest = judged[0]
    users = f"{newest.metrics['users_judged']:,.0f} users, " if "users_judged" in newest.metrics else ""
    split = f"{newest.tags['split']} split; " if "split" in newest.tags else ""
    return f"{users}{split}orange: champion; hollow: judged on other data than the newest, not to be compared"


def _data_of(version: Version) -> tuple[str | None, str | None]:
    """What a version was judged on."""
    return version.tags.get("snapshot"), version.tags.get("split")


def _draw_interval(axes: Axes, found: Interval | None, place: int, ink: str) -> None:
    """One mean with its interval and its number."""
    if found is None:
        return
    axes.plot([found.low, found.high], [place, place], color=ink, linewidth=2, alpha=0.5, solid_capstyle="round")
    axes.plot(found.mean, place, "o", color=ink, markersize=6)
    axes.annotate(f"{found.mean:.3f}", (found.high, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.margins(x=0.3)


def _compared_title(told: Mapping[str, Judged], order: Sequence[str]) -> str:
    """Whether the first is surely before the second."""
    if len(order) == 1:
        return f"{order[0]}, judged alone"
    one, other = (told[name].users["ndcg"].to_numpy() for name in order[:2])
    if np.array_equal(one, other):
        return f"{order[0]} and {order[1]} do equally well, user by user"
    if paired_interval(one, other).tells:
        return f"{order[0]} is surely better than {order[1]}, the next"
    return f"{order[0]} is ahead of {order[1]}, but not surely better"


def _sliced_title(told: Mapping[str, pl.DataFrame]) -> str:
    """Which model serves those best of whom least is known."""
    rows = {name: one.filter(slice="users").head(1) for name, one in told.items()}
    rows = {name: row for name, row in rows.items() if row.height}
    if not rows:
        return "Recall by group"
    best = max(rows, key=lambda name: float(rows[name]["recall"].item()))
    return f"Who is served well: of users who are {rows[best]['group'].item()}, {best} finds most"


def _group_name(name: str, group: str, users: int) -> str:
    """A group's label."""
    told = {"coverage": f"seen {group} of the pool", "artworks": f"{group} artworks"}.get(name, group)
    return f"{told} (n {users:,})"


def _figure(width: float, height: float, title: str, note: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes under its headline; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    headline(figure, title, note)
    return figure, figure.subplots()


def headline(figure: Figure, title: str, note: str) -> None:
    """The finding, and under it what the figure is made from."""
    figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=FAINT)


def only_words(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(6.0, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=FAINT)
    return figure
