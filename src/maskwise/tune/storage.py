"""The study's database: kept apart from another study's, with signs of life of its trials."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from maskwise.artefacts.atomic import explained
from maskwise.errors import UserError, shown
from maskwise.tune.config import TuneConfig
from maskwise.tune.two_pruners import TwoPruners

FILE = "study.db"
"""Of a study without a storage of its own, in its folder."""
SECONDS_TO_WAIT = 60
"""For SQLite, which lets one worker write at a time."""
UNREADABLE = "what stands there"
"""In place of an address of which nobody knows where its password ends."""
DEATHS = "deaths"
"""Attribute of a trial: how often a process of it died, the trials before it included."""
SPACE = "space"
"""Attribute of a study: what it searches, and what its scores are of."""


def open_study(config: TuneConfig, folder: Path, name: str, facts: Mapping[str, Any]) -> Study:
    """Open the study, or make it.

    Args:
        config: the options.
        folder: of the study's own; without a ``storage`` the database is made there.
        name: of the study, unless the options name one.
        facts: what it searches and what its scores are of, as JSON has it; a study with trials
            that says otherwise is another one.

    Raises:
        UserError: if the storage cannot be reached, or holds a study by that name that
            says otherwise.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we say it ourselves
    url = url_of(config, folder)
    name = config.study or name
    lock = FileLock(folder / "storage.lock")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # Two workers that make SQLite's tables at once would meet in the middle of it.
    with lock, quietly(), reached(url):
        study = optuna.create_study(
            storage=_storage(url, config),
            sampler=config.sampler.build(),
            pruner=TwoPruners(config.prune_epochs.build(), config.prune_seeds.build()),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        _check_same(study, facts, hidden(url))
    return study


def url_of(config: TuneConfig, folder: Path) -> str:
    """Return the address of the study's database."""
    return config.storage or f"sqlite:///{folder / FILE}"


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Say in words what went wrong with the database in the block.

    Raises:
        UserError: if it could not be reached, or went away.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _unreachable(url, error) from None
    except UnboundLocalError as error:
        # Optuna 5.0 trips over its own variable where the database fails at a trial's end.
        before = error.__context__
        if not isinstance(before, SQLAlchemyError | StorageInternalError):
            raise
        raise _unreachable(url, before) from None


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out what Optuna says of experiments: versions are pinned, and tests look."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _storage(url: str, config: TuneConfig) -> RDBStorage:
    options: dict[str, Any] = {}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": SECONDS_TO_WAIT}
    else:
        options["pool_pre_ping"] = True  # an epoch is long, and servers close idle connections
    try:
        return RDBStorage(
            url,
            engine_kwargs=options,
            heartbeat_interval=config.heartbeat,
            grace_period=config.grace,
            heartbeat_stale_trial_callback=retrying(config),
        )
    except ImportError as error:
        raise UserError(
            f"tune.storage: {hidden(url)} needs a driver that is not installed "
            f"({error.name or error}); install it, as with pip install psycopg2-binary for "
            "PostgreSQL or pip install PyMySQL for MySQL"
        ) from None
    except ArgumentError:
        raise UserError(
            f"tune.storage: {hidden(url)} is no address of a database; write one as in "
            "sqlite:///path/to/study.db or postgresql://user@host/database"
        ) from None
    except Exception as error:  # each driver has errors of its own
        raise _unreachable(url, error) from None


def retrying(config: TuneConfig) -> Callable[[Study, FrozenTrial], None]:
    """Return what puts a dead trial's values back into the queue, ``retries`` times."""

    # Optuna's own count is of everything that ended the trial, Ctrl-C included.
    def retry(study: Study, trial: FrozenTrial) -> None:
        deaths = trial.user_attrs.get(DEATHS, 0) + 1
        if deaths <= config.retries:
            trial.user_attrs[DEATHS] = deaths
            queue_again(study, trial)

    return retry


def queue_again(study: Study, trial: FrozenTrial) -> None:
    """Put a trial's values back into the queue, with its attributes; ``trial`` is a copy."""
    with quietly():
        RetryHeartbeatStaleTrialCallback()(study, trial)


def _unreachable(url: str, error: Exception) -> UserError:
    first = str(getattr(error, "orig", None) or error.__cause__ or error).strip()
    said = first.splitlines()[0] if first else type(error).__name__
    # What was misread as the host may be part of the password, and drivers name the host.
    why = "" if hidden(url) == UNREADABLE else f" ({said})"
    return UserError(
        f"tune.storage: {hidden(url)} cannot be reached{why}; start the database, or correct "
        "the address, in which @, : and / of a password are written as %40, %3A and %2F"
    )


def hidden(url: str) -> str:
    """Return the address without what may be a password; ``UNREADABLE`` in doubt."""
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        return UNREADABLE
    if read.host is not None and "@" in f"{read.host}{read.database}":
        return UNREADABLE
    return read.set(query={}).render_as_string(hide_password=True)


def _check_same(study: Study, facts: Mapping[str, Any], where: str) -> None:
    """Mark a study without a trial with ``facts``; refuse one that was marked with others."""
    known = study.user_attrs.get(SPACE)
    if known is None or not study.get_trials(deepcopy=False):
        study.set_user_attr(SPACE, dict(facts))
        return
    differs = next(_differences(known, facts), None)
    if differs is not None:
        raise UserError(
            f"tune.study: {shown(study.study_name)} in {where} has trials, and differs in its "
            f"{differs}, so that they tell nothing about these; name a new one with "
            "tune.study, or go back to what it was"
        )


def _differences(known: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        before = known.get(key)
        if before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            names = [
                name for name in {**before, **value} if before.get(name) != value.get(name)
            ]
            yield f"{key} ({names[0]})"
        else:
            yield f"{key} ({shown(before)}, not {shown(value)})"
