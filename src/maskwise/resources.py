"""What each stage may take of a machine, where a cluster deals nodes out."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Annotated

from maskwise.bounds import Within
from maskwise.errors import shown


@dataclass(frozen=True)
class Resources:
    """What a node of one stage may take."""

    cpu: Annotated[int, Within(1, 1_024)] = 1
    """Cores, and the threads that a node computes with."""
    gpu: Annotated[float, Within(0, 64)] = 0
    """A share of one, or a whole number of them."""
    memory: Annotated[float, Within(0, 10_000, above=True)] | None = None
    """Gigabytes; None = not asked."""

    def __post_init__(self) -> None:
        if self.gpu > 1 and not float(self.gpu).is_integer():
            raise ValueError(
                f"gpu is {shown(self.gpu)}, but above 1 it should be a whole number"
            )

    def of_ray(self) -> dict[str, float]:
        """Return them as options of a task of Ray's."""
        asked: dict[str, float] = {"num_cpus": self.cpu, "num_gpus": self.gpu}
        return asked if self.memory is None else {**asked, "memory": self.memory * 2**30}


@dataclass(frozen=True)
class ResourcesConfig:
    """``conf/base/parameters_resources.yml``: what each stage may take, by its name."""

    generate: Resources = Resources()
    ingest: Resources = Resources()
    preprocess: Resources = Resources()
    pretrain: Resources = Resources()
    finetune: Resources = Resources()
    evaluate: Resources = Resources()
    report: Resources = Resources()
    predict: Resources = Resources()
    embed: Resources = Resources()
    select: Resources = Resources()
    tune: Resources = Resources()

    def of(self, stages: Collection[str]) -> Resources:
        """Return what suffices for each of ``stages``; names of none are let by."""
        named = {each.name for each in fields(self)} & set(stages)
        found: list[Resources] = [getattr(self, stage) for stage in sorted(named)]
        memories = [one.memory for one in found if one.memory is not None]
        return Resources(
            cpu=max((one.cpu for one in found), default=1),
            gpu=max((one.gpu for one in found), default=0),
            memory=max(memories, default=None),
        )
