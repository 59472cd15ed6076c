"""What the network filled in, beside two answers that need no network."""

import pandas as pd

from maskwise.report.elements import Cell, Element, Paragraph, Pictures, Section, Table
from maskwise.report.figures import reconstructions
from maskwise.report.formatting import number
from maskwise.report.pictures import Picture, as_png
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.sections.agent import pairs
from maskwise.wording import count

_ERRORS = ("error", "error_mean_image", "error_smooth_fill")


def build(facts: PretrainingFacts) -> Section:
    """Show the fillings and their errors."""
    title = "Reconstructions"
    drawn = [Pictures(found) for name in facts.masking if (found := _pictures(facts, name))]
    rows = [row for name in facts.masking for row in _rows(facts, name)]
    if not drawn and not rows:
        text = "No recipe of this page fills anything in."
        return Section("reconstructions", title, [Paragraph(text)])
    elements: list[Element] = [
        Paragraph(
            "A network that fills in a hidden box should beat two answers that know nothing "
            "of the image's content: the mean of all training images, and a smooth filling "
            "from the hole's border. Where it does not, it has not learnt anatomy yet. The "
            "fillings are drawn as they came out; nothing of the hidden part helped to draw "
            "them."
        )
    ]
    if rows:
        head = (
            "recipe",
            "seed",
            "epoch",
            "network",
            "mean image",
            "smooth filling",
            "network / better of the two",
        )
        caption = (
            "Mean squared error inside the hidden cells (1 = variance of the training pixels)"
        )
        elements.append(Table(caption, head, rows))
    return Section("reconstructions", title, [*elements, *drawn])


def _rows(facts: PretrainingFacts, name: str) -> list[tuple[str | Cell, ...]]:
    rows: list[tuple[str | Cell, ...]] = []
    for seed, history in facts.histories(name).items():
        measured = _measured(history)
        if measured.empty:
            continue
        last = measured.iloc[-1]
        error, mean_image, smooth = (float(last[column]) for column in _ERRORS)
        rows.append(
            (
                Cell(facts.title(name), style=facts.styles[name]),
                str(seed),
                f"{int(last['epoch'])}",
                number(error),
                number(mean_image),
                number(smooth),
                number(error / min(mean_image, smooth), 2),
            )
        )
    return rows


def _measured(history: pd.DataFrame) -> pd.DataFrame:
    if not set(_ERRORS) <= set(history.columns):
        return history.iloc[:0]
    return history.dropna(subset=list(_ERRORS))


def _pictures(facts: PretrainingFacts, name: str) -> list[Picture]:
    found = facts.gallery(name)
    if found is None or not found[1].reconstructions.size or not found[1].masks.size:
        return []
    seed, gallery = found
    moment = len(gallery.epochs) - 1
    epoch, title = gallery.epochs[moment], facts.title(name)
    return [
        as_png(
            reconstructions.draw(gallery, moment, images),
            f"{count(len(images), 'validation scan')} with a hidden part, what {title} filled "
            f"in at epoch {epoch}, and by how much it was wrong.",
            f"{title}, seed {seed}, epoch {epoch}: bright on the right is what was missed.",
        )
        for images in pairs(gallery, facts.config.images)
    ]
