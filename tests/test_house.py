"""The rules of the house (CONTRIBUTING.md): rooms, the direction of imports, sizes, comments of parameters."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from data.alpaca import fetch
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
    ("path", "most"),
    [("stages/train_frozen.py", 45), ("stages/finetune.py", 45), ("stages/evaluate.py", 145), ("dvc.yaml", 170)],
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
    assert len(code) <= 49, "\n".join(code)
    single = [x.split(": ")[1] for x in code if x.endswith(".py") and len(Path(x).parts) > 2]
    assert single == ["stages/charts/base.py"]


@pytest.mark.parametrize(
    ("path", "model"), [("params.yaml", params.Params), ("data/alpaca/params.yaml", fetch.Download)]
)
def test_every_parameter_and_every_group_has_a_comment(path, model):
    written = comments((ROOT / path).read_text())
    written.pop("evaluate.min_metrics.accuracy", None)  # a key of the user's choice
    assert written.keys() == {key for key, _ in params.fields(model)}
    silent = [key for key, comment in written.items() if not comment]
    assert not silent, "\n".join(silent)


def names_of_sources():
    """Paths that data/*/dvc.yaml write, and names of their stages that are no common words."""
    for path in {*(ROOT / "data").glob("*/dvc.yaml")} - {ROOT / "data/runtime/dvc.yaml"}:
        for name, stage in yaml.safe_load(path.read_text())["stages"].items():
            yield f"data/{name}" if name == "digits" else name
            yield from (out if isinstance(out, str) else next(iter(out)) for out in stage["outs"])


def code_and_templates():
    """(file, its text without comments and docstrings) of everything under stages/."""
    for path in sorted((ROOT / "stages").rglob("*")):
        if path.suffix == ".py":
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                    node.body[0].value = ast.Constant("")
            yield relative(path), ast.unparse(tree)
        elif path.is_file() and path.parent.name != "__pycache__":
            yield relative(path), path.read_text()


def test_no_code_names_a_data_set_or_weights_that_the_project_fetches():
    defaults = [repr(params.defaults()[key]) for key in ("data.images", "model.weights")]
    named = []
    for file, text in code_and_templates():
        if file == "stages/common/params.py":
            for default in defaults:
                assert default in text
                text = text.replace(default, "", 1)
        named += [f"{file} names {name}" for name in set(names_of_sources()) if name in text]
    assert not named, "\n".join(named)


def test_a_clone_on_a_machine_that_converts_line_ends_has_the_same_bytes(project, tmp_path):
    project.run("git", "-c", "core.autocrlf=true", "clone", "-q", ".", tmp_path / "clone")
    names = project.run("git", "ls-files", "-z").split("\0")[:-1]
    converted = [x for x in names if (tmp_path / "clone" / x).read_bytes() != (project.folder / x).read_bytes()]
    assert not converted, "\n".join(converted)


def calls(name, folders):
    """(where it stands, node) of the calls that end in a name, such as Image.open, below folders of the project."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name):
                    yield f"{relative(path)}:{node.lineno}", node


def test_pillow_is_told_the_formats_of_what_it_opens():
    """Without them, it hands a file that is EPS to Ghostscript, whatever the file is called."""
    found = list(calls("Image.open", ["stages", "data"]))
    assert len(found) >= 2  # decode and bit_depth
    unnamed = [where for where, node in found if "formats" not in {keyword.arg for keyword in node.keywords}]
    assert not unnamed, "\n".join(unnamed)


def test_what_is_downloaded_is_read_up_to_a_limit():
    """`stream=True` leaves the body to fetched.read_body; `content` and the like read all that a server sends."""
    sources = [path for path in SOURCES if re.search(r"^\s*(import|from) requests\b", path.read_text(), re.MULTILINE)]
    assert [relative(path) for path in sources] == [
        "data/alpaca/fetch.py",
        "data/weights/imagenet.py",
        "stages/common/fetched.py",
    ]
    for path in sources:
        attributes = {node.attr for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute)}
        assert not attributes & {"content", "text", "json", "raw", "urlopen", "urlretrieve"}, relative(path)
    gets = [node for _, node in calls("session.get", ["data"])] + [node for _, node in calls("requests.get", ["data"])]
    assert len(gets) == 2
    assert all({"stream", "timeout"} <= {keyword.arg for keyword in node.keywords} for node in gets)


def pins(path):
    """{name as package indexes compare them: version} of a file of requirements."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_requirements_with_hashes_are_those_without():
    plain, hashed = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements-hashes.txt")
    assert plain.items() <= hashed.items()
    # What packages need of Python's own tools, and on Windows.
    assert hashed.keys() - plain.keys() == {"setuptools", "wheel", "pywin32", "tzdata"}


def test_every_requirement_has_hashes_and_none_an_address():
    text = (ROOT / "requirements-hashes.txt").read_text()
    assert "://" not in text and "index" not in text.partition("\nabsl")[0]
    entries = re.split(r"\n(?=\S)", text[text.index("\nabsl") + 1 :].strip())
    assert len(entries) == len(pins(ROOT / "requirements-hashes.txt"))
    for entry in entries:
        _, *hashes = entry.split(" \\\n")
        assert hashes and all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), entry


def test_the_example_of_a_workflow_pins_its_actions_and_may_only_read_but_to_comment():
    path = ROOT / ".ci/github-actions-example.yml"
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["train"]
    assert workflow["jobs"]["comment"]["permissions"] == {"pull-requests": "write"}
    uses = re.findall(r"uses: (.*)", path.read_text())
    assert len(uses) == 4
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in uses)
    # The job that may write runs nothing of the pull request.
    assert not any("checkout" in step.get("uses", "") for step in workflow["jobs"]["comment"]["steps"])


def test_the_dockerfile_installs_with_hashes_and_runs_as_a_user():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [number for number, line in enumerate(lines) if line.startswith("USER ")]
    [installs] = [number for number, line in enumerate(lines) if "pip install" in line]
    assert "--require-hashes" in lines[installs]
    assert [lines[number] for number in users] == ["USER 1000:1000"] and users[0] > installs
    [copied] = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert f"!{copied}" in (ROOT / ".dockerignore").read_text().splitlines()
