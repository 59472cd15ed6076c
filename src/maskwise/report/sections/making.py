"""How the page was made, and how to make it again."""

from collections.abc import Sequence

from maskwise import __version__
from maskwise.report.elements import Commands, Element, Files, Paragraph, Section
from maskwise.report.facts import Facts
from maskwise.report.formatting import listing
from maskwise.report.pretraining_facts import PretrainingFacts


def build(facts: Facts) -> Section:
    """Name version, seeds and commands."""
    scores = (
        f"kedro run --pipelines {facts.inputs.source} --tags evaluate   # scores alone, "
        "nothing retrained"
    )
    beside = Files(
        [
            (
                "referee.html",
                "what a referee asks of one recipe: thresholds, calibration, subgroups, "
                "errors, and which item of CLAIM, TRIPOD+AI and MI-CLAIM is answered where",
            )
        ]
    )
    return _section(facts, facts.words.artefacts, [scores], [beside])


def build_pretraining(facts: PretrainingFacts) -> Section:
    """Name the same of a study that stops after pre-training."""
    return _section(facts, "history.csv and gallery.npz", [])


def _section(
    facts: PretrainingFacts,
    artefacts: str,
    scores: list[str],
    beside: Sequence[Element] = (),
) -> Section:
    source = facts.inputs.source
    raw = "" if facts.inputs.generated else " --params raw_root=<folder of the raw files>"
    seeds = listing(str(seed) for seed in facts.seeds)
    text = (
        f"Maskwise {__version__}; seeds {seeds}. The page holds no date and no name of a "
        "machine, so that the same inputs give the same file; commit, machine, speed and "
        "memory of each step stand in run.json beside its output. Every figure here is "
        f"computed from {artefacts} of the runs."
    )
    again = (
        "Pre-training used reproducible kernels (pretrain.deterministic), so that the same "
        "machine gives the same weights bit for bit, with a GPU too."
        if facts.inputs.deterministic
        else "Pre-training used the fast kernels: run again on a CPU it gives the same weights "
        "bit for bit, on a GPU it differs in the last digits (pretrain.deterministic: true "
        "asks for reproducible kernels)."
    )
    commands = Commands(
        [
            f"kedro run --pipelines {source}{raw}",
            *scores,
            f"kedro run --pipelines {source} --tags report     # this page alone",
        ]
    )
    return Section(
        "making", "How this was made", [Paragraph(f"{text} {again}"), commands, *beside]
    )
