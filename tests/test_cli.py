"""What is typed behind `--params` is what is meant."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from click.testing import CliRunner
from kedro.framework.cli.utils import find_run_command

from maskwise.annotations import members, nullable, option_kinds, plain
from maskwise.cli import run
from maskwise.errors import UserError
from maskwise.pipelines import parsing
from maskwise.typed_params import read_params
from options import places
from project import Project

NAMES = [
    "007", "1:30", "2024_11", "1e5", "0x1F", ".5", "true", "null", "~", "2024-11-03", "off",
    "/a/b c", "a: b", "a #b", "[a", "{id}.png", "*a", "a=b", "%d", "C:\\x",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["raw_root", "scans", "model", "column"])
def test_a_path_is_taken_as_typed(option: str, name: str) -> None:
    if option == "raw_root":
        assert read_params(f"raw_root={name}") == {"raw_root": name}
    else:
        assert read_params(f" predict.{option} = {name} ") == {"predict": {option: name}}


AROUND = {id(parse): [stage] for stage, parse in parsing.STAGE_BLOCKS.items()} | {
    id(parse): ["mine", stage] for stage, parse in parsing.SOURCE_BLOCKS.items()
}
"""What stands in front of a block's options on the command line."""


def texts() -> Iterator[tuple[str, bool]]:
    """Yield every option that may be text, as `--params` calls it, and whether null is none."""
    for place in places():
        around = AROUND.get(id(place.parse), ["mine"])  # a recipe stands by itself
        if any(isinstance(step, int) for step in place.path):
            continue  # a list cannot be typed
        for key, kind in option_kinds(place.config).items():
            yield from _texts(kind, ".".join([*around, *map(str, place.path), key]))


def _texts(kind: Any, key: str) -> Iterator[tuple[str, bool]]:
    for member in map(plain, members(kind)):
        origin = get_origin(member)
        if member in (str, Path):
            yield key, nullable(kind)
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            yield from _texts(get_args(member)[1], f"{key}.d")


@pytest.mark.parametrize(("option", "may_be_null"), sorted(set(texts())))
def test_every_option_that_may_be_text_is_taken_as_typed(
    option: str, may_be_null: bool
) -> None:
    for typed in ("1e5", "0x1F", "007", "true", "null"):
        value: Any = read_params(f"{option}={typed}")
        for step in option.split("."):
            value = value[step]
        assert value == (None if may_be_null and typed == "null" else typed)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"null"}))
def test_a_name_that_may_be_left_out_is_taken_as_typed_but_for_null(name: str) -> None:
    typed = f"predict.root={name},mine.ingest.table={name},mine.ingest.labels.d={name}"
    assert read_params(typed) == {
        "predict": {"root": name},
        "mine": {"ingest": {"table": name, "labels": {"d": name}}},
    }
    assert read_params("predict.root=null") == {"predict": {"root": None}}


@pytest.mark.parametrize(
    ("typed", "value"),
    [("7", 7), ("1e-3", 0.001), (".5", 0.5), ("true", True), ("null", None), ("1_000", 1000),
     ("{a: 1}", {"a": 1}), ("'7'", "7")],
)  # fmt: skip
def test_other_values_are_those_of_yaml(typed: str, value: Any) -> None:
    assert read_params(f"a.b={typed},a.c=1") == {"a": {"b": value, "c": 1}}


def test_a_value_in_quotation_marks_may_hold_commas_and_blanks() -> None:
    typed = 'raw_root="/x/a, b ",predict.scans=\'a"b,c\''
    assert read_params(typed) == {"raw_root": "/x/a, b ", "predict": {"scans": 'a"b,c'}}


@pytest.mark.parametrize("typed", ["raw_root=/x/a,b", "raw_root=/x/a,b=c", "raw_root=a,,=b"])
def test_a_comma_in_a_path_is_told_how_to_be_written(typed: str) -> None:
    with pytest.raises(UserError, match=r"form NAME=VALUE.* in quotation marks, as in"):
        read_params(typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("a.steps=010", "--params a.steps: 010 is the number 8 to YAML"),
        ("a.steps=1:30", "1:30 is the number 90 to YAML"),
        ("a.grid=[8,8]", r"'\[8' is not YAML; commas separate .* a file of conf/local"),
        ("a.b=1,a.b.c=2", r"a\.b\.c: is set twice \(a\.b, a\.b\.c\)"),
        ("raw_root=a,raw_root=b", r"raw_root: is set twice"),
        ("raw_root=${x}", r"holds '\$\{'"),
    ],
)
def test_what_yaml_would_change_or_cannot_read_is_refused(typed: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_params(typed)


def test_the_project_s_own_run_is_the_one_that_kedro_finds() -> None:
    assert find_run_command("maskwise") is run
    told = CliRunner().invoke(run, ["--params", "raw_root=a,b"])
    assert told.exit_code == 1
    assert told.output.startswith("Error: --params: 'b' is not of the form NAME=VALUE")


@pytest.mark.xdist_group("finished")
def test_a_raw_folder_whose_name_looks_like_a_number_is_that_folder(
    tiny_project: Project,
) -> None:
    command = ["kedro", "run", "--pipelines", "busi", "--params", "raw_root=007"]
    assert "/007: absent or empty" in tiny_project.run(*command, fails=True)
