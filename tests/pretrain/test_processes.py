"""Several processes train as one does, and say it when one of them is lost."""

import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.distributed import HashStore  # type: ignore[attr-defined]

from maskwise import device, join_command
from maskwise.encoders.norm import VectorBatchNorm, check_shareable
from maskwise.errors import HinderedError, UserError
from maskwise.pretrain import meeting, processes, training
from maskwise.pretrain.meeting import HERE, ProcessesConfig, opened
from maskwise.pretrain.processes import join, leading
from maskwise.pretrain.recipe import check_machine
from maskwise.pretrain.replicate import Pretrained, PretrainRun
from maskwise.ranks import ALONE, Ranks, shared
from pretrain import rank_toys
from pretrain.rank_toys import CASES, TWO, each, follow_all, run_of, stored
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain, small_tokens

ONE = ProcessesConfig()
REMEMBERING = "policy dqn"
"""A case with a replay memory."""


@pytest.fixture(scope="module", autouse=True)
def _small_tokens() -> Iterator[None]:
    with small_tokens():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    for pixels in (32, 64):
        _, splits = make_store(folder / str(pixels) / "store", number=48, side=pixels)
        splits.to_parquet(folder / str(pixels) / "splits.parquet")
    return folder


@pytest.fixture(scope="module")
def together(folder: Path) -> dict[str, Pretrained]:
    """Return what two processes make of every case, which are started once for all of them."""

    def trained(name: str) -> Pretrained:
        return pretrain(*stored(folder, name), run_of(folder, name, TWO))

    with (
        leading(TWO, "gloo", partial(follow_all, folder), "all") as seat,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(training, "leading", lambda *_: nullcontext(seat))
        return each(trained)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one_does(
    folder: Path, together: dict[str, Pretrained], name: str
) -> None:
    alone = pretrain(*stored(folder, name), run_of(folder, name, ONE))
    weights, again = alone.encoder.state_dict(), together[name].encoder.state_dict()
    for key, tensor in weights.items():
        np.testing.assert_allclose(
            again[key].numpy(), tensor.numpy(), rtol=1e-3, atol=1e-5, err_msg=key
        )
    history, second = alone.history, together[name].history
    assert list(second.columns) == list(history.columns)
    np.testing.assert_allclose(second.to_numpy(), history.to_numpy(), rtol=1e-3, atol=1e-5)


def test_a_killed_process_is_named_and_another_machine_goes_on_to_the_same_weights(
    folder: Path, together: dict[str, Pretrained], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, name = stored(folder, REMEMBERING), REMEMBERING
    run = run_of(folder, name, TWO, "killed")
    with monkeypatch.context() as patch:
        patch.setattr(training, "follow_replicate", rank_toys.follow_and_die)
        with pytest.raises(
            HinderedError,
            match=r"process 1 of 2 \(counted from 0\) was killed by SIGKILL, .* run the same",
        ):
            pretrain(*given, run)
    address = f"127.0.0.1:{rank_toys.free_port()}"
    lent: list[int] = []
    machine = threading.Thread(target=lambda: lent.append(join(address, 1, 300.0, 1)))
    machine.start()
    nodes = ProcessesConfig(nodes=2, address=address, wait=60.0)
    resumed = pretrain(*given, replace(run, config=replace(run.config, processes=nodes)))
    again = together[name].encoder.state_dict()
    assert all(
        torch.equal(tensor, again[key]) for key, tensor in resumed.encoder.state_dict().items()
    )
    machine.join()
    assert lent == [1]


def test_a_process_that_never_comes_is_named_with_the_time_limit(tmp_path: Path) -> None:
    nodes = ProcessesConfig(nodes=3, address=f"127.0.0.1:{rank_toys.free_port()}", wait=0.3)
    with pytest.raises(HinderedError) as caught:
        pretrain(*make_store(tmp_path / "store"), _small(tmp_path, nodes))
    assert str(caught.value) == (
        "pretrain recipe seed 0: processes 1, 2 of 3 (counted from 0) did not come within "
        f"0.3 s (pretrain.processes.wait); run `kedro join {nodes.address} --node N` on the "
        "machines 1, 2"
    )


def test_processes_of_one_machine_meet_where_no_other_machine_reaches_them() -> None:
    store = opened(HERE, TWO)

    socket.create_connection((HERE, store.port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port))


def test_a_process_runs_no_work_but_that_which_it_was_started_for() -> None:
    store, job = HashStore(), processes._Job("run", print, 2, 1, "gloo", 1, "code", TWO.limit)
    handed = pickle.dumps(job)
    store.set("job", handed)  # type: ignore[arg-type] # takes bytes
    assert processes._taken(store, 1, processes._hash(handed)) == job

    other = pickle.dumps(replace(job, work=rank_toys.fail))
    store.set("job", other)  # type: ignore[arg-type] # takes bytes
    with pytest.raises(HinderedError, match="process 1 was started for other work"):
        processes._taken(store, 1, processes._hash(handed))


@pytest.mark.parametrize("host", ["nowhere.invalid", "no..host", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_told_within_the_time_limit(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "LAST_WORDS", 0.2)
    address = f"{host}:{rank_toys.free_port()}"
    nodes = ProcessesConfig(nodes=2, address=address, wait=0.2)
    with (
        pytest.raises(HinderedError, match=rf"address: {address}: does not lead to this"),
        leading(nodes, "gloo", print, "toy"),
    ):
        pass


def test_a_process_that_came_and_is_lost_before_the_others_meet_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meeting, "LAST_WORDS", 0.2)
    monkeypatch.setattr(processes, "LAST_WORDS", 0.2)
    monkeypatch.setattr(processes._Watch, "gather", lambda self: None)
    monkeypatch.setattr(processes._Children, "__init__", _none_of_them)
    monkeypatch.setattr(processes._Children, "ended", lambda self: {1: -9})
    with (
        pytest.raises(HinderedError, match=r"process 1 of 2 .* was killed by SIGKILL"),
        leading(ProcessesConfig(devices=2, wait=0.2), "gloo", print, "toy"),
    ):
        pass


def test_ctrl_c_on_a_machine_that_is_lent_ends_its_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    killed: list[bool] = []
    job = processes._Job("run", print, 1, 2, "gloo", 1, "code", TWO.limit)
    monkeypatch.setattr(processes, "_offered", lambda *_: (job, ""))
    monkeypatch.setattr(processes._Children, "__init__", _none_of_them)
    monkeypatch.setattr(processes._Children, "wait", interrupted)
    monkeypatch.setattr(processes._Children, "kill", lambda self: killed.append(True))

    with pytest.raises(KeyboardInterrupt):
        join("127.0.0.1:1", 1, 60.0)
    assert killed == [True]


def test_the_command_fails_where_its_processes_failed_and_the_run_says_why() -> None:
    address = f"127.0.0.1:{rank_toys.free_port()}"
    told: list[str] = []

    def lead() -> None:
        nodes = ProcessesConfig(nodes=2, address=address, wait=120.0)
        try:
            with leading(nodes, "gloo", rank_toys.fail, "toy"):
                torch.distributed.barrier()
        except HinderedError as error:
            told.append(str(error))

    run = threading.Thread(target=lead)
    run.start()
    options = [address, "--node", "1", "--trainings", "1"]
    ended = CliRunner().invoke(join_command.join, options, obj=object())
    run.join()

    assert ended.exit_code == 1
    assert "of 1 training at" in ended.output
    assert "1 failed on this machine (process 1 failed)" in ended.output
    assert "process 1 failed" in told[0]
    assert "ValueError: rank 1 is of no use" in told[0]


def test_a_machine_of_another_version_is_refused_before_it_reads_any_work() -> None:
    address = f"127.0.0.1:{rank_toys.free_port()}"
    store = opened(HERE, ProcessesConfig(nodes=2, address=address))
    store.set("code", "another")
    store.set("job", "no pickle")

    with pytest.raises(UserError, match=r"join: the run at .* is of another version of Mask"):
        join(address, 1, 60.0)
    assert store.get(processes._failed(1)).startswith(b"hindered machine 1 runs another")


def _none_of_them(self: processes._Children, *_: object) -> None:
    self.by_rank = {}


def test_a_batch_that_has_no_equal_shares_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain.batch_size: 4 images, .* multiple of 3"):
        pretrain(
            *make_store(tmp_path / "store"), _small(tmp_path, ProcessesConfig(devices=3), 4)
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_where_there_is_none_is_one_sentence(tmp_path: Path) -> None:
    run = _small(tmp_path, ProcessesConfig(devices=2))
    config = replace(run.config, device="cuda")
    with pytest.raises(
        HinderedError, match=r"pretrain.device: this machine has no CUDA device"
    ):
        check_machine(config, run.budget, run.recipe, "toy")


def test_arithmetic_that_this_machine_lacks_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_has_bfloat16", lambda _: False)
    run = _small(tmp_path, ONE)
    config = replace(run.config, precision="bfloat16")
    with pytest.raises(HinderedError, match=r"pretrain.precision: this cpu has no bfloat16"):
        check_machine(config, run.budget, run.recipe, "toy")


@pytest.mark.parametrize(
    "options",
    [{"nodes": 2}, {"address": "first:29500"}, {"nodes": 2, "address": "first"}],
    ids=str,
)
def test_machines_and_address_go_together(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"host:port"):
        ProcessesConfig(**options)  # type: ignore[arg-type]


def test_a_batch_norm_that_no_process_shares_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"encoder: 0 is torch's own BatchNorm2d"):
        check_shareable(nn.Sequential(nn.BatchNorm2d(3)))


def test_within_all_ranks_a_part_can_be_let_compute_alone() -> None:
    norm = VectorBatchNorm(3)
    with shared(norm, Ranks(1, 2)):
        with shared(norm, ALONE):
            assert norm.ranks.alone
            norm(torch.randn(4, 3))  # asks nobody
        assert not norm.ranks.alone
    assert norm.ranks.alone


def _small(tmp_path: Path, processes: ProcessesConfig, batch_size: int = 6) -> PretrainRun:
    return make_run(tmp_path / "run", RANDOM_BOX, processes=processes, batch_size=batch_size)
