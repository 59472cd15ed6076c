"""What the pages quote is what the program says."""

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from finetune.patches import small_encoder
from maskwise.annotations import members, option_kinds, stated
from maskwise.artefacts.encoder import write_encoder
from maskwise.config import Choice, choose
from maskwise.encoders import ENCODERS
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.policies import POLICIES
from maskwise.scans.reading import DEFAULT
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain
from project import PROJECT
from sources.drawing import save, scan

LEAST = 0.4
"""Share of a quoted message that the program itself must hold; the rest a run fills in."""
PIECE = 10
"""Letters in a row by which a text is first looked for."""

Text = Sequence[str | None]
"""A text of the program, letter by letter; None = what only a run knows."""


@functools.cache
def texts_of_the_program() -> list[Text]:
    return list(_texts())


def _texts() -> Iterator[Text]:
    for path in (PROJECT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield [letter for part in node.values for letter in _letters(part)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _letters(part: ast.expr) -> Text:
    return str(part.value) if isinstance(part, ast.Constant) else [None]


def _plain(text: Text) -> str:
    return "".join(letter or "\0" for letter in text)


def letters_in_common(quoted: str, text: Text) -> int:
    """Return how many letters of ``quoted`` stand in ``text``, 0 where it is no piece of it."""
    known = dict.fromkeys(range(len(text)), 0)  # place in the text -> letters in common
    for letter in quoted:
        passed = {p + 1: n for p, n in known.items() if p + 1 < len(text) and text[p] is None}
        known = {
            p if text[p] is None else p + 1: n + (text[p] == letter)
            for p, n in sorted({**passed, **known}.items(), key=lambda place: place[1])
            if p < len(text) and text[p] in (letter, None)
        }
    return max(known.values(), default=0)


def quoted_messages() -> list[str]:
    page = (PROJECT / "docs/how-to.md").read_text(encoding="utf-8")
    tables = [rest.partition("\n\n")[0] for rest in page.split("| message | means |")[1:]]
    quoted = re.findall(r"^\| `(.+?)` \|", "\n".join(tables), re.MULTILINE)
    # The close match is another text of the program's.
    pieces = [piece for one in quoted for piece in one.partition("; did you")[0].split("…")]
    return [piece.strip() for piece in pieces if len(piece.strip()) >= PIECE]


@pytest.mark.parametrize("quoted", quoted_messages())
def test_a_message_that_the_how_to_explains_is_one_of_the_program_s(quoted: str) -> None:
    pieces = {quoted[i : i + PIECE] for i in range(len(quoted) - PIECE + 1)}
    likely = [text for text in texts_of_the_program() if any(map(_plain(text).count, pieces))]
    most = max((letters_in_common(quoted, text) for text in likely), default=0)
    assert most >= LEAST * len(quoted)


def test_the_tutorial_interrupts_a_run_of_the_demonstration_s_length() -> None:
    page = (PROJECT / "docs/tutorial.md").read_text(encoding="utf-8")
    file = PROJECT / "conf/base/sources/parameters_phantom.yml"
    steps = yaml.safe_load(file.read_text(encoding="utf-8"))["phantom"]["pretrain"]["steps"]
    assert re.findall(r"after step \d+ of (\d+)", page) == [str(steps)]


def parts_of_your_own() -> list[tuple[str, str]]:
    """Return title and first Python block of each section "A new ..."."""
    page = (PROJECT / "docs/how-to.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (A new \w+)\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    blocks = [
        (title, re.search(r'^```python\n(""".*?)^```', text, re.MULTILINE | re.DOTALL))
        for title, text in sections
    ]
    return [(title, block[1]) for title, block in blocks if block]


@pytest.mark.parametrize(
    ("title", "code"), [pytest.param(*one, id=one[0]) for one in parts_of_your_own()]
)
def test_a_part_of_your_own_as_the_how_to_writes_it_runs(title: str, code: str) -> None:
    names: dict[str, Any] = {"__name__": title.replace(" ", "_")}
    exec(compile(code, f"docs/how-to.md, {title}", "exec"), names)
    own = [
        kind
        for name, kind in names.items()
        if name.endswith("Config") and kind.__module__ == names["__name__"]
    ]
    assert own
    for config in own:
        assert is_dataclass(config)
        option_kinds(config)


@pytest.mark.parametrize(
    ("title", "registry", "config"),
    [
        ("A new policy", POLICIES, "RandomColumnsConfig"),
        ("A new objective", OBJECTIVES, "TurnsConfig"),
        ("A new encoder", ENCODERS, "TinyConfig"),
    ],
)
def test_a_part_of_your_own_as_the_how_to_writes_it_pre_trains(
    title: str,
    registry: dict[str, Any],
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: dict[str, Any] = {"__name__": title.replace(" ", "_")}
    exec(compile(dict(parts_of_your_own())[title], title, "exec"), names)
    monkeypatch.setitem(registry, "own", names[config])
    part = title.removeprefix("A new ")
    block = {**RANDOM_BOX, part: {"name": "own"}}
    if part == "objective":
        block["policy"] = {"name": "none"}
    found = pretrain(*make_store(tmp_path / "store"), make_run(tmp_path / "run", block))
    assert found.history["loss"].notna().all()
    assert len(found.history)
    assert found.encoder(torch.zeros(1, 1, 32, 32))


def snippet(page: str, title: str) -> str:
    """Return the first Python block of the section ``title``."""
    text = (PROJECT / page).read_text(encoding="utf-8").partition(f"\n## {title}\n")[2]
    found = re.search(r"^```python\n(.*?)^```", text.partition("\n## ")[0], re.M | re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("README.md", "Use the encoder"),
        ("docs/how-to.md", "The encoder in a script of your own"),
    ],
)
def test_the_encoder_is_used_as_the_pages_write_it(
    page: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = snippet(page, title)
    named = re.findall(r'"(data/[^"]+)"', code)
    assert [Path(path).suffix for path in named] == [".safetensors", ".png"]
    encoder = small_encoder()
    write_encoder(encoder, encoder.metadata, tmp_path / named[0])
    (tmp_path / named[1]).parent.mkdir(parents=True)
    save(scan(1), tmp_path / named[1])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": title}
    exec(compile(code, page, "exec"), names)
    assert names["features"].shape == (1, encoder.width)


def test_the_source_of_the_how_to_lists_a_miniature(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "numbered"}
    exec(dict(parts_of_your_own())["A new source"], names)
    source = choose({"numbered": names["NumberedConfig"]}, {"name": "numbered"}, "ingest")
    for name in ("malignant_p000017_2.png", "other.png"):
        save(scan(1), tmp_path / name)
    listing = source.listing(tmp_path)
    assert list(listing.images["label_diagnosis"]) == ["malignant"]
    assert [reject.reason for reject in listing.rejects] == ["missing_label"]
    assert source.reading == DEFAULT


def preprocess_rows(number: int) -> dict[str, str]:
    """Return the rows of one of the two tables of the block `preprocess`, by their options."""
    page = (PROJECT / "docs/sources.md").read_text(encoding="utf-8")
    section = page.partition("## What images become: the block `preprocess`\n")[2]
    table = section.partition("\n## ")[0].split("| option | default | means |\n")[number]
    rows = re.findall(r"^\| (`.+?) \|(.*)\|$", table, re.MULTILINE)
    return {name: row for names, row in rows for name in re.findall("`(.+?)`", names)}


def written(value: Any) -> str:
    """Return a default as YAML has it."""
    return yaml.safe_dump(value).removesuffix("\n...\n").strip()


@pytest.mark.parametrize(
    ("config", "table"), [(SourcePreprocessConfig, 1), (PreprocessConfig, 2)]
)
def test_every_option_of_preprocess_stands_in_the_page_with_its_default(
    config: Any, table: int
) -> None:
    rows, chosen = preprocess_rows(table), 0
    for option in fields(config):
        assert option.name in rows
        kind = option_kinds(config)[option.name]
        choices = [each for member in members(kind) for each in stated(member, Choice)]
        if option.default is not MISSING:
            default = option.default
            shown = f"{default:g}" if isinstance(default, float) else written(default)
            assert f" `{shown}` |" in rows[option.name]
        for choice in choices:
            for name, its in choice.choices().items():
                row = rows[f"{option.name}: {name}"]
                for inner in fields(its):
                    assert f"`{inner.name}" in row, (name, inner.name)
                    if inner.default is not MISSING:
                        assert written(inner.default) in row
                chosen += 1
    assert chosen == (7 if config is SourcePreprocessConfig else 0)


def test_the_guided_tour_leads_to_every_page() -> None:
    docs = PROJECT / "docs"
    tour = (docs / "README.md").read_text(encoding="utf-8")
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"README.md"}
    assert [page for page in sorted(pages) if f"({page}" not in tour] == []
