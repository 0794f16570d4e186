"""What the project's source imports and names, read from it without running it."""

import ast
from functools import cache

from tests.support import ROOT

TEMPLATES = {path.name: path for path in (ROOT / "stages").rglob("*.jinja")}


@cache
def parse(path):
    return ast.parse(path.read_text())


def imported_files(path):
    """Files of stages/ and data/ that a module imports itself, wherever in it the import stands."""
    names = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    files = {ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith(("stages.", "data."))}
    return {file for file in files if file.exists()}


def all_imported_files(script):
    """A script and all files of stages/ and data/ that it imports, directly or through others."""
    files, new = set(), {script}
    while new:
        files |= new
        new = set().union(*map(imported_files, new)) - files
    return files


def named_templates(files):
    """The templates whose names stand in the files as strings."""
    constants = {node.value for file in files for node in ast.walk(parse(file)) if isinstance(node, ast.Constant)}
    return {path for name, path in TEMPLATES.items() if name in constants}
