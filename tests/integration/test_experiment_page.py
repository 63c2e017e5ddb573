"""The figures of a report and the page that holds them: drawn whatever was shown, with titles that say what is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from tests.experiment_log import Lived, write_log
from tests.experiments import ARMS
from training.cli import app
from training.experiments import plots
from training.experiments.reading import read_exposed
from training.experiments.report import Report, make_report

LEAST_BYTES = 8_000  # of a figure that shows something
Tell = Callable[[Lived], Report]


@pytest.fixture
def told(connection: psycopg.Connection) -> Tell:
    """The report on what was lived."""

    def make(lived: Lived) -> Report:
        write_log(connection, lived)
        return make_report(read_exposed(connection, "logged"))

    return make


def title(figure: Figure) -> str:
    """The headline, or the words in its place."""
    text = figure.get_suptitle() or figure.texts[0].get_text()
    return text.replace("\n", " ")


def test_titles_say_what_fades_what_is_harmed_and_that_the_arms_are_right(told: Tell) -> None:
    """A novelty that was planted, and slow lists."""
    made = told(Lived(lambda arm, day, _: 0.5 if arm and not day else 0.2, visits=(0, 4), users=500, slower=4.0))
    assert title(plots.novelty(made)) == "varied's effect fades with time"
    assert title(plots.guardrails(made)) == "Harmed: p95_latency"
    assert title(plots.sample_ratio(made)).startswith("The arms are as large as they should be: control 2")
    assert title(plots.effect(made)) == made.verdict
    assert len([axes for axes in plots.guardrails(made).axes if axes.get_visible()]) == 6


def test_three_arms_have_their_panels_and_their_names(told: Tell) -> None:
    """Two of them beside the control."""
    arms = [*ARMS, {"name": "third", "policy": {"variety": 1.0}}]
    made = told(Lived((0.2, 0.35, 0.2), users=500, fields={"arms": arms}))
    assert len([axes for axes in plots.guardrails(made).axes if axes.get_visible()]) == 12
    assert title(plots.coverage(made)) == (
        "Where users had seen as much of the pool, they like varied more than the control"
    )
    labels = [label.get_text() for label in plots.effect(made).axes[0].get_yticklabels()]
    assert labels[3:] == ["third, with CUPED", "third, without", "third, likes at matched coverage"]


def test_where_there_is_nothing_to_draw_words_say_so(told: Tell) -> None:
    """Less than half a day, two users."""
    made = told(Lived((0.2, 0.2), users=2, ago=0.4))
    assert title(plots.guardrails(made)) == "No user's first day is over: no guardrail says anything"
    assert title(plots.novelty(made)) == "Too few users have lived through a day"
    for draw in plots.FIGURES.values():
        draw(made).canvas.draw()


def test_an_interleaved_one_shows_whom_users_prefer(told: Tell) -> None:
    """And has no arms to guard."""
    made = told(Lived((0.1, 0.3), users=300, fields={"design": "interleaved"}))
    assert title(plots.effect(made)) == "Users prefer varied."
    assert title(plots.sample_ratio(made)) == "No arms of users whose ratio could be wrong"


def test_the_command_writes_figures_and_a_page(
    told: Tell, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every figure is on it, with the verdict, the remarks and the tables; a text is shown as it is written."""
    made = told(Lived((0.2, 0.3), users=400, visits=(0, 4), fields={"hypothesis": "<b>bold</b> & new"}))
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path))
    folder = tmp_path / "made" / "page"
    result = CliRunner().invoke(app, ["experiment", "report", "logged", "--plots", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    page = (folder / "index.html").read_text()
    for name in plots.FIGURES:
        assert f'src="{name}.png"' in page
        assert (folder / f"{name}.png").stat().st_size > LEAST_BYTES
    for words in (made.verdict, "&lt;b&gt;bold&lt;/b&gt; &amp; new", "with CUPED", "fill_rate"):
        assert words in page
    assert all(remark.replace("'", "&#x27;") in page for remark in made.remarks)
