"""Which layout lies in a folder: a published one, a table, a tree of DICOM files, a folder."""

from collections.abc import Iterable
from pathlib import Path

from maskwise.config import choose
from maskwise.errors import UserError, hint, listed
from maskwise.fingerprint.columns import Columns, advice, columns_of
from maskwise.fingerprint.contents import Contents, contents_of
from maskwise.fingerprint.contracts import Asked, Layout, Option, distance
from maskwise.fingerprint.folders import ASIDE, dicom_tree, image_folder
from maskwise.fingerprint.published import PUBLISHED, left_by, published
from maskwise.ingest.sources import SOURCES
from maskwise.scans.raw import check_raw
from maskwise.scans.tables import TABLES, read_rows
from maskwise.wording import count

MOST_TABLES = 20
"""That are looked into."""
_READ_BY_LAYOUT = ("image_folder", "table", "dicom_folder", "medmnist", *PUBLISHED)


def recognise(origin: Path, asked: Asked) -> Layout:
    """Return the layout of the scans at ``origin``: a folder, a table or an archive.

    Raises:
        UserError: in one sentence, if there is nothing, nothing that is read, more than one
            layout at once, or labels in names of files only.
    """
    if asked.layout is not None and asked.layout not in _READ_BY_LAYOUT:
        raise UserError(f"--as: {asked.layout!r}: {hint(asked.layout, _READ_BY_LAYOUT)}")
    raw, name = _placed(origin)
    if name is not None and name.lower().endswith(TABLES):
        return _named_table(contents_of(raw), name, asked)
    found = contents_of(raw)
    if name is not None:
        found = Contents(raw, (name,), (), frozenset(), (), (name,))
    if asked.layout == "dicom_folder":
        return _some(dicom_tree(found, asked), found, "DICOM file")
    if asked.layout == "image_folder":
        return image_folder(found, asked)
    if asked.layout == "table":
        return _some(_table(found, asked), found, "table whose column names its images")
    return _recognised(found, asked)


def _placed(origin: Path) -> tuple[Path, str | None]:
    """Return the folder, and the file in it that was named, if one was."""
    if any(part == "s3:" for part in origin.parts):
        raise UserError(
            "--from looks at files of this machine: copy some of the scans here, and name the "
            "bucket to the run, as in --params raw_root=s3://BUCKET/FOLDER"
        )
    if origin.is_file():
        if origin.name.lower().endswith((*TABLES, ".npz")):
            return origin.parent, origin.name
        raise UserError(
            f"{origin}: is neither a folder nor a table ({', '.join(TABLES)}) nor an .npz "
            "archive; point --from at the folder that holds the scans"
        )
    check_raw(origin, _beside(origin))
    return origin, None


def _beside(origin: Path) -> str:
    """Say what lies where ``origin`` does not, or what else could be meant."""
    if origin.exists():
        return "point --from at the folder that holds the scans"
    parent = next(folder for folder in origin.parents if folder.is_dir())
    missing = origin.relative_to(parent).parts[0]
    names = [path.name for path in parent.iterdir() if not path.name.startswith(".")]
    return f"check the spelling; in {parent.absolute()}, {hint(missing, names)}"


def _recognised(found: Contents, asked: Asked) -> Layout:
    known = published(found, asked)
    if asked.layout is not None:
        return _some(known[0] if known else None, found, f"layout of {asked.layout}")
    if known:
        _refuse_others(found, known)
        return known[0]
    table = _table(found, asked)
    if table is not None:
        _refuse_classes_beside(found, table, asked)
        return table
    others = len(found.images) - len(found.dicom)
    if found.dicom and others > ASIDE * len(found.images):
        raise UserError(
            f"{found.raw}: two layouts at once: {count(len(found.dicom), 'DICOM file')} and "
            f"{count(others, 'other image')}; point --from at a folder that holds the ones or "
            "the others, or say which with --as dicom_folder or --as image_folder"
        )
    tree = dicom_tree(found, asked) if found.dicom else None
    return tree or image_folder(found, asked)


def _some(layout: Layout | None, found: Contents, what: str) -> Layout:
    if layout is None:
        raise UserError(
            f"{found.raw}: --as: there is no {what} in it; leave --as out to see why"
        )
    return layout


def _refuse_others(found: Contents, known: list[Layout]) -> None:
    """Raise ``UserError`` unless one published layout explains nearly all images."""
    left = frozenset.intersection(*(left_by(layout, found) for layout in known))
    if len(known) == 1 and len(left) <= ASIDE * max(1, len(found.images)):
        return
    names = [layout.words for layout in known]
    if len(left) > ASIDE * len(found.images):
        names.append(f"{count(len(left), 'image')} of none of these, as {min(left)!r}")
    raise UserError(
        f"{found.raw}: {'two' if len(names) == 2 else len(names)} layouts at once: "
        f"{listed(names, 5)}; point --from at the folder of one of them"
    )


def _refuse_classes_beside(found: Contents, table: Layout, asked: Asked) -> None:
    try:
        folder = image_folder(found, asked)
    except UserError:  # whatever is wrong with the folders, the table says what is what
        return
    if folder.label is None:
        return
    raise UserError(
        f"{found.raw}: two layouts at once: {table.words}, and {folder.words}; say which with "
        "--as table or --as image_folder"
    )


def _table(found: Contents, asked: Asked) -> Layout | None:
    """Return the one table that names the images, if there is one."""
    layouts = []
    for name in found.tables[:MOST_TABLES]:
        try:
            layout = _tabled(found, name, asked)
        except UserError:  # a table of something else need not be readable
            continue
        if layout is not None:
            layouts.append(layout)
    if len(layouts) > 1:
        names = [str(layout.options[0].value) for layout in layouts]
        raise UserError(
            f"{found.raw}: {len(layouts)} tables name the scans ({listed(names, 5)}); point "
            "--from at one of them"
        )
    return layouts[0] if layouts else None


def _named_table(found: Contents, name: str, asked: Asked) -> Layout:
    layout = _tabled(found, name, asked)
    if layout is None:
        raise UserError(advice(read_rows(found.raw, name), name, str(found.raw)))
    return layout


def _tabled(found: Contents, name: str, asked: Asked) -> Layout | None:
    folder, _, bare = name.rpartition("/")
    inner = found.below(folder) if folder else found
    rows = read_rows(found.raw, name)
    choices = [(found, name)] + ([(inner, bare)] if folder else [])
    for place, table in choices:
        said = columns_of(rows, place.images, name, asked.label)
        if said is not None:
            return _of_columns(place, table, said, asked)
    return None


def _of_columns(found: Contents, table: str, said: Columns, asked: Asked) -> Layout:
    options = [
        Option("table", table, "In the raw folder."),
        Option("path", said.path, _names(said), _elsewhere(said)),
        *_label_options(said),
        *_further_options(said),
        distance(0 if asked.modality in ("ct", "mr") else 4, _why_distance(asked)),
    ]
    block = {"name": "table", **{option.key: option.value for option in options}}
    config = choose(SOURCES, {**block, "modality": asked.modality or "unknown"}, "table")
    unused = "" if said.label else " without a column of labels"
    return Layout(
        source="table",
        words=f"a table{unused}, {table}, that names {count(said.named, 'image')}",
        raw=found.raw,
        options=tuple(options),
        config=config,
        listing=config.listing(found.raw),
        label="diagnosis" if said.label else None,
        patients=f"the column {said.patient!r}" if said.patient else "",
    )


def _names(said: Columns) -> str:
    what = "Made of a column" if "{" in said.path else "The column of paths"
    return f"{what}, relative to the raw folder; {count(said.named, 'row')} lead to a file."


def _elsewhere(said: Columns) -> str:
    if not said.elsewhere:
        return ""
    return (
        f"{count(said.elsewhere, 'row')} would fit files of other folders as well: is this the "
        "folder of the scans? A column of paths leaves no doubt"
    )


def _label_options(said: Columns) -> Iterable[Option]:
    if said.label is None:
        return
    doubts = []
    if said.others:
        doubts.append(f"should another be learnt: {listed(said.others, 10)}?")
    if all(name.isdigit() for name in said.classes):
        doubts.append(
            "what do the numbers mean? `classes: {diagnosis: {0: none, 1: disease}}` names them"
        )
    if any("|" in name for name in said.classes):
        doubts.append("cells with | hold several labels, which the task multilabel learns")
    # Values are counted and not named: Git keeps the file, and a value may be a name.
    rarest = count(min(said.classes.values(), default=0), "row")
    classes = count(len(said.classes), "class", "classes")
    reason = f"Our name: column; {classes}, the rarest with {rarest}."
    yield Option("labels", {"diagnosis": said.label}, reason, " ".join(doubts))


def _further_options(said: Columns) -> Iterable[Option]:
    if said.patient is None:
        yield Option(
            "patient",
            None,
            "No column is called like one of patients.",
            "images of one patient may train and test, which makes every score too good; name "
            "the column if there is one",
        )
    else:
        doubt = (
            f"{listed(said.patients, 5)} could be it too: which of them names people?"
            if said.patients
            else ""
        )
        yield Option("patient", said.patient, "The column of patients, by its name.", doubt)
    if said.masks is not None:
        yield Option("masks", said.masks, "The column of masks: its cells name files as well.")
    if said.split is not None:
        yield Option("split", said.split, "The column of an official split.")


def _why_distance(asked: Asked) -> str:
    if asked.modality in ("ct", "mr"):
        return "0, because slices of different people look alike."
    return "4 finds copies that were scaled or stored anew."
