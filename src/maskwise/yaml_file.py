"""A file of ``conf`` as PyYAML reads it, which is fast; Kedro's loader knows more."""

from pathlib import Path
from typing import Any

import yaml

from maskwise.errors import UserError, as_text, shown

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: ten times as slow
    from yaml import SafeLoader  # type: ignore[assignment]


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return what a file of ``conf`` holds, nothing where it is empty.

    Raises:
        UserError: if it cannot be read, is no UTF-8 or no YAML, or sets a key twice, with the
            line.
    """
    try:
        text = as_text(path.read_bytes(), str(path), "save it again in UTF-8")
        document = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{path}{line}: is not YAML ({error.problem}); correct it there"
        ) from None
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise UserError(f"{path}: is not YAML ({error}); correct it there") from None
    if not isinstance(document, dict | None):
        raise UserError(f"{path}: should hold lines `name: value`, but is {shown(document)}")
    return document or {}


class _Loader(SafeLoader):
    """Refuses a key that appears twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    problem = f"{key.value!r} stands in line {lines[key.value]} already"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)
