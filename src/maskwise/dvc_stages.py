"""DVC's stages for a source with recipes, seeds or fractions of its own.

``dvc.yaml`` takes one product, sources x recipes x seeds, for all that stands under
``reproduce``: its templates cannot look a list up by the name of a source. So such a source has
a file of its own, ``studies/<source>/dvc.yaml``: ``dvc.yaml`` with the source's name put in.
The lists stay in ``experiment.yml``, where both Kedro and DVC read them at every run. A source
without labels (``fractions: []``) has neither finetune nor evaluate, and another report. Where
a recipe asks another's agent for its map, DVC must know which is first: then the recipes of
``pretrain`` stand in the file, and it is to be written again when they change.
"""

import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import yaml
from kedro.utils import find_kedro_project

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError, hint
from maskwise.experiment import EXPERIMENT, read_studies
from maskwise.replicates import NEED_LABELS, Study

_LISTS = ("recipes", "seeds", "fractions")
_NOT_SHOWN = re.compile(
    r"^ *- data/\S+/"
    r"(store|models|predictions|scores\.json|paired\.csv|label_efficiency\.png"
    r"|study_\w+\.\w+|referee\.(json|html))\n",
    re.MULTILINE,
)
"""What the report of a source without labels neither reads nor writes."""
AFTER = "_after_"
"""``pretrain_after_a3c`` has the recipes that ask the agent of ``a3c``."""
_ENCODERS = "data/06_models/${{item.source}}/encoders/{recipe}/s${{item.seed}}"
_STAGE = re.compile(r"^  \w+:\n", re.MULTILINE)


def write_stages(project: Path, source: str) -> Path:
    """Write the file of ``source`` below ``project`` and return its path.

    Raises:
        UserError: if there is no such source, or if ``dvc.yaml`` makes it already.
    """
    studies = read_studies(project)
    if source not in studies:
        raise UserError(f"there is no source {source!r}; {hint(source, studies)}")
    block = yaml.safe_load((project / EXPERIMENT).read_text(encoding="utf-8"))["experiment"]
    if source in block["reproduce"]:
        raise UserError(f"{source}: stands under `reproduce`, so dvc.yaml makes it already")
    own = {key for key in block["sources"][source] or () if key in _LISTS}
    common = (project / "dvc.yaml").read_text(encoding="utf-8")
    path = project / "studies" / source / "dvc.yaml"
    with replacing(path) as temporary:
        temporary.write_text(stages(common, studies[source], own), encoding="utf-8")
    return path


def stages(common: str, study: Study, own: Collection[str]) -> str:
    """Return the text ``common`` of dvc.yaml for one source.

    Args:
        common: What is made of whatever stands under ``reproduce``.
        study: The source.
        own: Which lists it names itself: ``recipes``, ``seeds``, ``fractions``.
    """
    source = study.source
    _, head, body = common.partition("stages:\n")
    parts = [part for part in _parts(body) if study.generated or ".generated}" not in part]
    body = "".join(_in_order(parts if study.finetunes else _of_pretraining(parts), study))
    body = re.sub(r"\$\{experiment\.(reproduce|generated)\}", f"[{source}]", body)
    for key in own:
        body = re.sub(rf"\bexperiment\.{key}\b", f"experiment.sources.{source}.{key}", body)
    return (
        f"# dvc.yaml for {source} and its own lists in {EXPERIMENT}. Not to be edited:\n"
        f"# python -m maskwise.dvc_stages {source}\n"
        f"vars:\n  - ../../{EXPERIMENT}\n\n{head}{body}"
    )


def _parts(body: str) -> list[str]:
    """Return the text of each stage, told to run in the project's folder."""
    begins = [match.start() for match in _STAGE.finditer(body)]
    parts = [body[a:b] for a, b in zip(begins, [*begins[1:], len(body)], strict=True)]
    return [_STAGE.sub(lambda name: f"{name[0]}    wdir: ../..\n", part) for part in parts]


def _of_pretraining(parts: Iterable[str]) -> Iterator[str]:
    """Yield the stages that need no label; their report reads nothing that labels made."""
    for part in parts:
        name = part.partition(":")[0].strip()
        if name == "report":
            yield _NOT_SHOWN.sub("", part)
        elif name not in NEED_LABELS:
            yield part


def _in_order(parts: Iterable[str], study: Study) -> Iterator[str]:
    """Yield the stages, one more of ``pretrain`` for each recipe whose agent others ask."""
    for part in parts:
        if not study.needs or not part.startswith("  pretrain:\n"):
            yield part
            continue
        asked = dict.fromkeys(study.needs.values())
        yield _of_recipes(part, [name for name in study.recipes if name not in study.needs])
        for first in asked:
            after = [name for name, other in study.needs.items() if other == first]
            agent = _ENCODERS.format(recipe=first)
            yield (
                _of_recipes(part, after)
                .replace("  pretrain:\n", f"  pretrain{AFTER}{first}:\n", 1)
                .replace(
                    "    params:\n", f"      - {agent}/policy.safetensors\n    params:\n", 1
                )
            )


def _of_recipes(part: str, recipes: Iterable[str]) -> str:
    return part.replace("recipe: ${experiment.recipes}", f"recipe: [{', '.join(recipes)}]")


def main() -> None:
    """Write the file of the source that the command line names."""
    project = find_kedro_project(Path.cwd())
    if project is None or len(sys.argv) != 2:
        sys.exit("Run this inside the project's folder: python -m maskwise.dvc_stages SOURCE")
    try:
        path = write_stages(project, sys.argv[1]).relative_to(project)
    except UserError as error:
        sys.exit(str(error))
    print(f"{path}: commit it. dvc repro {path} makes its stages, dvc repro -P those of all.")  # noqa: T201


if __name__ == "__main__":
    main()
