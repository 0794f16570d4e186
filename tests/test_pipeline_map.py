"""dvc.yaml and data/*/dvc.yaml declare what the scripts import and read: no more, no less."""

import ast
import subprocess
import sys

import pytest
import yaml

from stages.common.params import Params
from tests.imports import TEMPLATES, all_imported_files, named_templates, parse
from tests.support import ROOT

PIPELINES = {
    path: yaml.safe_load((ROOT / path).read_text())["stages"]
    for path in (
        "dvc.yaml",
        "data/digits/dvc.yaml",
        "data/alpaca/dvc.yaml",
        "data/weights/dvc.yaml",
        "data/runtime/dvc.yaml",
    )
}
STAGES = [pytest.param(name, stage, id=name) for stages in PIPELINES.values() for name, stage in stages.items()]
WHOLE_FILE = [{"params.yaml": None}]


def script_of(stage):
    return ROOT / (stage["cmd"].removeprefix("python -m ").replace(".", "/") + ".py")


def code_of(stage):
    """Declared files and folders of code."""
    return [ROOT / path for path in stage["deps"] if path.endswith(".py") or path.startswith("stages/")]


def used_code(stage):
    """The modules and templates that a stage's script uses, directly or through others."""
    modules = all_imported_files(script_of(stage))
    return modules | named_templates(modules)


def is_under(path, place):
    return path == place or place in path.parents


def groups_read(script):
    """What `params.read` is called with, in this order."""
    arguments = []
    for node in ast.walk(parse(script)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.read":
            arguments += [
                ast.unparse(argument) if isinstance(argument, ast.Starred) else argument.value for argument in node.args
            ]
    return arguments


def parameters_used(stage):
    """What stands after `p.` in a stage's script and the modules that it imports, such as finetune.learning_rate."""
    used = set()
    for path in all_imported_files(script_of(stage)):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("p."):
                used.add(ast.unparse(node).removeprefix("p."))
    return {key for key in used if key.partition(".")[0] in Params.model_fields}


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_all_code_of_a_stage_lies_under_a_declared_path(name, stage):
    declared = code_of(stage)
    undeclared = [str(path) for path in used_code(stage) if not any(is_under(path, place) for place in declared)]
    assert not undeclared, "\n".join(undeclared)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_every_declared_path_of_code_is_used(name, stage):
    used = used_code(stage)
    unused = [str(place) for place in code_of(stage) if not any(is_under(path, place) for path in used)]
    assert not unused, "\n".join(unused)


def test_every_template_is_of_a_stage():
    assert set(TEMPLATES.values()) == {
        path for stage in PIPELINES["dvc.yaml"].values() for path in used_code(stage) if path.suffix == ".jinja"
    }


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stage_declares_the_parameters_it_reads(name, stage):
    declared, own = stage.get("params", []), f"data/{name}/params.yaml"
    read = groups_read(script_of(stage))
    if (ROOT / own).exists():
        assert {own: None} in declared and f'"{own}"' in script_of(stage).read_text()
        declared = [key for key in declared if key != {own: None}]
    if declared == WHOLE_FILE:
        assert read == ["*params.Params.model_fields"]
        return
    assert list(dict.fromkeys(key.partition(".")[0] for key in declared)) == read
    used = parameters_used(stage)
    assert {key.partition(".")[0] for key in used} == set(read)
    for key in declared:
        if "." in key:  # one of a group: the others are not used
            group = key.partition(".")[0]
            assert {x for x in used if x.startswith(f"{group}.")} == {x for x in declared if x.startswith(f"{group}.")}


def test_files_of_editors_and_python_change_no_room(project):
    rooms = sorted(path.name for path in (ROOT / "stages").iterdir() if path.is_dir() and path.name != "__pycache__")
    deps = [f"stages/{room}" for room in rooms]
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"rooms": {"cmd": "true", "deps": deps}}}))
    project.run("dvc", "repro", "-q", "rooms")
    for room in deps:
        for name in ("__pycache__/module.cpython-311.pyc", ".module.py.swp", "module.swp", ".DS_Store"):
            path = project.folder / room / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("new")
    assert "up to date" in project.run("dvc", "status", "rooms")
    (project.folder / "stages/model/new.py").write_text("")
    status = project.run("dvc", "status", "rooms")
    assert "stages/model" in status and "stages/decoding" not in status


def test_the_readme_and_ci_run_the_same_tests():
    [command] = [line for line in (ROOT / ".ci/run").read_text().splitlines() if "pytest" in line and line[0] != "#"]
    assert command in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("stage", ["split", "plot", "vega", "audit", "review", "report"])
def test_stages_that_need_no_tensorflow_do_not_import_it(stage):
    code = f"import sys, stages.{stage}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
