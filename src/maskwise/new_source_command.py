"""`kedro new-source`: from a folder of scans to the options of a source, with reasons."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from kedro.framework.startup import ProjectMetadata

from maskwise.errors import UserError
from maskwise.experiment import EXPERIMENT, read_studies, studies_of
from maskwise.replicates import RAW_ROOT, Study
from maskwise.session import check_files, telling

if TYPE_CHECKING:
    from maskwise.fingerprint.contracts import Fingerprint, Proposal
    from maskwise.fingerprint.document import Doubt

SOURCES = Path("conf/base/sources")
RECIPES = Path("conf/base/recipes")
WAITS = "Another new-source is at work on conf/base; this one waits for its end."
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@click.command("new-source")
@click.argument("name")
@click.option(
    "--from",
    "origin",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the scans, a table that names them, or an .npz archive.",
)
@click.option(
    "--as", "layout", default=None, help="Which source reads it, if that is in doubt."
)
@click.option("--modality", default=None, help="ultrasound, mr, ct, xray: if no file says it.")
@click.option("--label", default=None, help="Column of a table that is to be learnt.")
@click.option("--dry", is_flag=True, help="Print what would be written, and write nothing.")
@click.pass_obj
def new_source(
    metadata: ProjectMetadata,
    name: str,
    origin: Path,
    layout: str | None,
    modality: str | None,
    label: str | None,
    dry: bool,
) -> None:
    """Look at scans and write the options of a source NAME that reads them.

    It writes conf/base/sources/parameters_NAME.yml, every line with its reason, and adds NAME
    to conf/base/experiment.yml. What cannot be known from the files is marked TO CHECK there,
    and said here.
    """
    with telling():
        project = Path(metadata.project_path)
        check_files(project / "conf", ("base", "local"))
        check_name(name, project)
        from maskwise.fingerprint.contracts import Asked
        from maskwise.fingerprint.document import as_yaml
        from maskwise.fingerprint.fingerprint import take_fingerprint
        from maskwise.fingerprint.machine import this_machine
        from maskwise.fingerprint.proposal import propose

        check_modality(modality)
        found = take_fingerprint(origin.absolute(), Asked(layout, modality, label))
        proposal = propose(found, this_machine(), modality)
        text, doubts = as_yaml(name, proposal, _head(found))
        study = add(project, name, text, proposal, dry)
        if dry:
            click.echo(text)
            click.echo("\n".join(_entry(name, proposal)))
        for line in [
            *report(name, found, doubts, project, dry),
            *offers(found, study, project),
        ]:
            click.echo(line)


def check_name(name: str, project: Path) -> None:
    """Raise ``UserError`` unless a source may be called so, and none is yet."""
    from maskwise.pipelines.parsing import STAGE_BLOCKS

    if not _NAME.match(name):
        raise UserError(
            f"new-source: {name!r} should begin with a letter and hold only a-z, 0-9 and '_'"
        )
    file = SOURCES / f"parameters_{name}.yml"
    if name in read_studies(project) or (project / file).exists():
        raise UserError(
            f"new-source: there is a source {name!r} already ({file}); choose another name, or "
            "delete that file and its entry in conf/base/experiment.yml first"
        )
    recipe = (project / RECIPES / f"parameters_{name}.yml").exists()
    if recipe or name in {*STAGE_BLOCKS, "experiment", RAW_ROOT}:
        what = "recipe" if recipe else "stage or an option"
        raise UserError(f"new-source: {name!r} is the name of a {what}; choose another")


def check_modality(modality: str | None) -> None:
    """Raise ``UserError`` unless the modality is one that preprocess knows."""
    from maskwise.errors import hint
    from maskwise.preprocess.config import MODALITIES

    if modality is not None and modality not in MODALITIES:
        raise UserError(f"--modality: {modality!r}: {hint(modality, MODALITIES)}")


def add(project: Path, name: str, text: str, proposal: "Proposal", dry: bool) -> Study:
    """Check and, unless ``dry``, write the source: one command at a time, or one loses its own.

    Returns:
        The source with its recipes and seeds.

    Raises:
        UserError: naming what is wrong; then nothing is written.
    """
    from maskwise.artefacts.atomic import alone_in
    from maskwise.fingerprint.experiment import with_source

    path = project / EXPERIMENT
    with alone_in(path.parent, partial(click.echo, WAITS, err=True)):
        experiment = path.read_bytes().decode("utf-8")  # with its own line endings
        extended = with_source(experiment, name, proposal.experiment, proposal.why)
        study = check(project, name, text, extended)
        if not dry:
            write(project, name, text, extended)
    return study


def check(project: Path, name: str, text: str, experiment: str) -> Study:
    """Put what is to be written through the checks that every run begins with.

    Returns:
        The source with its recipes and seeds.

    Raises:
        UserError: naming what is wrong; then nothing is written.
    """
    from maskwise import checks
    from maskwise.study_command import Asked, context_of

    block = yaml.safe_load(experiment)["experiment"]
    study = studies_of(block, project)[name]
    given = context_of(Asked(project, None, "")).params
    names = checks.names_in_files(project / "conf", ("base", "local"))
    known = replace(names, sources=names.sources | {name})
    parameters: Mapping[str, Any] = {**given, **yaml.safe_load(text), "experiment": block}
    checks.check_parameters(parameters, [study], known)
    return study


def write(project: Path, name: str, text: str, experiment: str) -> None:
    """Write both files, or neither."""
    from maskwise.artefacts.atomic import replacing

    path = project / SOURCES / f"parameters_{name}.yml"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        with replacing(project / EXPERIMENT) as temporary:
            temporary.write_bytes(experiment.encode("utf-8"))
    except BaseException:  # Ctrl-C as well: no options without their entry
        path.unlink()
        raise


def report(
    name: str, found: "Fingerprint", doubts: tuple["Doubt", ...], project: Path, dry: bool
) -> Iterator[str]:
    """Yield what was found, what could not be known, and what comes next."""
    from maskwise.fingerprint.published import PUBLISHED
    from maskwise.fingerprint.words import lines, remarks

    for heading, said in lines(found):
        yield f"{heading + ':':10}{said}"
    for said in remarks(found):
        yield f"Note: {said}"
    shipped = found.layout.source
    if shipped in read_studies(project) and shipped in PUBLISHED:
        yield f"Note: the source {shipped!r} reads this layout too, with options of its own."
    file = SOURCES / f"parameters_{name}.yml"
    if dry:
        yield f"Nothing was written. Without --dry: {file}, and an entry in {EXPERIMENT}."
    else:
        yield f"Written: {file}, and an entry in {EXPERIMENT}."
    if doubts:
        yield f"To check, for no file says it (lines of {file}):"
        for line, key, question in doubts:
            yield f"  line {line}, {key}: {question}"


def offers(found: "Fingerprint", study: Study, project: Path) -> Iterator[str]:
    """Yield the commands that come next: the data, one network, everything, new scans."""
    from maskwise.fingerprint.words import needs_grey

    name, raw = study.source, found.layout.raw
    run, folder = f"  kedro run --pipelines {name}", raw_option(raw, name, project)
    # The first is often the network that is not pre-trained.
    recipe = study.recipes[min(1, len(study.recipes) - 1)]
    yield "Next, to look at the data alone:"
    yield f"{run} --tags ingest,preprocess{folder}"
    yield "to train one network, and then all of them, with a report:"
    stages = "pretrain,finetune" if study.finetunes else "pretrain"
    yield f"{run} --tags {stages} --namespaces {recipe}.s{study.seeds[0]}"
    yield f"{run}{folder}"
    if study.finetunes:
        model = f"data/06_models/{name}/models/{recipe}/s{study.seeds[0]}/best.safetensors"
        grey = ",predict.colour=grey" if needs_grey(found) else ""
        yield "and to predict scans that nobody has labelled:"
        yield (
            f"  kedro run --pipelines predict --params "
            f"predict.model={model},predict.scans=FOLDER{grey}"
        )


def raw_option(raw: Path, name: str, project: Path) -> str:
    """Return how a run is told where the scans lie; empty where it looks anyway."""
    project = project.resolve()
    raw = raw.resolve()
    if raw == project / "data/01_raw" / name:
        return ""
    typed = str(raw.relative_to(project)) if raw.is_relative_to(project) else str(raw)
    quoted = f'"{typed}"' if "," in typed else typed
    return f" --params {shlex.quote(f'{RAW_ROOT}={quoted}')}"


def _head(found: "Fingerprint") -> str:
    from maskwise.fingerprint.contracts import TO_CHECK

    layout = found.layout.words
    return (
        f"{layout[0].upper()}{layout[1:]}. Written by `kedro new-source` from what lies there; "
        f"after {TO_CHECK} stands what no file says."
    )


def _entry(name: str, proposal: "Proposal") -> list[str]:
    from maskwise.fingerprint.document import comment, entry

    return [
        f"# In {EXPERIMENT}, under `sources`:",
        *comment(proposal.why, 4),
        *entry(name, dict(proposal.experiment), 4),
        "",
    ]
