"""Go-to-definition reaches every room from the scripts of the stages: editors resolve imports as jedi does."""

import ast
import shutil

import jedi
import pytest

from tests.imports import parse
from tests.support import ROOT

SCRIPTS = sorted((ROOT / "stages").glob("*.py"))


def imports(script):
    """[(name, line, column, path of the file that has it)] of what a script imports from stages."""
    found = []
    for node in ast.walk(parse(script)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "stages":
            for alias in node.names:
                module = ROOT / f"{node.module}.{alias.name}".replace(".", "/")
                file = module if module.with_suffix(".py").exists() else module.parent
                found.append((alias.name, alias.lineno, alias.col_offset, file.with_suffix(".py").relative_to(ROOT)))
    return found


def definitions(script, line, column):
    """The files in which jedi finds the name at a place of a script, as an editor that opens the script would."""
    return {name.module_path for name in jedi.Script(path=script).goto(line, column, follow_imports=True)}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_definition_of_each_import_lies_in_its_room(script):
    assert imports(script)
    for name, line, column, file in imports(script):
        assert definitions(script, line, column) == {ROOT / file}, name


def test_a_module_called_stages_beside_the_scripts_would_hide_the_rooms(tmp_path):
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    script = tmp_path / "stages/split.py"
    found = [definitions(script, line, column) for _, line, column, _ in imports(ROOT / "stages/split.py")]
    assert all(found) and all(tmp_path in path.parents for paths in found for path in paths)
    (tmp_path / "stages/stages.py").touch()
    hidden = [definitions(script, line, column) for _, line, column, _ in imports(ROOT / "stages/split.py")]
    assert not any(hidden)
