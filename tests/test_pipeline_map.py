"""dvc.yaml declares what the scripts read: no more, no less."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

PIPELINES = {
    path: yaml.safe_load((ROOT / path).read_text())["stages"]
    for path in ("dvc.yaml", "data/faces/dvc.yaml", "data/alpaca/dvc.yaml", "data/weights/dvc.yaml")
}
STAGES = [(path, name) for path, stages in PIPELINES.items() for name in stages]


def script_of(stage):
    return ROOT / (stage["cmd"].removeprefix("python -m ").replace(".", "/") + ".py")


def imported(script, seen=frozenset()):
    """The project's own modules that a script imports, itself among them, directly or through others."""
    seen = set(seen) | {script}
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("stages", "data")):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                path = ROOT / (name.replace(".", "/") + ".py")
                if path.exists() and path not in seen:
                    seen |= imported(path, seen)
    return seen


@pytest.mark.parametrize(("path", "name"), STAGES)
def test_a_stage_depends_on_the_scripts_it_imports(path, name):
    stage = PIPELINES[path][name]
    declared = {Path(x) for x in stage["deps"] if x.endswith(".py")}
    assert declared == {x.relative_to(ROOT) for x in imported(script_of(stage))}


@pytest.mark.parametrize(("path", "name"), STAGES)
def test_a_stage_declares_the_parameters_it_reads(path, name):
    stage = PIPELINES[path][name]
    read = []
    for node in ast.walk(ast.parse(script_of(stage).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.read":
            # A stage that shows all parameters declares the whole file: read(*params.PARAMS).
            read += [
                {"params.yaml": None} if isinstance(argument, ast.Starred) else argument.value for argument in node.args
            ]
    assert stage.get("params", []) == read


def test_the_readme_and_ci_run_the_same_tests():
    [command] = [line for line in (ROOT / ".ci/run").read_text().splitlines() if "pytest" in line and line[0] != "#"]
    assert command in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("stage", ["split", "plot", "report"])
def test_stages_that_need_no_tensorflow_do_not_import_it(stage):
    code = f"import sys, stages.{stage}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
