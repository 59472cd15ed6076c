"""What RayRunner costs per node, and what two machines gain, on a cluster made of processes.

    python benchmarks/runners.py

One run has both: nodes that do nothing, one after another; and a study of eight replicates on
two machines with one core each, beside the same study by SequentialRunner, where each replicate
uses one thread. The cluster is up before either is timed; workers start in the run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from turns import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from project import Project, copy_project

RECIPE, REPLICATES = "random_box", 8
NODES = 20
NOTHING = """
import sys, time
from pathlib import Path
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from maskwise.datasets import JsonDataset
from maskwise.pipelines.standing import stands_alone
from maskwise.runners import RayRunner
import cloudpickle
cloudpickle.register_pickle_by_value(sys.modules["__main__"])

def first():
    return {"ended": time.time()}

def following(before):
    return {"ended": time.time()}

address, nodes, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
names = [f"s.n{i}" for i in range(nodes)]
catalog = DataCatalog({name: JsonDataset(str(folder / name)) for name in names})
catalog["parameters"] = MemoryDataset({})
chain = [Node(stands_alone(first), None, names[0], name="n0", tags="ingest")]
for before, name in zip(names, names[1:]):
    chain.append(Node(stands_alone(following), before, name, name=name[2:], tags="ingest"))
RayRunner(address=address).run(Pipeline(chain), catalog)
ends = [JsonDataset(str(folder / name)).load()["ended"] for name in names]
print((ends[-1] - ends[0]) / (nodes - 1))
"""


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="of pre-training")
    parser.add_argument("--rounds", type=int, default=2, help="of the study, by turns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = _study(Path(name) / "project", asked.steps)
        os.environ["PYTHONPATH"] = str(project.root / "src")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        try:
            print(f"{machine()}; Ray on two machines of one core each, in processes")
            print(f"a node that does nothing: {_nothing(project, cluster.address):.2f} s")
            for _ in range(asked.rounds):
                alone = _seconds(project, [])
                ray = ["--runner", "maskwise.runners.RayRunner"]
                ray += ["--runner-params", f"address={cluster.address}"]
                both = _seconds(project, ray)
                print(
                    f"{REPLICATES} replicates: sequential {alone:.1f} s, Ray {both:.1f} s, "
                    f"ratio {both / alone:.2f}"
                )
        finally:
            cluster.shutdown()


def _study(root: Path, steps: int) -> Project:
    """Return a project with images, whose replicates are yet to be made."""
    project = copy_project(root)
    project.edit(
        "conf/base/experiment.yml",
        experiment__recipes=[RECIPE],
        experiment__seeds=list(range(REPLICATES)),
    )
    project.edit("conf/base/sources/parameters_phantom.yml", phantom__pretrain__steps=steps)
    project.run("kedro", "run", "--tags", "generate,ingest,preprocess")
    return project


def _seconds(project: Project, options: list[str]) -> float:
    """Return how long pre-training and fine-tuning of all replicates take."""
    for folder in ("06_models", "07_model_output"):
        shutil.rmtree(project.root / "data" / folder, ignore_errors=True)
    begun = time.perf_counter()
    project.run("kedro", "run", "--tags", "pretrain,finetune", *options)
    return time.perf_counter() - begun


def _nothing(project: Project, address: Any) -> float:
    folder = project.root / "nothing"
    folder.mkdir()
    command = [sys.executable, "-c", NOTHING, str(address), str(NODES), str(folder)]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
