"""A block that names what a run is about, such as a model and scans, beside its options."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from maskwise.config import parse
from maskwise.errors import UserError, shown

C = TypeVar("C")


def options(config: type[C], names: Collection[str], block: Any, where: str) -> C:
    """Parse the options of a block; what stands under ``names`` is none of them.

    Raises:
        UserError: as ``parse``.
    """
    if isinstance(block, Mapping):
        block = {key: value for key, value in block.items() if key not in names}
    return parse(config, block, where)


def text_at(block: Mapping[str, Any], key: str, where: str, what: str = "text") -> str | None:
    """Return the text under ``key``, None where there is none or it is blank.

    Raises:
        UserError: if it is no text; ``what`` says what it should be.
    """
    value = block.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):  # 007 is 7 to YAML, and cannot be had back
        raise UserError(
            f"{where}.{key}: should be {what}, but is {shown(value)}; in a file, a name that "
            "looks like a number needs quotation marks"
        )
    return value


def missing(where: str, key: str, what: str) -> UserError:
    """Return the error that nothing stands under ``key``, which should name ``what``."""
    return UserError(f"{where}.{key}: missing; name {what}: --params {where}.{key}=PATH")
