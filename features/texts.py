"""Many texts, and where each of them is, without a Python object for each: a pool of a million has a million ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from features.arrays import Mask, Rows

Hashes = NDArray[np.int64]
Ends = NDArray[np.int64]


class Texts(Sequence[str]):
    """A row of texts, as their UTF-8 in one block: 8 bytes each beside the letters. It never changes."""

    def __init__(self, octets: bytes, ends: Ends) -> None:
        """``ends`` (n + 1,): where each ends in ``octets``, after where the first begins."""
        self.octets = octets
        self.ends = ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """These texts."""
        octets = [text.encode() for text in texts]
        return cls(b"".join(octets), np.cumsum([0, *map(len, octets)], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Sequence[str]]) -> Self:
        """One row of several."""
        read = [part if isinstance(part, Texts) else cls.of(part) for part in parts]
        octets = b"".join(part.octets[part.ends[0] : part.ends[-1]] for part in read)
        lengths = [np.diff(part.ends) for part in read]
        return cls(octets, np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths])))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Texts: ...

    def __getitem__(self, place: int | slice) -> str | Texts:
        if isinstance(place, slice):
            return self._part(place)
        number = range(len(self))[place]
        return self.octets[self.ends[number] : self.ends[number + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        start = int(self.ends[0])
        for end in self.ends[1:]:
            yield self.octets[start:end].decode()
            start = end

    def _part(self, place: slice) -> Texts:
        """Neighbours, which share the block. Raises ValueError for a slice that leaves some out."""
        first, last, step = place.indices(len(self))
        if step != 1:
            raise ValueError("texts are cut out in one piece")
        return Texts(self.octets, self.ends[first : max(first, last) + 1])


@dataclass(frozen=True)
class Places:
    """Which row has a text, by the text's hash: 12 bytes a text, and of two with one hash the first alone."""

    hashes: Hashes  # (n,), rising
    rows: Rows  # (n,)

    @classmethod
    def of(cls, hashes: Hashes) -> Self:
        """The place of each hash (m,) in its row; of equals the first one's."""
        return cls._sorted(hashes, np.arange(len(hashes), dtype=np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Places], starts: Sequence[int]) -> Self:
        """Of several rows, of which each begins at a place of its own; of equals the first one's."""
        rows = [part.rows + np.int32(start) for part, start in zip(parts, starts, strict=True)]
        return cls._sorted(np.concatenate([part.hashes for part in parts]), np.concatenate(rows))

    @classmethod
    def _sorted(cls, hashes: Hashes, rows: Rows) -> Self:
        """Put them in order and leave further ones of a hash out."""
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        first = np.ones(len(hashes), dtype=bool)
        first[1:] = hashes[1:] != hashes[:-1]
        return cls(hashes[first], rows[order[first]])

    def find(self, hashes: Hashes) -> Rows:
        """The row of each, shape (m,); -1 where there is none."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int32)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[places] == hashes, self.rows[places], np.int32(-1))

    def only(self, wanted: Mask) -> Places:
        """Those alone that are marked, (n,)."""
        return Places(self.hashes[wanted], self.rows[wanted])


def hashes_of(texts: Iterable[str | None]) -> Hashes:
    """A number of each text, the same for as long as the process lives, shape (n,)."""
    return np.fromiter(map(hash, texts), np.int64)


NOWHERE = Places.of(np.zeros(0, np.int64))
