"""Coverage, pure arithmetic: how much of the pool a user has seen, and how long the rest will last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Band = Literal["ok", "watch", "high", "critical"]

#: Labels for people, highest first; what triggers generation is need, not a percentage.
BANDS: tuple[tuple[float, Band], ...] = ((0.95, "critical"), (0.90, "high"), (0.85, "watch"))


@dataclass(frozen=True)
class Coverage:
    """A user's coverage of the eligible pool."""

    eligible: int
    seen: int
    leased: int  # unseen, on lease to any session of the user
    seconds_per_artwork: float

    @property
    def coverage(self) -> float | None:
        """Seen share of the eligible pool, 0 to 1; None, not 0, for an empty pool."""
        return self.seen / self.eligible if self.eligible else None

    @property
    def unseen(self) -> int:
        """Eligible artworks not seen, leased ones included: the user still has them to see."""
        return self.eligible - self.seen

    @property
    def minutes(self) -> float:
        """How long the unseen ones last, in minutes, at the display's pace."""
        return self.unseen * self.seconds_per_artwork / 60

    @property
    def band(self) -> Band | None:
        """A label for people: ok, watch, high, critical; None for an empty pool."""
        if self.coverage is None:
            return None
        return next((label for least, label in BANDS if self.coverage >= least), "ok")
