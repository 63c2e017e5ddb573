"""Events as numbers that stand for ids: packed by PostgreSQL, joined and sorted without comparing texts by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.weights import KIND_CODES, KINDS

ORDER = ("user_id", "artwork_id", "at", "kind", "value")  # what a frame of events is sorted by
_YEAR_2000 = 946_684_800_000_000  # PostgreSQL counts microseconds from here
_NUMBERS = {"user": pl.Int32, "artwork": pl.Int32, "kind": pl.UInt8, "value": pl.Float32, "at": pl.Int64}

#: A user, a kind of event, and theirs of it, one after the other.
Packed = tuple[str, str, bytes]
#: An event as it is packed; a value that is NaN is none.
EVENT = np.dtype([("key", ">i4"), ("at", ">i8"), ("value", ">f4")])


@dataclass(frozen=True)
class Numbered:
    """Events of distinct users and artworks; ``rows`` has user and artwork as places in these, kind as its code."""

    user_ids: Sequence[str]
    artwork_ids: Sequence[str]
    rows: pl.DataFrame


def unpack_events(packed: Iterable[Packed], artwork_of: Mapping[int, str]) -> Numbered:
    """What the queries `learn_seen` and `learn_events` pack, as far as ``artwork_of`` has the id of a key."""
    groups = list(packed)
    users = sorted({user for user, *_ in groups})
    place = {user: number for number, user in enumerate(users)}
    lengths = np.array([len(events) // EVENT.itemsize for *_, events in groups], dtype=np.int64)
    events = np.frombuffer(b"".join(events for *_, events in groups), dtype=EVENT)
    keys = events["key"].astype(np.int32)
    places = np.full(max(int(keys.max(initial=0)), *artwork_of, 0) + 1, -1, np.int32)
    places[list(artwork_of)] = np.arange(len(artwork_of))
    rows = {
        "user": np.repeat(np.array([place[user] for user, *_ in groups], dtype=np.int32), lengths),
        "artwork": places[keys],
        "kind": np.repeat(np.array([KIND_CODES[kind] for _, kind, _ in groups], dtype=np.uint8), lengths),
        "value": events["value"].astype(np.float32),
        "at": events["at"].astype(np.int64) + _YEAR_2000,
    }
    frame = pl.DataFrame(rows, schema=_NUMBERS).with_columns(pl.col("value").fill_nan(None))
    return Numbered(users, list(artwork_of.values()), frame.filter(pl.col("artwork") >= 0))


def number_events(frame: pl.DataFrame) -> Numbered:
    """Events that were read as text, with the columns of a frame of events."""
    user_ids, users = number(frame["user_id"])
    artwork_ids, artworks = number(frame["artwork_id"])
    rows = frame.select(
        user=pl.Series(users, dtype=pl.Int32),
        artwork=pl.Series(artworks, dtype=pl.Int32),
        kind=pl.col("kind").to_physical().cast(pl.UInt8),
        value=pl.col("value"),
        at=pl.col("at").dt.epoch("us"),
    )
    return Numbered(user_ids, artwork_ids, rows)


def without(part: Numbered, kind: str, other: Numbered) -> Numbered:
    """The part without its events of a kind that the other knows too, of the same user and artwork."""
    code = KIND_CODES[kind]
    named, known = (_named(each, each.rows["kind"] == code) for each in (part, other))
    told = named.join(known, on=["user_id", "artwork_id"], how="semi")["row"]
    kept = np.ones(part.rows.height, dtype=bool)
    kept[told.to_numpy()] = False
    return Numbered(part.user_ids, part.artwork_ids, part.rows.filter(pl.Series(kept)))


def join_events(parts: Sequence[Numbered]) -> pl.DataFrame:
    """All of them as one frame: user_id, artwork_id, kind, value, at, sorted by ORDER."""
    users, user_places = _merge([part.user_ids for part in parts])
    artworks, artwork_places = _merge([part.artwork_ids for part in parts])
    rows = pl.concat(
        part.rows.with_columns(
            user=pl.Series(of_user[part.rows["user"]], dtype=pl.Int32),
            artwork=pl.Series(of_artwork[part.rows["artwork"]], dtype=pl.Int32),
        )
        for part, of_user, of_artwork in zip(parts, user_places, artwork_places, strict=True)
    )
    pair = pl.col("user").cast(pl.Int64) * len(artworks) + pl.col("artwork")
    rows = rows.sort(pair, "at", "kind", "value")  # one number for two is quicker to compare
    return rows.select(
        user_id=users.gather(rows["user"]),
        artwork_id=artworks.gather(rows["artwork"]),
        kind=pl.Series(KINDS, dtype=pl.Enum(KINDS)).gather(rows["kind"]),
        value=pl.col("value"),
        at=pl.col("at").cast(pl.Datetime("us", "UTC")),
    )


def number(ids: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct ids in order, and the place of each id among them."""
    if ids.is_sorted():  # as users are, everywhere
        frame = ids.rename("id").to_frame().with_columns(run=runs("id"))
        return frame.filter(begins("id"))["id"].to_list(), frame["run"].to_numpy().astype(np.int32)
    distinct = ids.unique().sort()
    return distinct.to_list(), ids.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int32)


def in_order(events: pl.DataFrame) -> pl.DataFrame:
    """The events by user and artwork: the same frame where they are so already, which is quick to see."""
    user, artwork = pl.col("user_id"), pl.col("artwork_id")
    later = (user > user.shift()) | ((user == user.shift()) & (artwork >= artwork.shift()))
    return events if events.select(later.all()).item() else events.sort("user_id", "artwork_id", maintain_order=True)


def runs(*columns: str) -> pl.Expr:
    """A number for each run of equal values, from 0; of a sorted frame: for each distinct value."""
    return (begins(*columns).cum_sum() - 1).cast(pl.UInt32)


def begins(*columns: str) -> pl.Expr:
    """Whether a run of equal values begins in a row."""
    changes = [pl.col(name) != pl.col(name).shift() for name in columns]
    return pl.any_horizontal(changes).fill_null(value=True)


def _named(part: Numbered, chosen: pl.Series) -> pl.DataFrame:
    """The number of each chosen row, and whose and of what it is: row, user_id, artwork_id."""
    rows = part.rows.with_row_index("row").filter(chosen)
    users, artworks = pl.Series(part.user_ids, dtype=pl.String), pl.Series(part.artwork_ids, dtype=pl.String)
    return rows.select("row", user_id=users.gather(rows["user"]), artwork_id=artworks.gather(rows["artwork"]))


def _merge(lists: Sequence[Sequence[str]]) -> tuple[pl.Series, list[NDArray[np.int32]]]:
    """All ids in order, and for each list the places of its own among them."""
    everything = sorted(set().union(*lists))
    place = {each: number for number, each in enumerate(everything)}
    places = [np.array([place[each] for each in ids], dtype=np.int32) for ids in lists]
    return pl.Series(everything, dtype=pl.String), places
