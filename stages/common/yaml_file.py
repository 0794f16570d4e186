"""YAML files as DVC reads them, with the same reader: so no value of params.yaml differs from the one it tracks."""

import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError

from stages.common.cli import UserError

MOST_ALIASES = 20  # aliases of a file; each can double what it stands for
MOST_LEVELS = 20  # levels of groups and lists in each other


def read(path: str | Path) -> Any:
    """Reads a file as `parse` does. Raises an OSError if it cannot be opened."""
    return parse(Path(path).read_bytes(), path)


def parse(content: bytes, path: str | Path) -> Any:
    """Returns what a file of this content holds: UTF-8, with one document and no key twice.

    Raises:
        UserError: the content is something else. The text names the path and the line.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Composer, reader.Constructor, reader.max_depth = _Composer, _Constructor, MOST_LEVELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers such as 1e-05, which YAML 1.1 takes for texts
            return reader.load(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n")
        reason = "another encoding than UTF-8, which DVC requires. Save the file as UTF-8"
    except ReaderError as error:
        line = content.decode()[: error.position].count("\n")
        reason = f"the character {chr(error.character)!r}"
    except MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        reason = error.problem
        if isinstance(error, MaxDepthExceededError):
            reason = f"more than {MOST_LEVELS} groups or lists in each other"
    except (YAMLError, AssertionError, ValueError) as error:  # a directive of another version; half a character
        line, reason = 0, str(error)
    raise UserError(f"{path} is not valid YAML: line {line + 1}: {reason}.")


class _Composer(Composer):
    """A composer that refuses more aliases than MOST_ALIASES."""

    aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.aliases += self.parser.check_event(AliasEvent)
        if self.aliases > MOST_ALIASES:
            mark = self.parser.peek_event().start_mark
            raise ComposerError(None, None, f"there are more than {MOST_ALIASES} aliases, such as *name", mark)
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    """A constructor whose errors about values have the place of the value."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):
            text = f"{str(node.value)[:40]!r} is no {str(node.tag).rpartition(':')[2]}. Texts stand in quotes"
            raise ConstructorError(None, None, text, node.start_mark) from None
