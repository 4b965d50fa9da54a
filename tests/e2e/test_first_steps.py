"""The first things a person does."""

import json


def test_version_is_one_line(btplug):
    done = btplug("--version")

    assert done.returncode == 0
    assert done.stdout == "btplug 0.1.0\n"
    assert done.stderr == ""


def test_list_shows_a_plugin_with_exactly_the_promised_keys(btplug, make_plugin, home):
    make_plugin("greet", where=home / "cli_plugins")

    done = btplug("list", "--json")

    row = next(r for r in json.loads(done.stdout) if r["name"] == "greet")
    assert row == {
        "name": "greet",
        "kind": "cli",
        "version": "1.0.0",
        "summary": "Do greet",
        "source": "user",
        "state": "ready",
        "trust": "trusted",
        "path": str(home / "cli_plugins" / "greet" / "config.yaml"),
        "error": None,
    }


def test_help_lists_a_plugin_without_importing_it(btplug, landmine):
    done = btplug("--help")

    assert done.returncode == 0
    assert "mine" in done.stdout
    assert "Do mine" in done.stdout


def test_calling_the_plugin_runs_the_landmine(btplug, landmine):
    """The trap is armed: without this the test above could pass for nothing."""
    done = btplug("run", "mine")

    assert done.returncode == 4
    assert "imported too early" in done.stderr
    assert f"where: {landmine / 'plugin.py'}:1" in done.stderr


def test_run_prints_what_the_plugin_returns(btplug, make_plugin, home):
    code = """
    import click
    from btplug import CLIPlugin

    class Plugin(CLIPlugin):
        def initialize(self, config):
            pass

        @click.argument("name")
        def execute(self, data=None, *, name):
            return {"hello": name}

        def shutdown(self):
            pass
    """
    make_plugin("greet", code, where=home / "cli_plugins")

    assert btplug("run", "greet", "Ann").stdout == "hello  Ann\n"
    assert btplug("greet", "Ann").stdout == "hello  Ann\n"
    assert btplug("run", "--json", "greet", "Ann").stdout == '{"hello": "Ann"}\n'
    assert btplug("run", "greet", "Ann", "--json").stdout == '{"hello": "Ann"}\n'
