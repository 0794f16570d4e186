"""--help of every script, and the error for arguments that a script does not have."""

import ast
import importlib
import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

SLOW_IMPORTS = {"dvc", "keras", "matplotlib", "numpy", "optuna", "pandas", "scipy", "sklearn", "tensorflow"}
PATHS = sorted(path for top in ("stages", "data") for path in (ROOT / top).rglob("*.py"))
SCRIPTS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PATHS if "cli.run(" in path.read_text()
}
TOOLS = [name for name in SCRIPTS if name.startswith("stages.tools.")]
WITHOUT_ARGUMENTS = [name for name in SCRIPTS if name not in TOOLS]


def run(folder, name, argument):
    """Runs a script in an empty folder; Python writes to standard error which modules it imports."""
    command = [sys.executable, "-X", "importtime", "-m", name, argument]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def imported(error):
    """The packages whose import stands in the standard error of `run`."""
    return {line.split("|")[-1].strip().split(".")[0] for line in error.splitlines() if line.startswith("import time:")}


def test_all_scripts_are_found():
    assert {"stages.split", "stages.tools.predict", "data.weights.labdog"} <= SCRIPTS.keys() and len(SCRIPTS) >= 17


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_prints_the_docstring_quickly_and_runs_nothing(name, tmp_path):
    ran = run(tmp_path, name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"usage: python -m {name}")
    docstring = " ".join(ast.get_docstring(ast.parse(SCRIPTS[name].read_text())).split())
    assert docstring.partition(f"python -m {name}")[0].strip() in " ".join(ran.stdout.split())
    assert "writes " in docstring.lower() or name in TOOLS
    assert max(map(len, ran.stdout.splitlines())) <= 100
    assert not imported(ran.stderr) & SLOW_IMPORTS  # so that it takes less than a second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TOOLS)
def test_help_has_a_line_for_every_argument(name):
    tree = ast.parse(SCRIPTS[name].read_text())
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument")
    ]
    options = [call.args[0].value for call in calls if call.args[0].value.startswith("--")]
    explained = re.findall(r"^    (\S+).*  +\S", ast.get_docstring(tree), re.MULTILINE)
    assert len(explained) >= len(calls) and set(options) <= set(explained)


@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS)
def test_an_unknown_argument_is_an_error_before_slow_imports(name, tmp_path):
    ran = run(tmp_path, name, "--no-such-option")
    lines = [line for line in ran.stderr.splitlines() if not line.startswith("import time:")]
    error = f"python -m {name}: error: unrecognized arguments: --no-such-option"
    assert (ran.returncode, ran.stdout, lines) == (2, "", [f"usage: python -m {name}", error])
    assert not imported(ran.stderr) & SLOW_IMPORTS and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TOOLS)
def test_an_unknown_option_of_a_tool_is_an_error(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "a", "b", "--no-such-option"])
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(name).main()
    usage, error = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and usage.startswith(f"usage: python -m {name}")
    assert re.fullmatch(rf"python -m {name}: error: unrecognized arguments: (a )?(b )?--no-such-option", error)
