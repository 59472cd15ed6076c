"""What the benchmarks share: works timed by turns in one process, and how that is said."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping

from maskwise.progress import collecting_facts

WARM = 5
"""First rounds, which warm caches and allocators up and are not counted."""
Work = Callable[[], object]


def seconds(work: Work) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def by_turns(
    works: Mapping[str, Work], rounds: int, warm: int = WARM
) -> dict[str, list[float]]:
    """Return the seconds of each work a round, in changing order: other load falls on all."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm + rounds):
        for name in list(works)[:: 1 if number % 2 else -1]:
            spent = seconds(works[name])
            if number >= warm:
                taken[name].append(spent)
    return taken


def ratio(above: list[float], below: list[float]) -> str:
    """Say the median and the quartiles of the ratios of neighbouring rounds."""
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    middle = statistics.median(ratios)
    return f"{middle:.3f} (quartiles {low:.3f} to {high:.3f}, {len(ratios)} rounds)"


def machine() -> str:
    """Say what the benchmark ran on."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def ingest_speed(name: str, stage: Work, loop: Work, images: int, rounds: int) -> None:
    """Print the speed of reading, and of the whole stage, as a share of the bare loop's."""
    reading: list[float] = []

    def told() -> None:
        with collecting_facts() as facts:
            stage()
        reading.append(images / float(facts.values["images_per_second"]))

    taken = by_turns({"stage": told, "loop": loop}, rounds, warm=0)
    print(f"{name}, reading / bare loop: {ratio(taken['loop'], reading)}")
    print(f"{name}, whole stage / bare loop: {ratio(taken['loop'], taken['stage'])}")
