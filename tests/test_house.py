"""The rules of the house (CONTRIBUTING.md): rooms, the direction of imports, sizes, descriptions of parameters."""

import ast
from pathlib import Path

import pytest
import yaml

from stages.common import params
from tests.imports import imported_files, parse
from tests.support import ROOT

# From left to right: a room imports from those to its left. Neither of two at one place imports the other.
ROOMS = [
    ["common"],
    ["decoding"],
    ["labels"],
    ["splits"],
    ["model"],
    ["training"],
    ["statistics"],
    ["evaluation", "label_audit"],
    ["charts", "formats"],
    ["reporting"],
    ["tools"],
]
PLACES = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
SOURCES = sorted([*(ROOT / "stages").rglob("*.py"), *(ROOT / "data").glob("*/*.py")])
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def relative(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    """The room of a module: "stage" for the script of one, "data" for what lies there."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "data":
        return "data"
    return parts[1] if len(parts) == 3 else "stage"


def functions():
    """(where it stands, node) of every function and method, nested ones too."""
    for path in SOURCES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{relative(path)}:{node.lineno} {node.name}", node


def parameters(function):
    arguments = function.args
    return len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)


def comments(text):
    """{dotted key: the comment of its line and of lines below that hold nothing else, or None} of a parameter file."""
    found, path = {}, []
    for line in text.splitlines():
        code, _, comment = line.partition("#")  # no value has one
        if code.strip():
            depth = (len(code) - len(code.lstrip())) // 2
            path = [*path[:depth], code.strip().partition(":")[0]]
            found[".".join(path)] = comment.strip() or None
        elif comment:
            found[".".join(path)] += f" {comment.strip()}"
    return found


def test_stages_holds_the_scripts_of_the_stages_and_nothing_else():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert scripts == set(STAGES)
    assert {name: f"python -m stages.{name}" for name in STAGES} == {name: x["cmd"] for name, x in STAGES.items()}


def test_every_room_has_its_place():
    rooms = {path.parent.name for path in (ROOT / "stages").glob("*/*.py")}
    assert rooms == set(PLACES)
    deeper = [relative(path) for path in SOURCES if len(path.relative_to(ROOT).parts) > 3]
    assert not deeper, "\n".join(deeper)


def test_there_is_no_init_file():
    found = [relative(path) for top in ("stages", "data", "tests") for path in (ROOT / top).rglob("__init__.py")]
    assert not found, "\n".join(found)


def test_imports_go_one_way():
    wrong = []
    for path in SOURCES:
        importer = room_of(path)
        for imported in imported_files(path):
            room = room_of(imported)
            if importer in ("stage", "data"):
                allowed = room in PLACES and room != "tools"
            else:
                allowed = room == importer or room in PLACES and PLACES[room] < PLACES[importer]
            if not allowed:
                wrong.append(f"{relative(path)} imports {relative(imported)}")
    assert not wrong, "\n".join(wrong)


def test_no_function_is_longer_than_60_lines():
    long = [where for where, node in functions() if node.end_lineno - node.lineno + 1 > 60]
    assert not long, "\n".join(long)


def test_no_function_has_more_than_8_parameters():
    many = [where for where, node in functions() if parameters(node) > 8]
    assert not many, "\n".join(many)


@pytest.mark.parametrize(
    ("path", "most"), [("stages/train_frozen.py", 45), ("stages/finetune.py", 45), ("dvc.yaml", 170)]
)
def test_what_is_read_first_is_short(path, most):
    assert len((ROOT / path).read_text().splitlines()) <= most


def test_dvc_yaml_depends_on_rooms():
    code = [
        f"{name}: {dependency}"
        for name, stage in STAGES.items()
        for dependency in stage["deps"]
        if dependency.startswith("stages/")
    ]
    assert len(code) <= 42, "\n".join(code)
    single = [x.split(": ")[1] for x in code if x.endswith(".py") and len(Path(x).parts) > 2]
    assert single == ["stages/charts/base.py"]


def test_the_comments_of_params_yaml_are_the_descriptions_of_the_parameters():
    written = comments((ROOT / "params.yaml").read_text())
    del written["evaluate.min_metrics.accuracy"]  # a key of the user's choice
    described = {key: field.description for key, field in params.fields()}
    assert written.keys() == described.keys()
    different = [f"{key}: {written[key]} | {described[key]}" for key in written if written[key] != described[key]]
    assert not different, "\n".join(different)
