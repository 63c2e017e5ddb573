"""Reports on logged experiments: what was planted is found, what was not is not, and a broken log is called one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from features.database import make_pool
from features.errors import ExperimentConflictError, UnknownExperimentError
from features.settings import Settings
from serving.experiments.assignment import arm_of
from serving.experiments.definitions import Definition
from serving.experiments.registry import Registry
from tests.experiment_log import DAYS_AGO, SHOWN, USERS, Liking, Lived, write_log
from tests.experiments import ARMS
from tests.host import Host
from training.cli import app
from training.experiments.reading import read_exposed
from training.experiments.report import Report, make_report

Log = Callable[..., Definition]


@pytest.fixture
def log(connection: psycopg.Connection) -> Log:
    """Writes what an experiment would have left: lists, displays, likes of a month."""

    def written(likes: tuple[float, ...] | Liking, *, fields: dict[str, Any] | None = None, **lived: Any) -> Definition:
        return write_log(connection, Lived(likes, fields=fields or {}, **lived))

    return written


def reported(connection: psycopg.Connection) -> Report:
    """The report on it."""
    return make_report(read_exposed(connection, "logged"))


def test_a_planted_difference_is_found_with_its_size(log: Log, connection: psycopg.Connection) -> None:
    """The interval holds the truth, CUPED's is the narrower, and the users are those of the hash."""
    made = log((0.20, 0.28))
    found = reported(connection)
    expected = [sum(arm_of(made, f"user-{number}").name == arm.name for number in range(USERS)) for arm in made.arms]
    assert list(found.counts.values()) == expected
    (compared,) = found.primary
    assert compared.estimate.low < 0.08 < compared.estimate.high
    assert compared.estimate.high - compared.estimate.low < compared.plain.high - compared.plain.low
    assert found.verdict.startswith("varied is better: likes per artwork shown +")
    assert not any(each.harmed for each in found.guardrails)


def test_where_nothing_was_planted_nothing_is_found(log: Log, connection: psycopg.Connection) -> None:
    """And it says what would have been."""
    log((0.2, 0.2))
    assert reported(connection).verdict == "No difference was found; 30% would have been with a chance of 90%."


def test_before_the_horizon_nothing_is_decided(log: Log, connection: psycopg.Connection) -> None:
    """However large the difference looks."""
    log((0.2, 0.4), ago=9)
    assert reported(connection).verdict == "It is at day 9.0 of 14: too early to decide."


def test_what_came_after_a_stop_does_not_count(log: Log, connection: psycopg.Connection) -> None:
    """Stopped on the day of the start, two hours before the displays, and archived since."""
    log((0.2, 0.4))
    for state in ("stopped", "archived"):
        at = "now() - make_interval(days => %(ago)s) + interval '90 minutes'" if state == "stopped" else "now()"
        connection.execute(
            "INSERT INTO vernissage.experiment_states (name, version, state, slots, horizon_days, at)"
            f" VALUES ('logged', 1, '{state}', 0, 14, {at})",
            {"ago": DAYS_AGO},
        )
    found = reported(connection)
    assert sum(found.counts.values()) == USERS
    assert found.primary[0].mean == 0
    assert found.verdict == "It was stopped at day 0.1 of 14: too early to decide."


def test_lost_lists_of_one_arm_void_everything(log: Log, connection: psycopg.Connection) -> None:
    """A third of the treated is missing: the sample ratio is wrong, whatever the metric says."""
    log((0.2, 0.4), lost=0.34)
    found = reported(connection)
    assert found.ratio_is_wrong
    assert "believe nothing" in found.verdict


def test_harm_is_said_before_the_horizon(log: Log, connection: psycopg.Connection) -> None:
    """Short lists in one arm."""
    log((0.2, 0.2), short=0.5, ago=9)
    found = reported(connection)
    harmed = [each for each in found.guardrails if each.harmed]
    assert {(each.guardrail, each.arm, each.window_days) for each in harmed} == {
        ("fill_rate", "varied", 1),
        ("fill_rate", "varied", 7),
    }
    assert all(each.low < -0.25 < each.high for each in harmed)
    assert found.verdict == "Harm is certain enough to stop: fill_rate by varied (how full the lists are)."


def test_an_interleaved_experiment_says_which_ranking_users_prefer(log: Log, connection: psycopg.Connection) -> None:
    """By the likes of what each picked: the even keys are the second team's."""
    log((0.15, 0.25), fields={"design": "interleaved"})
    found = reported(connection)
    assert found.counts == {"both": USERS}
    assert found.preference is not None
    assert found.preference.low > 0
    assert found.verdict == "Users prefer varied."


def test_users_are_compared_at_matched_coverage_too(log: Log, connection: psycopg.Connection) -> None:
    """By the tenth of the pool that they had seen; here twelve artworks before, of a pool of none: the last tenth."""
    log((0.2, 0.3))
    (tenth,) = reported(connection).tenths
    assert (tenth.tenth, tenth.arm) == (9, "varied")
    assert tenth.estimate.low < 0.1 < tenth.estimate.high


GUARDED = [
    ("p95_latency", {"slower": 3.0}),
    ("error_rate", {"late": 0.4}),
    ("display_freshness", {"again": 0.5}),
    ("stockout_rate", {"dry": 0.4}),
]


@pytest.mark.parametrize(("guardrail", "lived"), GUARDED)
def test_each_guardrail_is_harmed_by_what_it_guards_and_by_nothing_else(
    log: Log, connection: psycopg.Connection, guardrail: str, lived: dict[str, Any]
) -> None:
    """Slow lists, late models, repeats, an empty pool: the one that was planted, on the first day already."""
    log((0.2, 0.2), **lived, ago=9)
    found = reported(connection)
    harmed = {(each.guardrail, each.window_days) for each in found.guardrails if each.harmed}
    assert harmed == {(guardrail, 1), (guardrail, 7)}
    assert len(found.guardrails) == 12


MADE = """
WITH named AS (
    INSERT INTO vernissage.artwork_keys (artwork_key, artwork_id) OVERRIDING SYSTEM VALUE VALUES (%(key)s, %(id)s)
), ordered AS (
    INSERT INTO vernissage.orders (order_id, epoch, place, dispatcher, user_ids, near, dna, styles, prompt, benefit,
                                   reach, priority, cost, deadline)
    VALUES (gen_random_uuid(), 1, %(key)s, 'local', '{}', 'x', '{}', '{}', 'x', 1, 1, 1, 0.9, now())
    RETURNING order_id
)
INSERT INTO vernissage.order_versions (order_id, version, state, detail)
SELECT order_id, 1, 'delivered', jsonb_build_object('artwork_id', %(id)s::text) FROM ordered
"""


def test_an_orders_price_is_carried_by_all_who_saw_its_artwork(log: Log, connection: psycopg.Connection) -> None:
    """One that all 900 have seen costs each the 900th part; one that nobody has seen costs nobody anything."""
    log((0.2, 0.2))
    for key in (101, 999):
        connection.execute(MADE, {"key": key, "id": f"made-{key}"})
    dollars = read_exposed(connection, "logged").windows[1]["dollars"]
    np.testing.assert_allclose(dollars, 0.001)


def test_an_arm_that_shows_what_was_ordered_for_it_alone_costs_more(log: Log, connection: psycopg.Connection) -> None:
    """It shows twice as many, and the second half was made for it."""
    log((0.2, 0.2), more=2)
    for key in range(101 + SHOWN, 101 + 2 * SHOWN):
        connection.execute(MADE, {"key": key, "id": f"made-{key}"})
    found = reported(connection)
    assert {each.guardrail for each in found.guardrails if each.harmed} == {"cost_per_impression"}


def test_an_effect_of_what_is_new_is_seen_to_fade(log: Log, connection: psycopg.Connection) -> None:
    """Twice as many likes on the first day, and no more than the control's from the second on."""
    log(lambda arm, day, _: 0.4 if arm == 1 and day == 0 else 0.2, visits=(0, 4, 8), users=500)
    found = reported(connection)
    assert [(each.first_day, each.last_day) for each in found.spans] == [(1, 1), (4, 6), (7, 12)]
    assert found.spans[0].estimate.low > 0.1
    assert not found.spans[-1].estimate.tells
    (remark,) = [each for each in found.remarks if "fades" in each]
    assert remark.startswith("varied's effect fades: likes per artwork shown +")
    assert remark.endswith("Part of it was that it was new; trust the later figure.")


@pytest.mark.parametrize(("later", "said"), [(0.3, "No sign that varied's effect changes"), (0.5, "effect grows")])
def test_an_effect_that_lasts_or_grows_is_said_to(
    log: Log, connection: psycopg.Connection, later: float, said: str
) -> None:
    """The first day's is a half more."""
    log(lambda arm, day, _: (later if day else 0.3) if arm == 1 else 0.2, visits=(0, 4, 8), users=500)
    assert any(said in each for each in reported(connection).remarks)


def test_an_arm_that_spends_the_good_artworks_first_is_no_worse_at_matched_coverage(
    log: Log, connection: psycopg.Connection
) -> None:
    """The first twelve please and the others do not; one arm shows twice as many, so that it looks worse."""
    Host(connection).add_artworks(60)
    log(lambda _arm, _day, shown: 0.4 if shown < SHOWN else 0.1, more=2)
    found = reported(connection)
    assert found.primary[0].estimate.high < 0
    assert [each.tenth for each in found.tenths] == [2, 3]
    assert not found.matched[0].estimate.tells
    assert any(each.endswith("Do not act on this yet.") for each in found.remarks)


def test_lists_without_an_arms_model_are_left_out_of_both_arms(log: Log, connection: psycopg.Connection) -> None:
    """The model is away at the second of three visits, when one arm would have liked nothing at all."""
    log(lambda arm, day, _: 0.0 if arm == 1 and day == 2 else 0.2, visits=(0, 2, 4), lacking=(1,), users=500)
    exposed = read_exposed(connection, "logged")
    assert set(exposed.after["displays"]) == {2.0 * SHOWN}
    assert set(exposed.windows[7]["lists"]) == {2.0}
    found = make_report(exposed)
    assert found.verdict.startswith("No difference was found")
    assert found.lacking == {"lists": 500, "users": 500}
    assert any(each.startswith("500 lists of 500 users had to do without") for each in found.remarks)


def test_whoever_met_only_lists_without_a_model_was_not_exposed(log: Log, connection: psycopg.Connection) -> None:
    """Nobody is in the analysis, and it says so."""
    log((0.2, 0.4), lacking=(0,))
    assert reported(connection).verdict == "Nobody has been exposed: there is nothing to say."


def test_three_arms_are_judged_each_and_corrected_together(log: Log, connection: psycopg.Connection) -> None:
    """The second pleases and is slow, the third is as the control: each is said of the one that it is true of."""
    arms = [*ARMS, {"name": "third", "policy": {"variety": 1.0}}]
    log((0.2, 0.3, 0.2), slower=3.0, fields={"arms": arms})
    found = reported(connection)
    varied, third = found.primary
    assert varied.p_value < 0.001 < third.p_value
    assert all(each.p_value >= each.estimate.p_value for each in found.primary)
    assert {(each.guardrail, each.arm) for each in found.guardrails if each.harmed} == {("p95_latency", "varied")}
    assert found.p95_ms["varied"] > 2 * found.p95_ms["control"]
    assert {each.arm for each in found.matched} == {"varied", "third"} == {each.arm for each in found.outlook}


def test_the_power_that_is_left_is_told_before_the_horizon(log: Log, connection: psycopg.Connection) -> None:
    """Users come over nine days of fourteen: more will."""
    log((0.2, 0.2), ago=9, over=9, users=200)
    found = reported(connection)
    (outlook,) = found.outlook
    assert outlook.power < outlook.power_then < 1
    assert 280 < outlook.users_then < 340
    assert any("; in 5 days, with about 3" in each for each in found.remarks)


def test_nobody_and_nothing_are_said_so(connection: psycopg.Connection) -> None:
    """No such experiment is an error; one without users is not."""
    with pytest.raises(UnknownExperimentError):
        read_exposed(connection, "logged")


def test_the_command_prints_tables_and_verdict(
    log: Log, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For people."""
    log((0.2, 0.28))
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["experiment", "report", "logged"])
    assert result.exit_code == 0, result.output
    for words in ("sample ratio as it should be", "with CUPED", "fill_rate", "varied is better"):
        assert words in result.output


class TestStopOnHarm:
    """What looks for harm when nobody does."""

    @pytest.fixture
    def guard(self, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> Callable[[], str]:
        """The command: what it prints."""
        monkeypatch.setenv("VERNISSAGE_DATABASE_URL", database_url)
        monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path))

        def run() -> str:
            result = CliRunner().invoke(app, ["experiment", "guard"], catch_exceptions=False)
            assert result.exit_code == 0
            return result.output

        return run

    def test_a_harmful_one_is_stopped_with_its_reason_and_a_harmless_one_goes_on(
        self, guard: Callable[[], str], connection: psycopg.Connection
    ) -> None:
        """The reason stands in its state and in the audit log; a second look finds nothing left to stop."""
        assert "no experiment runs" in guard()
        asked = {"stop_on_harm": True}
        for name, short in (("harmless", 0.0), ("harmful", 0.5)):
            write_log(connection, Lived((0.2, 0.2), short=short, ago=9, users=600, fields=asked), name)
            connection.execute("DELETE FROM vernissage.events")  # the next one's users are these users again
        said = guard()
        assert "harmless version 1: no harm seen; it goes on" in said
        assert "harmful version 1: Harm is certain enough to stop: fill_rate by varied" in said
        states = "SELECT name, state, reason FROM vernissage.experiments_now ORDER BY name"
        (harmful, harmless) = connection.execute(states).fetchall()
        assert harmful[1] == "stopped"
        assert harmful[2].startswith("Harm is certain enough to stop: fill_rate")
        found = make_report(read_exposed(connection, "harmful"))
        assert found.remarks[0] == f"It was stopped: {harmful[2]}"
        assert harmless[1:] == ("running", None)
        audited = "SELECT actor, subject FROM vernissage.audit_log WHERE action = 'experiment stop'"
        assert connection.execute(audited).fetchall() == [("stop on harm", "harmful")]
        assert "harmful" not in guard()

    def test_harm_without_the_wish_to_be_stopped_is_only_said(
        self, guard: Callable[[], str], log: Log, connection: psycopg.Connection
    ) -> None:
        """As by default."""
        log((0.2, 0.2), short=0.5, ago=9)
        assert "no experiment runs" in guard()
        assert "Harm is certain" in reported(connection).verdict
        assert reported(connection).state == "running"

    def test_a_wrong_sample_ratio_is_harm_too(
        self, guard: Callable[[], str], log: Log, connection: psycopg.Connection
    ) -> None:
        """A third of one arm is lost."""
        log((0.2, 0.2), lost=0.34, ago=9, fields={"stop_on_harm": True})
        assert "believe nothing" in guard()
        assert reported(connection).state == "stopped"

    def test_the_watcher_stops_it_by_itself_and_ends_when_told(
        self, log: Log, connection: psycopg.Connection, settings: Settings
    ) -> None:
        """The real process: `vernissage watch`."""
        log((0.2, 0.2), short=0.5, ago=9, users=400, fields={"stop_on_harm": True})
        state = "SELECT state FROM vernissage.experiments_now"
        environment = {"VERNISSAGE_DATABASE_URL": settings.database_url, "VERNISSAGE_HOME": settings.home}
        command = [sys.executable, "-m", "training.cli", "watch"]
        watcher = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 120
            while connection.execute(state).fetchall() == [("running",)]:
                assert watcher.poll() is None
                assert time.monotonic() < end
                time.sleep(0.2)
            watcher.terminate()
            _, said = watcher.communicate(timeout=60)
        finally:
            watcher.kill()
            watcher.wait()
        assert watcher.returncode == 0
        assert '"event": "experiment stopped"' in said

    def test_a_later_version_is_not_stopped_for_an_earlier_ones_harm(
        self, log: Log, connection: psycopg.Connection, settings: Settings
    ) -> None:
        """Somebody has stopped the one that was looked at, and started the next."""
        log((0.2, 0.2), users=2, fields={"version": 2})

        async def stop() -> None:
            pool = make_pool(settings.database_url, settings)
            await pool.open()
            try:
                await Registry(pool, settings).stop("logged", "ada", "harm", version=1)
            finally:
                await pool.close()

        with pytest.raises(ExperimentConflictError, match="version 1 does not run any more"):
            asyncio.run(stop())
        assert reported(connection).state == "running"
