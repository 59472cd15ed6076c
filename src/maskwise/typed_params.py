"""What was typed behind `--params`: Kedro reads every value as YAML, to which `007` is 7.

`1:30` is 90 to YAML and `2024_11` is 202411; here paths and names are what was typed.
"""

import re
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maskwise.errors import UserError
from maskwise.replicates import RAW_ROOT

_TEXT = re.compile(
    rf"{RAW_ROOT}|(predict|embed)\.(model|encoder|scans|source|column)|select\.embeddings|ingest\.identity_key|pretrain\.checkpoints|"
    r"evaluate\.against|report\.titles\.[^.]+|[^.]+\.ingest\.(table|path|modality|labels\.[^.]+|"
    r"classes\.[^.]+\.[^.]+)|[^.]+\.preprocess\.modality|[^.]+\.finetune\.task\.label|"
    r"[^.]+\.finetune\.task\.separator|[^.]+\.policy(\.policy)?\.map\.recipe|"
    r"report\.study\.[^.]+\.[^.]+"
)
"""Options that are text, whatever it looks like; ``tests/test_cli.py`` asks the types."""
_TEXT_OR_NULL = re.compile(
    r"predict\.sort_by|(predict|embed)\.(root|modality)|predict\.embeddings|select\.(label|labelled|predictions)|embed\.(patient|colour_by|label)|evaluate\.primary\.[^.]+\.metric|report\.metric|"
    r"[^.]+\.ingest\.(patient|masks|split|mask_suffix|file|task)|[^.]+\.preprocess\.label|"
    r"[^.]+\.preprocess\.separator|[^.]+\.encoder\.weights|[^.]+\.finetune\.task\.none|"
    r"evaluate\.referee\.[^.]+\.recipe|report\.cards\.[^.]+\.[^.]+|pretrain\.processes\.address|tune\.(objective\.metric|storage|study)"
)
"""Options that are text or, where `null` is typed, nothing."""
_ITEM = re.compile(
    r"""\s*(?P<key>[^=,]*?)\s*=\s*
    (?P<value>"[^"]*"(?=\s*(?:,|\Z))|'[^']*'(?=\s*(?:,|\Z))|[^,]*?)\s*(?:,|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_OTHER_THAN_TYPED = re.compile(r"[-+]?(0[0-9_]+|[0-9_.]+(:[0-9_.]+)+)")
"""Numbers of YAML in base 8 and 60."""


def read_params(text: str) -> dict[str, Any]:
    """Return what `--params` says, as nested dictionaries.

    Items stand between commas; a value in quotation marks may hold some. Paths and names are
    taken as typed, all other values as YAML has them.

    Raises:
        UserError: for an item that has no value, a value that is not YAML, or a number that
            YAML takes for another than it looks like.
    """
    parameters = OmegaConf.create()
    place, known = 0, [""]
    while text[place:].strip(", \t\r\n"):
        item = _ITEM.match(text, place)
        if item is None or not item["key"]:
            raise UserError(_no_item(text[place:].split(",")[0]))
        key, value = item["key"], _value(item["key"], item["value"])
        bare = "." not in key and key != RAW_ROOT and not isinstance(value, dict)
        if bare and _is_text(known[-1]):  # the rest of a path that holds a comma
            raise UserError(_no_item(text[place : item.end()].strip(",")))
        for other in known:
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                raise UserError(f"--params {key}: is set twice ({other}, {key}); keep one")
        try:
            OmegaConf.update(parameters, key, value)
        except OmegaConfBaseException:
            raise UserError(f"--params {key}: is not the name of an option") from None
        place = item.end()
        known.append(key)
    return _container(parameters)


def _container(parameters: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(parameters))


def _no_item(text: str) -> str:
    return (
        f"--params: {text.strip()!r} is not of the form NAME=VALUE. Commas separate the items: "
        "put a value that contains one in quotation marks, as in --params "
        f"'{RAW_ROOT}=\"scans, new\"'"
    )


def _is_text(key: str) -> bool:
    return bool(_TEXT.fullmatch(key) or _TEXT_OR_NULL.fullmatch(key))


def _value(key: str, text: str) -> Any:
    if _TEXT.fullmatch(key) or (_TEXT_OR_NULL.fullmatch(key) and text != "null"):
        quoted = len(text) > 1 and text[0] in "'\"" and text[0] == text[-1]
        typed = text[1:-1] if quoted else text
        if "${" in typed:  # OmegaConf would insert another parameter
            raise UserError(f"--params {key}: {typed!r} holds '${{'; give it another name")
        return typed
    try:
        value = _container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
    except (yaml.YAMLError, OmegaConfBaseException):
        raise UserError(
            f"--params {key}: {text!r} is not YAML; commas separate the items, so write lists "
            "and blocks into a file of conf/local, and put text with special characters of "
            "YAML in quotation marks"
        ) from None
    if _OTHER_THAN_TYPED.fullmatch(text) and not isinstance(value, str):
        raise UserError(
            f"--params {key}: {text} is the number {value} to YAML; write that, or the text "
            f"as \"'{text}'\""
        )
    return value
