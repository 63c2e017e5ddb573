"""What a row of an import must hold: values checked and turned into ours, or refused with a reason.

Pure: no file, no database. Every refusal names the field and the rule.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from features.dna import DnaKind, read_dna
from training.import_readers import Layout

LONGEST_ID = 255
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
WEIGHT_RANGE = (1e-9, 1e9)  # what the column's single precision holds with ease
BEST_RATING = 5.0
HIGHEST_QUALITY = 100.0
ORIENTATIONS = ("portrait", "landscape", "square")

#: Numbers above this are milliseconds: as seconds it is the year 5138, as milliseconds 1973.
_MILLISECONDS_FROM = 1e11

INTERACTIONS = Layout(
    aliases={
        "user": ("user_id", "userid", "uid"),
        "item": ("item_id", "itemid", "artwork", "artwork_id", "artworkid"),
        "rating": ("score", "stars"),
        "weight": ("count", "plays", "strength"),
        "timestamp": ("ts", "time", "at", "date", "datetime", "unix_timestamp", "shown_at", "viewed_at"),
    },
    required=("user", "item"),
    headerless=("user", "item", "weight"),
    exclusive=("rating", "weight"),
)
ARTWORKS = Layout(
    aliases={
        "id": ("artwork_id", "artworkid"),
        "image_url": ("imageurl", "url"),
        "prompt": (),
        "styles": ("style",),
        "dna": ("dna_vector", "dnavector"),
        "artists": ("artist",),
        "motifs": ("motif",),
        "orientation": (),
        "quality_score": ("qualityscore", "quality"),
        "created_at": ("createdat",),
    },
    required=("id", "image_url", "prompt"),
    lines_per_row=100,
)


class RefusedError(Exception):
    """A row is not taken; the message is the reason."""


class Interaction(NamedTuple):
    """One interaction, ready to store; ``value`` is a like's strength, ``at`` None without a timestamp."""

    user_id: str
    artwork_id: str
    kind: str
    value: float | None
    at: datetime | None


class Artwork(NamedTuple):
    """One artwork, ready to store; ``dna`` is the text as given, broken or not."""

    artwork_id: str
    image_url: str
    prompt: str
    dna: str | None
    styles: list[str]
    artists: list[str]
    motifs: list[str]
    orientation: str | None
    quality: float | None
    created_at: datetime | None


def read_interaction(values: Mapping[str, Any], *, like_from: float, latest: datetime) -> Interaction:
    """The interaction of one row; raises RefusedError.

    A weight makes a like of that strength; a rating a like of strength rating / 5 (1 at most) from ``like_from``
    on, below it a dislike; a row with neither is a display.
    """
    user_id, artwork_id = _identifier(values, "user"), _identifier(values, "item")
    at = _moment(values, "timestamp", latest)
    weight, rating = _number(values, "weight"), _number(values, "rating")
    if weight is not None:
        if not WEIGHT_RANGE[0] <= weight <= WEIGHT_RANGE[1]:
            raise RefusedError(f"weight must be above 0 and at most {WEIGHT_RANGE[1]:g}, not {weight:g}")
        return Interaction(user_id, artwork_id, "like", weight, at)
    if rating is None:
        return Interaction(user_id, artwork_id, "displayed", None, at)
    if rating < like_from:
        return Interaction(user_id, artwork_id, "dislike", None, at)
    return Interaction(user_id, artwork_id, "like", min(rating / BEST_RATING, 1.0), at)


def read_artwork(values: Mapping[str, Any], *, latest: datetime) -> Artwork:
    """The artwork of one row; raises RefusedError."""
    quality = _number(values, "quality_score")
    if quality is not None and quality > HIGHEST_QUALITY:
        raise RefusedError(f"quality_score must be within 0 and {HIGHEST_QUALITY:g}, not {quality:g}")
    return Artwork(
        artwork_id=_identifier(values, "id"),
        image_url=_image_url(values),
        prompt=_prompt(values),
        dna=_dna(values),
        styles=_texts(values, "styles"),
        artists=_texts(values, "artists"),
        motifs=_texts(values, "motifs"),
        orientation=_orientation(values),
        quality=quality,
        created_at=_moment(values, "created_at", latest),
    )


def is_broken_dna(artwork: Artwork) -> bool:
    """Whether a DNA vector is given that says nothing because it is broken."""
    return artwork.dna is not None and read_dna(artwork.dna)[0] is DnaKind.BROKEN


def _identifier(values: Mapping[str, Any], field: str) -> str:
    """An id as text without surrounding blanks; whole numbers count as text."""
    value = values.get(field)
    if not isinstance(value, str):
        value = _whole(value, field)
    text = value.strip()
    if not text:
        raise RefusedError(f"{field} is empty")
    if len(text) > LONGEST_ID:
        raise RefusedError(f"{field} is longer than {LONGEST_ID} characters")
    return _storable(text, field)


def _whole(value: Any, field: str) -> str:
    """A whole number as text (Parquet and pandas make 7.0 of 7); empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise RefusedError(f"{field} must be a text or a whole number, not {_short(value)}")
    return str(int(value))


def _storable(text: str, field: str) -> str:
    """The text itself when PostgreSQL can hold it."""
    if "\0" in text:
        raise RefusedError(f"{field} holds a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RefusedError(f"{field} is not valid Unicode") from error
    return text


def _number(values: Mapping[str, Any], field: str) -> float | None:
    """A finite number of 0 or more; None when absent or empty."""
    value = values.get(field)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise RefusedError(f"{field} must be a number of 0 or more, not {_short(value)}")
    return number


def _moment(values: Mapping[str, Any], field: str, latest: datetime) -> datetime | None:
    """A moment between 1990 and ``latest``, in UTC where no zone is named; None when absent or empty."""
    value = values.get(field)
    if value is None or value == "":
        return None
    try:
        moment = _to_moment(value)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        rule = f"{field} must be seconds or milliseconds since 1970, or an ISO date, not {_short(value)}"
        raise RefusedError(rule) from error
    if moment < EARLIEST:
        raise RefusedError(f"{field} is before 1990: {_short(value)}")
    if moment > latest:
        raise RefusedError(f"{field} is in the future: {_short(value)}")
    return moment


def _to_moment(value: Any) -> datetime:
    """A datetime, date, epoch number or text as a moment."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, bool):
        raise TypeError
    try:
        seconds = float(value)
    except ValueError:
        return _to_moment(datetime.fromisoformat(value.strip()))
    if abs(seconds) >= _MILLISECONDS_FROM:
        seconds /= 1000
    return datetime.fromtimestamp(seconds, UTC)


def _image_url(values: Mapping[str, Any]) -> str:
    """A URL that the client accepts: a path or http(s), and none with 'placeholder' in it."""
    value = values.get("image_url")
    if not isinstance(value, str) or not value.strip():
        raise RefusedError("image_url is empty")
    url = _storable(value.strip(), "image_url")
    if not url.startswith(("/", "http://", "https://")):
        raise RefusedError(f"image_url must begin with / or http:// or https://, not {_short(url)}")
    if "placeholder" in url.lower():
        raise RefusedError("image_url must not contain 'placeholder'")
    return url


def _prompt(values: Mapping[str, Any]) -> str:
    """The prompt exactly as given, since votes join on it."""
    value = values.get("prompt")
    if not isinstance(value, str) or not value.strip():
        raise RefusedError("prompt is empty")
    return _storable(value, "prompt")


def _dna(values: Mapping[str, Any]) -> str | None:
    """The DNA's text as given, however broken; a list becomes JSON; None when absent or empty."""
    value = values.get("dna")
    if value is None or value == "":
        return None
    return _storable(value if isinstance(value, str) else json.dumps(value, default=str), "dna")


def _texts(values: Mapping[str, Any], field: str) -> list[str]:
    """Distinct texts of a list, of JSON text, or of text separated by commas, pipes or semicolons."""
    value = values.get(field)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = _split(value, field)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RefusedError(f"{field} must be a list of texts, not {_short(value)}")
    parts = (_storable(part.strip(), field) for part in value)
    return list(dict.fromkeys(part for part in parts if part))


def _split(text: str, field: str) -> Any:
    """The parts of a JSON list or of separated text."""
    if not text.lstrip().startswith("["):
        return re.split(r"[,|;]", text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{field} is not JSON: {_short(text)}") from error


def _orientation(values: Mapping[str, Any]) -> str | None:
    """One of ORIENTATIONS; None for 'any', absent and empty, which fit every display."""
    value = values.get("orientation")
    text = value.strip().lower() if isinstance(value, str) else value
    if text is None or text in ("", "any"):
        return None
    if text not in ORIENTATIONS:
        raise RefusedError(f"orientation must be one of {', '.join(ORIENTATIONS)} or any, not {_short(value)}")
    return str(text)


def _short(value: Any) -> str:
    """The value as it was found, cut to fit a line."""
    return repr(value)[:60]
