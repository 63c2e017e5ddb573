"""Settings from the environment: defaults, types, and errors that name the key and the rule."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadDatabaseUrlError, BadSettingError
from features.settings import PREFIX, Settings, read_settings

FIELDS = [field.name for field in msgspec.structs.fields(Settings)]
NUMBERS = [field.name for field in msgspec.structs.fields(Settings) if isinstance(field.default, int | float)]


def test_an_empty_environment_gives_the_defaults() -> None:
    """And nothing that is not ours is read."""
    assert read_settings({}) == Settings()
    assert read_settings({"PORT": "1", "HOME": "/nowhere", "vernissage_port": "1"}) == Settings()


def test_values_are_read_as_their_types() -> None:
    """Text, numbers and switches."""
    settings = read_settings(
        {"VERNISSAGE_PORT": "8080", "VERNISSAGE_AUTH": "false", "VERNISSAGE_LOG_SAMPLE": "1", "VERNISSAGE_HOME": "x"}
    )
    assert (settings.port, settings.auth, settings.log_sample, settings.home) == (8080, False, 1.0, "x")


def test_the_database_url_has_two_names_and_ours_wins() -> None:
    """DATABASE_URL is what everybody else reads; an empty one says nothing."""
    assert read_settings({"DATABASE_URL": "postgresql://a"}).database_url == "postgresql://a"
    both = {"DATABASE_URL": "postgresql://a", "VERNISSAGE_DATABASE_URL": "postgresql://b"}
    assert read_settings(both).database_url == "postgresql://b"
    assert read_settings({"DATABASE_URL": ""}).database_url == ""
    assert read_settings({"DATABASE_URL": "postgresql://a", "VERNISSAGE_DATABASE_URL": ""}).database_url == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"), ("PORT", "-1"), ("PORT", "web"), ("PORT", ""), ("WORKERS", "0"), ("WORKERS", "1.5"),
        ("AUTH", "maybe"), ("LOG_SAMPLE", "1.1"), ("LOG_SAMPLE", "-0.1"), ("LEASE_FIRST_SECONDS", "0"),
        ("LEASE_FIRST_SECONDS", "nan"), ("LEASE_FIRST_SECONDS", "inf"),
        ("RANK_DEADLINE_MS", "-5"), ("MAX_BODY_BYTES", "4M"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_rule(name: str, value: str) -> None:
    """The key, the value, and what is expected."""
    with pytest.raises(BadSettingError, match=re.escape(f"VERNISSAGE_{name} has the value {value!r}: ")) as caught:
        read_settings({f"VERNISSAGE_{name}": value})
    assert caught.value.context["rule"]


@pytest.mark.parametrize("key", ["DATABASE_URL", "VERNISSAGE_DATABASE_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        "postgres:/ada:s3cret@host/db",
        "postgresql://ada:100%s3cret@host/db",
        "postgresql://ada:s3cret/x@host/db",
    ],
)
def test_an_unreadable_database_url_is_named_and_never_shown(key: str, value: str) -> None:
    """It may hold a password, and what is wrong with it may be the password's own sign."""
    with pytest.raises(BadDatabaseUrlError, match=f"^{key} cannot be read: it must be like postgresql://") as caught:
        read_settings({key: value})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None  # what psycopg says shows it


@pytest.mark.parametrize(
    "value", ["dbname=art", "postgresql:///art?host=/run", "postgresql://a:1,b:2/art", "host=a port=5"]
)
def test_whatever_libpq_understands_is_a_database_url(value: str) -> None:
    """Sockets, several hosts, and its own notation."""
    assert read_settings({"DATABASE_URL": value}).database_url == value


def test_a_setting_that_does_not_exist_is_an_error() -> None:
    """A slip of the pen must not go unnoticed."""
    with pytest.raises(BadSettingError, match="VERNISSAGE_PROT has the value '1': no such setting"):
        read_settings({"VERNISSAGE_PROT": "1"})


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_read_back_as_it_is_written(name: str) -> None:
    """The default of each, as text, under the name that the documentation gives it."""
    default = getattr(Settings(), name)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    found = getattr(read_settings({PREFIX + name.upper(): text}), name)
    assert found == default
    assert type(found) is type(default)


@given(name=st.sampled_from(NUMBERS), number=st.floats() | st.integers())
def test_a_number_is_taken_or_refused_and_nothing_else(name: str, number: float) -> None:
    """No other error, and what is taken is what was given."""
    try:
        settings = read_settings({PREFIX + name.upper(): str(number)})
    except BadSettingError as error:
        assert PREFIX + name.upper() in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert getattr(settings, name) == number


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder may be given from the working directory or from the user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    assert Settings(home="state").home_path == tmp_path / "state"
    assert Settings(home="~/state").home_path == tmp_path / "ada" / "state"
    assert Settings(home="state").bundles_path == tmp_path / "state" / "bundles"


def test_settings_do_not_change() -> None:
    """They are read once and passed on."""
    with pytest.raises(AttributeError):
        Settings().port = 1
