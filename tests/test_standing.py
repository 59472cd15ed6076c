"""What surrounds a node until its outputs are saved, in whichever thread it runs."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, SequentialRunner, ThreadRunner

from maskwise import interruption
from maskwise.datasets import RawFolder
from maskwise.errors import UserError
from maskwise.interruption import at_work, handing_on, interruptions
from maskwise.pipelines.standing import (
    Place,
    abandon,
    address_of,
    stands_alone,
    tell,
    until_saved,
)
from maskwise.run_facts import alone
from maskwise.seeds import torch_stream
from maskwise.session import check_runner, telling

pytestmark = pytest.mark.filterwarnings("ignore:.*dataset names contain")
RUNNERS = [SequentialRunner(), ThreadRunner(max_workers=2)]


class FullDisk(MemoryDataset):
    """Takes nothing."""

    def save(self, data: Any) -> None:
        raise OSError("No space left on device")


@pytest.mark.parametrize("runner", RUNNERS, ids=["sequential", "threads"])
@pytest.mark.parametrize(
    ("last", "ended"), [(MemoryDataset(), ["well"]), (FullDisk(), ["DatasetError"])]
)
def test_what_a_node_holds_until_its_outputs_are_saved_learns_how_that_went(
    runner: AbstractRunner, last: MemoryDataset, ended: list[str]
) -> None:
    held: list[str] = []

    @contextmanager
    def holding() -> Iterator[tuple[int, int]]:
        try:
            yield 1, 2
        except DatasetError as error:
            held.append(type(error).__name__)
            raise
        held.append("well")

    @stands_alone
    def function() -> tuple[int, int]:
        return until_saved(holding())

    node = Node(function, None, ["s.r.s0.one", "s.r.s0.two"], tags="t")
    catalog = DataCatalog({"s.r.s0.one": MemoryDataset(), "s.r.s0.two": last})
    try:
        runner.run(Pipeline([node]), catalog)
    except DatasetError as error:
        assert held == []
        abandon(error)
    assert held == ended


def test_a_node_holds_its_lock_until_its_only_output_is_saved(tmp_path: Path) -> None:
    output = tmp_path / "s.manifest"
    found: list[str] = []

    class Looking(MemoryDataset):
        def save(self, data: Any) -> None:
            with pytest.raises(UserError, match="another run of it is at work") as caught:
                alone(output, "x").__enter__()
            found.append(str(caught.value))

    tell(Place("ingest@s", output, locks=True, options={"a": 1}))
    node = Node(stands_alone(lambda: 1), None, "s.manifest", name="ingest", tags="ingest")
    SequentialRunner().run(Pipeline([node]), DataCatalog({"s.manifest": Looking()}))

    assert len(found) == 1
    with alone(output, "x"):
        assert '"options": {\n      "a": 1\n    }' in (tmp_path / "run.json").read_text()


def test_a_node_that_failed_lets_its_lock_go_and_writes_no_facts(tmp_path: Path) -> None:
    @stands_alone
    def failing() -> int:
        raise UserError("no")

    tell(Place("ingest@s", tmp_path / "o", locks=True))
    with pytest.raises(UserError, match="no"):
        SequentialRunner().run(
            Pipeline([Node(failing, None, "s.o", name="n")]), DataCatalog({})
        )
    with alone(tmp_path / "o", "x"):
        assert not (tmp_path / "run.json").exists()


def test_nodes_are_called_by_stage_and_replicate_or_by_what_they_join() -> None:
    names = ["s.r.s3.encoder", "s.r.predictions", "s.scores"]
    nodes = [Node(lambda: 0, None, name, name="n", tags="report") for name in names]
    assert [address_of(node) for node in nodes] == ["report@s-r-3", "report@s-r", "report@s"]


def test_kedro_still_compares_a_node_s_inputs_with_its_function() -> None:
    with pytest.raises(TypeError, match="Inputs of 'one' function expected"):
        Node(stands_alone(one), ["a", "b"], "c", name="n")


def one(only: int) -> int:
    return only


def test_saving_beside_a_node_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^--async .*leave it out$"):
        check_runner(SequentialRunner(is_async=True))
    check_runner(ThreadRunner())


def test_what_a_user_can_mend_about_a_file_arrives_from_another_process(tmp_path: Path) -> None:
    catalog = DataCatalog({"raw": RawFolder(str(tmp_path / "gone"))})
    context = multiprocessing.get_context("fork")
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(UserError, match=r"^/\S+/gone: there is no such folder of raw files$"),
        telling(),
    ):
        pool.submit(catalog.load, "raw").result()


def test_two_threads_draw_from_torch_s_generator_one_after_the_other() -> None:
    drawn: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def draw(seed: int) -> None:
        with torch_stream(seed):
            for _ in range(200):
                drawn[seed].append(torch.rand(1))

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, found in drawn.items():
        alone = torch.Generator().manual_seed(seed)
        assert torch.equal(
            torch.cat(found), torch.cat([torch.rand(1, generator=alone) for _ in found])
        )


def test_ctrl_c_reaches_a_thread_that_looks_and_one_that_does_not_and_those_yet_to_begin() -> (
    None
):
    ready, ended = threading.Barrier(3), []

    def looks() -> None:
        with at_work(), interruptions() as interruption:
            ready.wait()
            while interruption.received is None:
                pass
            ended.append(interruption.received.name)

    def does_not() -> None:
        try:
            with at_work():
                ready.wait()
                while True:
                    pass
        except KeyboardInterrupt:
            ended.append("interrupted")
        with pytest.raises(KeyboardInterrupt), at_work():
            ended.append("begun")

    threads = [threading.Thread(target=each) for each in (looks, does_not)]
    for thread in threads:
        thread.start()

    def ask_to_stop() -> None:
        with handing_on(beside=True):
            ready.wait()
            os.kill(os.getpid(), signal.SIGINT)
            threads[0].join()

    with pytest.raises(KeyboardInterrupt):
        ask_to_stop()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["SIGINT", "interrupted"]
    with handing_on(beside=False), at_work():
        pass  # another run begins


def test_a_thread_is_told_of_a_stop_while_it_looks_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(interruption._PROCESS, "stopped", None)
    monkeypatch.setattr(
        interruption, "_refuse_after_stop", lambda: interruption._stop_threads(signal.SIGTERM)
    )

    def work() -> None:
        try:
            with at_work():
                for _ in range(1_000):
                    time.sleep(0.001)
        except KeyboardInterrupt:
            ended.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert ended == ["stopped"]
