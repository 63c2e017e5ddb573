"""The arithmetic of prefetch plans: probabilities, where a plan is cut, and the smooth order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.arrays import Floats
from features.settings import Settings
from serving.prefetch import THRESHOLDS, WINDOW, Network, Planned, Size, plan, rank_traded, shown_probabilities, smooth

SETTINGS = Settings()
NETWORKS = st.sampled_from(list(THRESHOLDS))
POSITIVE = st.floats(0.05, 50)


@st.composite
def vectors(draw: st.DrawFn, most: int = 40) -> Floats:
    """Content vectors as the catalogue has them: of unit length, or zeros where nothing is known."""
    shape = (draw(st.integers(0, most)), draw(st.integers(1, 6)))
    raw = draw(arrays.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    return np.asarray(np.divide(raw, lengths, out=np.zeros_like(raw), where=lengths > 1e-3), np.float32)


UNKNOWN: Size = (None, None)


def planned(
    sizes: list[Size],
    network: Network = "4g",
    *,
    shown: int = 0,
    save_data: bool = False,
    byte_budget: int | None = None,
) -> list[Planned]:
    """The plan with the default settings."""
    return plan(sizes, shown, SETTINGS, network=network, save_data=save_data, byte_budget=byte_budget)


class TestProbabilities:
    """P(at least j more displays | n so far), beta-geometric."""

    @given(shown=st.integers(0, 500), count=st.integers(1, 60), alpha=POSITIVE, beta=POSITIVE)
    def test_they_are_the_formula_s(self, shown: int, count: int, alpha: float, beta: float) -> None:
        """Gamma functions as they are written down, n = displays so far and the one on show."""
        found = shown_probabilities(shown, count, alpha, beta)
        n = shown + 1
        for j in range(1, count + 1):
            expected = (
                math.lgamma(beta + n - 1 + j)
                + math.lgamma(alpha + beta + n - 1)
                - math.lgamma(beta + n - 1)
                - math.lgamma(alpha + beta + n - 1 + j)
            )
            assert found[j - 1] == pytest.approx(math.exp(expected), rel=1e-6)

    @given(shown=st.integers(0, 200), alpha=POSITIVE, beta=POSITIVE)
    def test_they_are_products_of_the_hazards(self, shown: int, alpha: float, beta: float) -> None:
        """Going on once more after m displays has the probability (beta + m - 1) / (alpha + beta + m - 1)."""
        found = shown_probabilities(shown, 20, alpha, beta)
        after = np.arange(shown + 1, shown + 21)
        going_on = (beta + after - 1) / (alpha + beta + after - 1)
        assert found == pytest.approx(np.cumprod(going_on), rel=1e-6)

    @given(shown=st.integers(0, 500), count=st.integers(2, 60), alpha=POSITIVE, beta=POSITIVE)
    def test_they_are_probabilities_and_fall(self, shown: int, count: int, alpha: float, beta: float) -> None:
        """Later is never more probable."""
        found = shown_probabilities(shown, count, alpha, beta)
        assert found.shape == (count,)
        assert ((found > 0) & (found < 1)).all()
        assert (np.diff(found) < 0).all()

    @given(shown=st.integers(0, 300), count=st.integers(1, 60))
    def test_who_has_stayed_stays(self, shown: int, count: int) -> None:
        """With the default prior each display makes the next ones more probable."""
        prior = (SETTINGS.session_alpha, SETTINGS.session_beta)
        assert (shown_probabilities(shown + 1, count, *prior) > shown_probabilities(shown, count, *prior)).all()

    def test_they_are_what_simulated_sessions_do(self) -> None:
        """A hundred thousand lengths drawn from the prior: beta chances of stopping, geometric lengths."""
        rng = np.random.default_rng(11)
        lengths = rng.geometric(rng.beta(SETTINGS.session_alpha, SETTINGS.session_beta, 100_000))
        for shown in (0, 5):
            still_here = lengths >= shown + 1
            seen = [(lengths[still_here] >= shown + 1 + j).mean() for j in (1, 5, 10, 20)]
            expected = shown_probabilities(shown, 20, SETTINGS.session_alpha, SETTINGS.session_beta)[[0, 4, 9, 19]]
            assert seen == pytest.approx(expected, abs=0.01)


class TestCut:
    """Where a plan ends."""

    @given(count=st.integers(0, 60), shown=st.integers(0, 100), network=NETWORKS)
    def test_by_the_network_s_threshold(self, count: int, shown: int, network: Network) -> None:
        """All that is as probable as the threshold and nothing else, in the order of the list."""
        found = planned([UNKNOWN] * count, network, shown=shown)
        chances = shown_probabilities(shown, max(count, 1), SETTINGS.session_alpha, SETTINGS.session_beta)[:count]
        assert len(found) == int((chances >= THRESHOLDS[network]).sum())
        assert [part.place for part in found] == list(range(len(found)))
        assert [part.p_shown for part in found] == chances[: len(found)].tolist()

    def test_the_thresholds_are_those_of_the_definitions(self) -> None:
        """Higher where bytes are dearer."""
        assert THRESHOLDS == {"4g": 0.15, "3g": 0.30, "2g": 0.45, "slow-2g": 0.60}

    @given(
        sizes=st.lists(st.tuples(st.integers(1, 4_000), st.integers(1, 4_000)), max_size=30),
        budget=st.integers(0, 5_000_000),
        network=NETWORKS,
    )
    def test_by_the_byte_budget(self, sizes: list[Size], budget: int, network: Network) -> None:
        """The plan fits, and the next one would not have, or was too improbable; nothing is skipped."""
        without, within = planned(sizes, network), planned(sizes, network, byte_budget=budget)
        assert within == without[: len(within)]
        assert sum(part.bytes for part in within) <= budget
        if len(within) < len(without):
            assert sum(part.bytes for part in without[: len(within) + 1]) > budget

    @given(count=st.integers(0, 30), network=NETWORKS)
    def test_after_the_next_one_for_who_saves_data(self, count: int, network: Network) -> None:
        """Or before it, where there is none."""
        assert len(planned([UNKNOWN] * count, network, save_data=True)) == min(count, 1)

    @pytest.mark.parametrize(
        ("pixels", "size"),
        [
            ((1_000, 500), 100_000),
            ((1_000, None), SETTINGS.artwork_bytes),
            ((None, 500), SETTINGS.artwork_bytes),
            ((0, 500), SETTINGS.artwork_bytes),
        ],
    )
    def test_an_image_is_as_large_as_its_sides_say(self, pixels: Size, size: int) -> None:
        """A fifth of a byte per pixel, or the usual size where the host does not tell both."""
        assert [part.bytes for part in planned([pixels])] == [size]


class TestSmooth:
    """Neighbours alike, ranks nearly kept."""

    @given(vectors())
    def test_it_is_a_permutation(self, given_vectors: Floats) -> None:
        """Nothing is lost, nothing comes twice."""
        assert sorted(smooth(given_vectors).tolist()) == list(range(len(given_vectors)))

    @given(vectors())
    def test_nothing_comes_more_than_the_window_later_than_its_rank(self, given_vectors: Floats) -> None:
        """So a good artwork is never pushed to the end; nor does one come earlier than the window allows."""
        late = np.arange(len(given_vectors)) - smooth(given_vectors)
        assert late.max(initial=0) <= WINDOW
        assert late.min(initial=0) > -WINDOW

    @given(vectors())
    def test_the_best_stays_first(self, given_vectors: Floats) -> None:
        """Smoothness begins with it."""
        assume(len(given_vectors))
        assert smooth(given_vectors)[0] == 0

    @given(vectors())
    def test_equal_content_keeps_the_order_of_rank(self, given_vectors: Floats) -> None:
        """There is nothing to be gained."""
        same = np.broadcast_to(given_vectors[:1], given_vectors.shape) if len(given_vectors) else given_vectors
        assert smooth(same).tolist() == list(range(len(same)))
        assert rank_traded(smooth(same)) == 0.0

    @given(vectors())
    def test_the_ranks_traded_are_the_mean_distance_to_pure_rank(self, given_vectors: Floats) -> None:
        """0 for nothing at all."""
        order = smooth(given_vectors).tolist()
        distances = [abs(rank - place) for place, rank in enumerate(order)]
        assert rank_traded(smooth(given_vectors)) == pytest.approx(sum(distances) / max(len(order), 1))
        assert rank_traded(smooth(given_vectors)) < WINDOW

    def test_it_is_smoother_than_rank(self) -> None:
        """Random artworks of a hundred lists: neighbours are clearly more alike, for less than two ranks each."""
        rng = np.random.default_rng(3)
        gained, traded = [], []
        for _ in range(100):
            raw = rng.normal(size=(20, 8)).astype(np.float32)
            some = raw / np.linalg.norm(raw, axis=1, keepdims=True)
            order = smooth(some)
            gained.append(_alike(some[order]) - _alike(some))
            traded.append(rank_traded(order))
        assert np.mean(gained) > 0.2
        assert np.mean(traded) < 2.0


def _alike(some: Floats) -> float:
    """The mean cosine of neighbours."""
    return float(np.mean([one @ other for one, other in pairwise(some)]))
