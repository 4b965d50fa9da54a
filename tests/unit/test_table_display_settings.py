# ruff: noqa: RUF001 - an en dash stands for a missing key
"""Configuration of the table, JSON for the host, and what stdout can show."""

import io
import sys
from functools import partial
from textwrap import dedent

import pytest
from test_table_display import PLUGINS, ROWS, new_registry, table

from btplug import CLIPluginRegistry
from btplug.errors import ConfigError


@pytest.fixture
def registry():
    found = new_registry()
    yield found
    assert found.shut_down() == []


@pytest.fixture
def show(registry):
    """Run the plugin on data and return the text it makes."""
    return partial(registry.execute_plugin, "table-display")


# -- configuration


def configured(home, text):
    path = home / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    block = "\n".join("    " + line for line in dedent(text).strip().splitlines())
    path.write_text(f"plugins:\n  table-display:\n{block}\n")
    found = CLIPluginRegistry()
    found.discover_plugins(PLUGINS)
    return found


def test_columns_and_data_come_from_the_configuration(home):
    registry = configured(
        home,
        """
        columns:
          - {key: uid, title: UID, width: 5}
          - {key: stake, title: Stake, align: left, format: ',.2f'}
        data:
          - {uid: 0, stake: 1250.5, since: 2024-01-01}
          - {uid: 1}
        """,
    )

    assert registry.execute_plugin("table-display") == table("""
        ╭───────┬──────────╮
        │   UID │ Stake    │
        ├───────┼──────────┤
        │     0 │ 1,250.50 │
        │     1 │ –        │
        ╰───────┴──────────╯
    """)


def test_data_and_columns_that_are_given_win_over_the_configuration(home):
    registry = configured(home, "columns: [{key: uid}]\ndata: [{uid: 5}]")

    text = registry.execute_plugin("table-display", ROWS, columns="name")

    assert "alice" in text
    assert "uid" not in text


def test_an_empty_list_in_the_configuration_is_no_rows(home):
    registry = configured(home, "data: []")

    assert registry.execute_plugin("table-display") == "(no rows)"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("{key: a, width: 0}", "columns.0: found {'key': 'a', 'width': 0} (dict), expected a width of 1 to 1000 cells"),
        ("{key: a, align: top}", "columns.0: found {'key': 'a', 'align': 'top'} (dict), expected one of left, right, center as align"),
        ("{key: a, format: '.2d'}", "columns.0: found {'key': 'a', 'format': '.2d'} (dict), expected a number format such as d  ,d  .2f  ,.2f  e  g  .1%"),
        ("{key: a, widht: 3}", "columns.0.widht: found an unknown key, expected one of key, title, width, align, format"),
        ("{title: a}", "columns.0: found {'title': 'a'} (dict), expected Object missing required field key"),
    ],
)  # fmt: skip
def test_a_wrong_column_is_an_error_of_the_configuration(home, column, message):
    registry = configured(home, f"columns:\n  - {column}")

    with pytest.raises(ConfigError) as caught:
        registry.execute_plugin("table-display", ROWS)

    assert caught.value.what == f"{home}/config.yaml:4: {message}"


def test_a_size_below_one_is_an_error_of_the_configuration(home):
    registry = configured(home, "max_size: 0")

    with pytest.raises(ConfigError, match=r"max_size is 0, expected 1 or more"):
        registry.execute_plugin("table-display", ROWS)


def test_the_size_in_config_yaml_is_the_one_in_the_code(registry):
    cls = registry.load_plugin("table-display")

    written = registry.manifest("table-display").config

    assert written == {"max_size": cls.Config().max_size}


# -- JSON for the host


def test_a_host_that_wants_json_gets_mappings_with_the_chosen_keys(registry, show):
    registry.context.wants_json = True

    rows = show(
        [{"uid": 1, "axon": {"port": 80}, "x": 0}, {"uid": 2}],
        columns="uid:UID:1,axon.port",
        output="csv",
    )

    assert list(rows) == [{"uid": 1, "axon.port": 80}, {"uid": 2}]


def test_a_host_that_wants_json_gets_whole_records_without_columns(registry, show):
    registry.context.wants_json = True

    assert list(show(ROWS, where="uid > 0", limit=1)) == [ROWS[1]]


# -- where it is shown


def test_text_for_an_output_without_box_characters_is_ascii(show, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))

    assert show([{"a": "long"}, {}], columns="a:A:3,b") == table("""
        +-----+---+
        | A   | b |
        +-----+---+
        | lo~ | - |
        | -   | - |
        +-----+---+
    """)


def test_a_closed_stdout_is_like_a_pipe(show, monkeypatch):
    closed = io.StringIO()
    closed.close()
    expected = show(ROWS)

    for out in (None, closed):
        monkeypatch.setattr(sys, "stdout", out)
        assert show(ROWS) == expected
