"""What RayRunner does with nodes whose worker, machine or input fails."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from maskwise.datasets import JsonDataset
from maskwise.errors import UserError
from maskwise.pipelines.standing import stands_alone
from maskwise.ray_cluster import check_machines
from maskwise.resources import Resources, ResourcesConfig
from maskwise.runners import RayRunner, _left, _lost

ray = pytest.importorskip("ray", reason="needs Ray, of the extra `ray`")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*dataset names contain"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.xdist_group("ray"),
]
Stages = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster of one machine with two cores, which others may join."""
    import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers know no tests
    # A dead machine is noticed in seconds, where Ray waits for half a minute by default.
    soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": soon}
    )
    yield cluster
    cluster.shutdown()


def node(
    function: Callable[..., Any], inputs: list[str], output: str, tag: str = "pretrain"
) -> Node:
    return Node(stands_alone(function), inputs or None, output, name=output[2:], tags=tag)


def run(
    cluster: Any, folder: Path, nodes: list[Node], stages: Stages | None = None, **options: Any
) -> dict[str, Path]:
    """Run nodes, whose outputs named `s.x` are files and others stay in memory."""
    files = {name: folder / name for each in nodes for name in each.outputs if name[0] == "s"}
    datasets: dict[str, Any] = {name: JsonDataset(str(path)) for name, path in files.items()}
    datasets["parameters"] = MemoryDataset({"resources": stages or {}})
    if cluster is not None:
        options["address"] = cluster.address
    RayRunner(**options).run(Pipeline(nodes), DataCatalog(datasets))
    return files


def process() -> dict[str, int]:
    return {"process": os.getpid()}


def joined(*found: Any) -> dict[str, Any]:
    return {"of": found, "process": os.getpid()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adress": "auto"}, "--runner-params.adress: .* did you mean 'address'"),
        ({"retries": -1}, "--runner-params.retries: is -1, but must lie between 0 and 100"),
        ({"address": "auto", "num_cpus": 2}, "num_cpus is for a cluster of this machine alone"),
        ({"address": "auto"}, "address=auto: no cluster of Ray can be joined there"),
        (
            {"address": "127.0.0.1:9"},
            r"address=127\.0\.0\.1:9: no cluster of Ray can be joined",
        ),
    ],
)
def test_a_wrong_runner_param_and_an_unreachable_cluster_are_one_sentence(
    tmp_path: Path, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # what `auto` means, whatever runs here
    with pytest.raises(UserError, match=said) as caught:
        run(None, tmp_path, [node(process, [], "s.a")], **options)
    assert "\n" not in str(caught.value)


def test_files_and_what_stays_in_memory_go_from_worker_to_worker(
    cluster: Any, tmp_path: Path
) -> None:
    nodes = [
        node(process, [], "s.a"),
        node(process, [], "m.b"),
        node(joined, ["s.a", "m.b"], "s.end"),
    ]
    end = JsonDataset(str(run(cluster, tmp_path, nodes)["s.end"])).load()
    assert os.getpid() not in [end["process"], *(each["process"] for each in end["of"])]


def test_an_error_is_not_tried_again_and_costs_only_what_depends_on_it(
    cluster: Any, tmp_path: Path
) -> None:
    tries = tmp_path / "tries"

    def failing() -> None:
        with tries.open("a") as file:
            file.write("x")
        raise UserError("the disk is full")

    nodes = [
        node(failing, [], "s.a"),
        node(joined, ["s.a"], "s.after"),
        node(process, [], "s.beside"),
    ]
    with pytest.raises(UserError) as caught:
        run(cluster, tmp_path, nodes)
    assert str(caught.value) == (
        "1 of 3 nodes failed (pretrain@s: the disk is full). What depends on that (pretrain@s) "
        "was not started; everything else was made. Mend what failed, and run the same command "
        "with --only-missing-outputs"
    )
    assert tries.read_text() == "x"
    assert (tmp_path / "s.beside").exists()
    assert not (tmp_path / "s.after").exists()


def test_a_node_whose_worker_dies_is_tried_again(cluster: Any, tmp_path: Path) -> None:
    died = tmp_path / "died"

    def dying() -> int:
        if not died.exists():
            died.touch()
            os._exit(1)
        return 1

    assert run(cluster, tmp_path, [node(dying, [], "s.a")])["s.a"].exists()


def test_a_node_whose_worker_dies_again_and_again_is_named(
    cluster: Any, tmp_path: Path
) -> None:
    def dying() -> None:
        os._exit(1)

    with pytest.raises(UserError, match=r"pretrain@s: its worker or machine died, again and"):
        run(cluster, tmp_path, [node(dying, [], "s.a")], retries=1)


def test_a_node_whose_machine_dies_is_tried_on_another(cluster: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def long() -> dict[str, str]:
        machine: str = ray.get_runtime_context().get_node_id()
        if not begun.exists():
            begun.write_text(machine)
            time.sleep(600)
        return {"machine": machine}

    # Both before the run: Ray starts a machine in the main thread alone.
    machines = {
        machine.node_id: machine for machine in (cluster.add_node(num_cpus=3) for _ in range(2))
    }

    def kill() -> None:
        while not begun.exists() or not begun.read_text():
            time.sleep(0.1)
        cluster.remove_node(machines[begun.read_text()], allow_graceful=False)

    killing = threading.Thread(target=kill)
    killing.start()
    made = run(cluster, tmp_path, [node(long, [], "s.a")], {"pretrain": {"cpu": 3}})
    killing.join()
    assert JsonDataset(str(made["s.a"])).load()["machine"] != begun.read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"gpu": 1},
            r"^resources\.pretrain\.gpu: is 1, but no machine .* more than 0; ask for",
        ),
        (
            {"memory": 9000},
            r"^resources\.pretrain\.memory: is 9000, but no machine of the clus",
        ),
        ({"cpu": 100}, r"^resources\.pretrain\.cpu: is 100, but no machine of the cluster has"),
    ],
)
def test_what_no_machine_has_is_refused_before_anything_runs(
    cluster: Any, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    nodes = [node(process, [], "s.a", "ingest"), node(process, [], "s.b")]
    with pytest.raises(UserError, match=said):
        run(cluster, tmp_path, nodes, {"pretrain": asked})
    assert not (tmp_path / "s.a").exists()


def test_a_node_sees_the_cores_and_gpus_of_its_stage_alone(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def seen() -> dict[str, Any]:
        import torch

        return {
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "threads": torch.get_num_threads(),
        }

    nodes = [node(seen, [], "s.one", "ingest"), node(seen, [], "s.two", "tune")]
    made = run(cluster, tmp_path, nodes, {"tune": {"cpu": 2}})
    assert JsonDataset(str(made["s.one"])).load() == {"gpus": "", "threads": 1}
    assert JsonDataset(str(made["s.two"])).load() == {"gpus": "", "threads": 2}


@dataclass
class Machines:
    """Stands in for Ray, where only its machines are asked for."""

    resources: list[dict[str, float]]

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": each} for each in self.resources]


def test_one_machine_must_have_all_that_a_stage_asks_for() -> None:
    machines = Machines([{"CPU": 8, "memory": 2**33}, {"CPU": 2, "GPU": 1, "memory": 2**33}])
    wanted = {"pretrain": Resources(2, 1, 8).of_ray(), "ingest": Resources(8).of_ray()}
    check_machines(machines, wanted)
    with pytest.raises(UserError) as caught:
        check_machines(machines, {"pretrain": Resources(4, 1).of_ray()})
    assert str(caught.value) == (
        "resources.pretrain: no single machine of the cluster has all of it (cpu 4, gpu 1); "
        "ask for less, or add a machine"
    )


def test_the_time_left_is_that_of_what_can_still_run_once_a_node_has_ended() -> None:
    first, second, third = (
        node(joined, [before], after) for before, after in ("ab", "bc", "cd")
    )
    beside = node(joined, ["a"], "e")
    assert _lost([second, third, beside], [first]) == [second, third]
    assert _left(60, 0, 3) == ""
    assert _left(60, 2, 1) == "; about 30 s left"


def test_what_suffices_for_all_stages_of_a_node_is_asked_for() -> None:
    config = ResourcesConfig(pretrain=Resources(2, 1, 4), finetune=Resources(3, 0.5))
    assert config.of(["finetune", "pretrain", "mine"]) == Resources(3, 1, 4)
    assert Resources(3, 1, 4).of_ray() == {"num_cpus": 3, "num_gpus": 1, "memory": 4 * 2**30}
    with pytest.raises(ValueError, match=r"gpu is 1\.5, but above 1 it should be"):
        Resources(gpu=1.5)
