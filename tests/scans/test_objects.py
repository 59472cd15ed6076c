"""Scans in a bucket: what arrives, what stays on the disk, and what goes wrong on the way."""

import fcntl
import json
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from maskwise.datasets import RawFolder
from maskwise.errors import UserError
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import IngestConfig, ingest
from maskwise.pipelines.ingest import ingest as ingest_node
from maskwise.pipelines.preprocess import preprocess as preprocess_node
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.scans.bucket import Bucket, Object
from maskwise.scans.object_folder import alone, arriving
from maskwise.scans.objects import (
    GIGABYTE,
    Keeping,
    _checked,
    bring_folder,
    folder_of,
    in_turn,
)
from maskwise.scans.raw import head_of, locate, looks_like_image, walk
from scans.bucket_reader import reads_in_a_process
from scans.bucket_server import BreakingLine, BucketServer, environment, served
from sources import image_folder

pytest.importorskip("moto", reason="a server that speaks S3 is tested with moto")
pytest.importorskip("s3fs", reason="buckets are read with s3fs")

FILES = {
    "benign/a 1.png": b"a" * 100,
    "benign/ü.png": b"b" * 200,
    "malignant/c.png": b"c" * 300,
    "table.csv": b"path,diagnosis\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with served() as running:
        yield running


@pytest.fixture(autouse=True)
def _led_to_the_server(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(server.port).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def url(server: BucketServer, request: pytest.FixtureRequest) -> str:
    """Return a bucket of this test's own."""
    number = abs(hash(request.node.name)) % 10**9
    return server.put_all(f"scans-{number}", FILES)


def name_of(url: str) -> str:
    return url.removeprefix("s3://")


def contents(folder: Path) -> dict[str, bytes]:
    """Return what whoever walks the folder reads in it."""
    return {path: locate(folder, path).read_bytes() for path in walk(folder)[0]}


def on_the_disk(folder: Path) -> int:
    """Return the bytes of objects that lie there."""
    hidden = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in hidden if not path.name.startswith("."))


def bounded(folder: Path, most_bytes: int) -> Keeping:
    return Keeping(folder, most_bytes)


@pytest.mark.parametrize("most_bytes", [None, 350])
def test_a_bucket_reads_like_the_folder_that_was_uploaded(
    url: str, tmp_path: Path, most_bytes: int | None
) -> None:
    folder = bring_folder(url, Keeping(tmp_path, most_bytes))
    assert contents(folder) == FILES


def test_a_raw_root_below_the_top_of_a_bucket_holds_what_lies_below_it(
    url: str, tmp_path: Path
) -> None:
    folder = bring_folder(f"{url}/benign/", Keeping(tmp_path))
    assert sorted(contents(folder)) == ["a 1.png", "ü.png"]


def test_the_catalog_loads_a_bucket_as_a_folder(url: str, tmp_path: Path) -> None:
    raw = RawFolder(url, objects={"path": str(tmp_path), "gigabytes": None})
    assert raw.exists()
    assert contents(raw.load()) == FILES


def test_an_object_that_did_not_change_does_not_come_again(url: str, tmp_path: Path) -> None:
    folder = bring_folder(url, Keeping(tmp_path))
    (folder / "table.csv").write_bytes(b"as it was brought")
    bring_folder(url, Keeping(tmp_path))
    assert (folder / "table.csv").read_bytes() == b"as it was brought"


def test_what_changed_in_the_bucket_comes_anew_and_what_is_gone_goes(
    server: BucketServer, url: str, tmp_path: Path
) -> None:
    folder = bring_folder(url, Keeping(tmp_path))
    server.put(name_of(url), "table.csv", b"other")
    server.remove(name_of(url), "malignant/c.png")
    server.put(name_of(url), "new.png", b"new")
    bring_folder(url, Keeping(tmp_path))
    left = {path: content for path, content in FILES.items() if path != "malignant/c.png"}
    assert contents(folder) == {**left, "table.csv": b"other", "new.png": b"new"}


def test_a_bounded_folder_never_holds_more_than_its_bound(
    server: BucketServer, tmp_path: Path
) -> None:
    files = {f"{number:02d}.png": bytes([number]) * 100 for number in range(30)}
    folder = bring_folder(server.put_all("bounded", files), bounded(tmp_path, 1000))
    held: list[int] = []
    read: list[bytes] = []

    def work(chunks: Iterable[Sequence[str]]) -> Iterator[None]:
        waiting: list[Sequence[str]] = []
        for chunk in chunks:
            held.append(on_the_disk(folder))
            waiting.append(chunk)
            if len(waiting) == 3:  # as a pool does, which is handed more than it has answered
                read.extend((folder / path).read_bytes() for path in waiting.pop(0))
                yield None
        for chunk in waiting:
            read.extend((folder / path).read_bytes() for path in chunk)
            yield None

    names = sorted(files)
    chunks = [names[start : start + 3] for start in range(0, 30, 3)]
    assert len(list(in_turn(folder, chunks, lambda path: [path], work))) == 10
    assert read == [files[name] for name in names]
    assert 300 <= max(held) <= 1000


def test_ingest_and_preprocess_read_a_bucket_that_is_larger_than_the_disk(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = image_folder.write(tmp_path / "raw")
    files = {path: (raw / path).read_bytes() for path in walk(raw)[0]}
    url = server.put_all("larger", files)
    bound = sum(map(len, files.values())) * 3 // 4
    monkeypatch.setattr("maskwise.ingest.stage.CHUNK", 1)
    monkeypatch.setattr("maskwise.preprocess.stage.CHUNK", 1)

    def made(folder: Path, name: str) -> tuple[pd.DataFrame, dict[str, bytes]]:
        ingested = ingest(folder, ImageFolderConfig(), IngestConfig(workers=1), "x")
        source = SourcePreprocessConfig(16, 16, label="diagnosis")
        one = PreprocessConfig(workers=1)
        preprocess(folder, ingested.manifest, source, one, "x").write_store(tmp_path / name)
        store = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        return ingested.manifest, store

    folder = bring_folder(url, bounded(tmp_path / "cache", bound))
    manifest, store = made(folder, "of the bucket")
    assert 0 < on_the_disk(folder) <= bound
    as_uploaded = made(raw, "of the folder")
    pd.testing.assert_frame_equal(manifest, as_uploaded[0])
    assert store == as_uploaded[1]


def test_a_plain_folder_is_read_without_any_of_this(tmp_path: Path) -> None:
    chunks = [["a"], ["b"]]
    assert list(in_turn(tmp_path, chunks, lambda path: [path], iter)) == chunks


def written_by_a_stranger(folder: Path, url: str, path: str) -> None:
    """Let a folder claim that it is one of a bucket, and holds the object ``path``."""
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    rows = [Object(name, 5, '"x"') for name in (path, "a.png")]
    listed = pd.DataFrame(rows, columns=list(Object._fields))
    listed.to_parquet(folder / ".objects.parquet", index=False)
    facts = {"url": url, "most_bytes": 1}
    (folder / ".bucket.json").write_text(json.dumps(facts), encoding="utf-8")


def test_raw_files_that_claim_to_be_of_a_bucket_are_files_and_nothing_is_written(
    url: str, tmp_path: Path
) -> None:
    raw, precious = tmp_path / "raw", tmp_path / "thesis.txt"
    written_by_a_stranger(raw, url, "../thesis.txt")
    precious.write_text("years of work", encoding="utf-8")
    (raw / ".lock").symlink_to(precious)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for opened in (raw, RawFolder(str(raw)).load()):
        assert head_of(opened, "a.png") == locate(opened, "a.png").read_bytes() == b""
        assert list(in_turn(opened, [["a.png"]], lambda path: [path], iter)) == [["a.png"]]
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert precious.read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "../../thesis.txt",
            r"'\.\./\.\./thesis\.txt' is no path in this folder; del",
        ),
        (
            "away/thesis.txt",
            r"away: is reached by a link, but what is kept of a bucket has",
        ),
    ],
)
def test_a_kept_folder_of_another_person_empties_nothing_outside_it(
    url: str, tmp_path: Path, path: str, told: str
) -> None:
    kept, precious = folder_of(url, tmp_path / "kept"), tmp_path / "thesis.txt"
    written_by_a_stranger(kept, url, path)
    (kept / "away").symlink_to(tmp_path)
    precious.write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match=told):
        bring_folder(url, Keeping(tmp_path / "kept"))
    assert precious.read_text(encoding="utf-8") == "years of work"


def test_the_lock_of_a_kept_folder_is_not_written_through_a_link(
    url: str, tmp_path: Path
) -> None:
    kept, precious = folder_of(url, tmp_path / "kept"), tmp_path / "thesis.txt"
    kept.mkdir(parents=True)
    (kept / ".lock").symlink_to(precious)
    with pytest.raises(UserError, match=r"cannot be written"):
        bring_folder(url, Keeping(tmp_path / "kept"))
    assert not precious.exists()


def test_half_arrived_objects_are_not_sought_through_a_link(url: str, tmp_path: Path) -> None:
    kept, precious = folder_of(url, tmp_path / "kept"), tmp_path / "thesis.txt"
    kept.mkdir(parents=True)
    (kept / ".arriving").symlink_to(tmp_path)
    precious.write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match=r"\.arriving: is reached by a link"):
        bring_folder(url, Keeping(tmp_path / "kept"))
    assert precious.read_text(encoding="utf-8") == "years of work"


def test_what_a_killed_run_left_half_arrived_goes_and_what_arrives_now_stays(
    url: str, tmp_path: Path
) -> None:
    folder = bring_folder(url, Keeping(tmp_path))
    (folder / ".arriving" / "tmpleft").write_bytes(b"half an object")
    with arriving(folder) as coming:
        bring_folder(url, Keeping(tmp_path))
        assert list((folder / ".arriving").iterdir()) == [coming]


SCANS = ["benign/a 1.png", "benign/ü.png", "malignant/c.png"]


def test_a_worker_process_brings_what_it_lacks_and_removes_nothing(
    url: str, tmp_path: Path
) -> None:
    keeping = bounded(tmp_path, 350)
    folder = bring_folder(url, keeping)
    locate(folder, SCANS[0])  # from here on no other run may remove anything
    reads_in_a_process(folder, keeping, SCANS)
    assert on_the_disk(folder) == 600


def test_a_process_of_a_runner_removes_what_it_read(url: str, tmp_path: Path) -> None:
    keeping = bounded(tmp_path, 350)
    reads_in_a_process(url, keeping, SCANS)
    assert on_the_disk(folder_of(url, tmp_path)) == 300


@pytest.mark.parametrize("stage", ["ingest", "preprocess"])
def test_a_node_leaves_the_folder_to_other_runs_when_its_outputs_are_saved(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    folder = bring_folder(url, bounded(tmp_path, 1000))
    results = ("manifest", "rejects", "summary", "figure", "write_store", "splits")
    made = SimpleNamespace(**dict.fromkeys(results))

    def read_one(raw: Path, *_: object) -> SimpleNamespace:
        locate(raw, "table.csv")
        return made

    monkeypatch.setattr(f"maskwise.{stage}.stage.{stage}", read_one)
    for name in (stage, f"{stage}_source"):
        monkeypatch.setattr(f"maskwise.pipelines.parsing.{name}", lambda *_: None)
    nodes = {
        "ingest": lambda: ingest_node(folder, {}, {}, source="x"),
        "preprocess": lambda: preprocess_node(folder, None, {}, {}, source="x"),
    }
    for _ in nodes[stage]():
        with pytest.raises(UserError, match="another run is bringing objects"):
            alone(folder)
    alone(folder).close()


def test_bringing_a_second_bucket_leaves_the_first_as_it_is(
    server: BucketServer, url: str, tmp_path: Path
) -> None:
    first = bring_folder(url, bounded(tmp_path, 350))

    def work(chunks: Iterable[Sequence[str]]) -> Iterator[list[bytes]]:
        for chunk in chunks:
            bring_folder(server.put_all("beside", {"x.png": b"x"}), bounded(tmp_path, 350))
            assert locate(first, "table.csv").read_bytes() == FILES["table.csv"]
            yield [locate(first, path).read_bytes() for path in chunk]

    answers = in_turn(first, [[path] for path in SCANS], lambda path: [path], work)
    assert list(answers) == [[FILES[path]] for path in SCANS]


@pytest.mark.parametrize("most_bytes", [None, 350])
def test_what_was_deleted_of_the_folder_comes_again(
    url: str, tmp_path: Path, most_bytes: int | None
) -> None:
    folder = bring_folder(url, Keeping(tmp_path, most_bytes))
    assert contents(folder) == FILES
    shutil.rmtree(folder / "benign")
    (folder / "table.csv").unlink()
    assert contents(bring_folder(url, Keeping(tmp_path, most_bytes))) == FILES


def test_what_is_deleted_during_a_run_comes_again(url: str, tmp_path: Path) -> None:
    folder = bring_folder(url, bounded(tmp_path, 1000))
    shutil.rmtree(folder / "benign")

    def work(chunks: Iterable[Sequence[str]]) -> Iterator[list[bytes]]:
        for chunk in chunks:
            yield [locate(folder, path).read_bytes() for path in chunk]

    answers = list(in_turn(folder, [SCANS], lambda path: [path], work))
    assert answers == [[FILES[path] for path in SCANS]]


@pytest.mark.parametrize("killed", [False, True])
def test_an_object_may_take_the_name_of_a_folder_and_give_it_back(
    server: BucketServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: bool,
) -> None:
    deep, flat = {"a/b/c.png": b"deep", "z.png": b"z"}, {"a": b"flat", "z.png": b"z"}
    name = f"names-{killed}".lower()
    url = server.put_all(name, deep)
    folder = bring_folder(url, Keeping(tmp_path))
    for gone, now in ((deep, flat), (flat, deep)):
        server.remove(name, next(iter(gone)))
        server.put(name, *next(iter(now.items())))
        if killed:  # before the new list was written
            with monkeypatch.context() as patch:
                patch.setattr("maskwise.scans.object_folder._replace", _die)
                with pytest.raises(KeyboardInterrupt):
                    bring_folder(url, Keeping(tmp_path))
        assert contents(bring_folder(url, Keeping(tmp_path))) == now
    assert (folder / "a").is_dir()


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_format_of_an_object_is_told_without_bringing_it(
    server: BucketServer, tmp_path: Path
) -> None:
    files = {"nameless": b"\x89PNG\r\n\x1a\n" + bytes(5000), "other": bytes(5000)}
    folder = bring_folder(server.put_all("nameless", files), bounded(tmp_path, 10_000))
    assert looks_like_image(folder, "nameless")
    assert not looks_like_image(folder, "other")
    assert head_of(folder, "nameless").startswith(b"\x89PNG")
    assert on_the_disk(folder) == 0


def test_a_dropped_connection_is_taken_up_again(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.random.default_rng(0).bytes(300_000)
    url = server.put_all("dropped-once", {"large.png": large})
    line = BreakingLine(server.port, after=100_000)
    line.breaks = 1
    for name, value in environment(line.port).items():
        monkeypatch.setenv(name, value)
    folder = bring_folder(url, Keeping(tmp_path))
    line.close()
    assert line.breaks == 0
    assert contents(folder) == {"large.png": large}


def test_a_connection_that_keeps_breaking_is_said_and_what_has_come_is_kept(
    server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.random.default_rng(0).bytes(300_000)
    url = server.put_all("dropped-always", {"large.png": large, "small.png": b"small"})
    line = BreakingLine(server.port, after=100_000)
    line.breaks = 1000
    for name, value in environment(line.port).items():
        monkeypatch.setenv(name, value)
    wanted = r"dropped-always/large\.png: the bucket does not answer \(.+\); .*run again"
    with pytest.raises(UserError, match=wanted):
        bring_folder(url, Keeping(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert on_the_disk(folder) == len(b"small")
    line.breaks = 0
    assert contents(bring_folder(url, Keeping(tmp_path)))["large.png"] == large
    line.close()


def changed(server: BucketServer, name: str) -> None:
    server.put(name, "malignant/c.png", b"another picture")


def removed(server: BucketServer, name: str) -> None:
    server.remove(name, "malignant/c.png")


def forbidden(server: BucketServer, name: str) -> None:
    server.forbid_reading(name)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (changed, r"malignant/c\.png: the object changed after the bucket was listed; run"),
        (removed, r"malignant/c\.png: the object is gone, though the bucket listed it; run"),
        (forbidden, r"malignant/c\.png: there is no permission to read it .*s3:GetObject"),
    ],
)
def test_what_happens_between_listing_and_reading_is_one_sentence(
    server: BucketServer,
    url: str,
    tmp_path: Path,
    happens: Callable[[BucketServer, str], None],
    told: str,
) -> None:
    folder = bring_folder(url, bounded(tmp_path, 1000))
    happens(server, name_of(url))
    with pytest.raises(UserError, match=told) as error:
        locate(folder, "malignant/c.png")
    assert "\n" not in str(error.value)
    assert on_the_disk(folder) == 0


def test_a_bucket_without_permission_is_one_sentence_before_any_stage(
    server: BucketServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = RawFolder(url, objects={"path": str(tmp_path), "gigabytes": None})
    with server.strict() as stranger:
        for name, value in stranger.items():
            monkeypatch.setenv(name, value)
        wanted = rf"{url}: there is no permission to list it .*s3:ListBucket"
        with pytest.raises(UserError, match=wanted):
            raw._exists()


def test_a_bucket_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere/x: there is no bucket 'nowhere'; cor"):
        bring_folder("s3://nowhere/x", Keeping(tmp_path))


def test_a_folder_of_a_bucket_without_objects_is_named_before_a_run(
    url: str, tmp_path: Path
) -> None:
    empty = f"{url}/nothing"
    raw = RawFolder(empty, objects={"path": str(tmp_path), "gigabytes": None})
    for looked_for in (raw._exists, raw.read):
        with pytest.raises(UserError, match=r"/nothing: there is no object; correct raw_root"):
            looked_for()


def test_a_url_without_a_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'s3://': names no bucket; write s3://<bucket>/"):
        RawFolder("s3://", objects={"path": str(tmp_path), "gigabytes": None})


@pytest.mark.parametrize("secret", ["geheim", "ge/he/im"])
def test_a_secret_in_the_address_of_a_bucket_is_refused_and_not_repeated(
    secret: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^raw_root: there is an @ .*AWS_PROFILE") as caught:
        RawFolder(f"s3://AKIA:{secret}@scans/us", objects={"path": str(tmp_path)})
    assert "AKIA" not in str(caught.value)
    assert "im@" not in str(caught.value)
    assert Bucket.at("s3://scans/a@b").prefix == "a@b"


def test_a_server_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"s3://any: the bucket does not answer \(.+\); look"):
        bring_folder("s3://any", Keeping(tmp_path))


def test_missing_credentials_are_asked_for_by_name(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match=r"there are no credentials .* set AWS_PROFILE, or"):
        bring_folder(url, Keeping(tmp_path))


def test_a_bound_below_what_is_read_at_once_names_the_option(url: str, tmp_path: Path) -> None:
    folder = bring_folder(url, bounded(tmp_path, 250))
    wanted = r"the local cache of s3://\S+ is full: it may hold .* \(objects_gigabytes\), but"
    with pytest.raises(UserError, match=wanted):
        list(in_turn(folder, [list(FILES)], lambda path: [path], iter))


def test_a_full_disk_is_one_sentence(url: str, tmp_path: Path) -> None:
    folder = bring_folder(url, bounded(tmp_path, 1000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(UserError, match=r"the disk is full \(.*\); make room, or bound"):
            locate(folder, "benign/a 1.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert on_the_disk(folder) == 0


def test_two_runs_that_remove_what_they_read_do_not_share_a_folder(
    url: str, tmp_path: Path
) -> None:
    folder = bring_folder(url, bounded(tmp_path, 1000))
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another run is bringing objects of this bucket"):
            locate(folder, "table.csv")


@pytest.mark.parametrize("key", ["a//b.png", "a/../b.png", "a/b.png/c.png"])
def test_a_key_that_no_folder_can_hold_is_named(key: str) -> None:
    listed = pd.DataFrame(
        [Object("a/b.png", 1, "x"), Object(key, 1, "y")], columns=list(Object._fields)
    )
    with pytest.raises(UserError, match="no folder on a disk can hold the key"):
        _checked(Bucket("odd", ""), listed)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (
            {"path": "x", "gigabytes": 0},
            "objects_gigabytes: should be a number above 0, or nul",
        ),
        ({"path": "x", "gigabytes": "many"}, "objects_gigabytes: should be a number above 0"),
        ({"path": None, "gigabytes": None}, "objects_root: should be the path of a folder"),
    ],
)
def test_options_that_say_nothing_are_refused(block: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Keeping.of(block)


def test_a_bound_is_given_in_gigabytes() -> None:
    assert Keeping.of({"path": "x", "gigabytes": 1.5}).most_bytes == 1.5 * GIGABYTE
