"""Which scans to label next: the rules, the budget, the tables."""

import tracemalloc
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.artefacts.embeddings import Embeddings, EmbeddingsHeader
from maskwise.artefacts.tables import write_csv
from maskwise.cosine import of_length_one
from maskwise.errors import UserError
from maskwise.selection.budget import Pool, choose
from maskwise.selection.contracts import Candidates
from maskwise.selection.rules import RULES
from maskwise.selection.rules.k_centre import KCentre
from maskwise.selection.rules.random import Random
from maskwise.selection.rules.typicality import Typicality, typicality
from maskwise.selection.rules.uncertainty import Uncertainty
from maskwise.selection.stage import SelectConfig, parse_request, select
from maskwise.selection.unsure import uncertainty

HEADER = EmbeddingsHeader("f" * 64, "context_cnn", "scratch", 0, "patches", 4, -1, "mean")


def vectors_of(number: int, seed: int = 0) -> Any:
    return of_length_one(np.random.default_rng(seed).normal(size=(number, 4)))


def scans(groups: list[str], **columns: Any) -> Embeddings:
    """One scan for each entry of ``groups``, which names its patient."""
    number = len(groups)
    ids = [f"s{i:03d}" for i in range(number)]
    table = pd.DataFrame(
        {"id": ids, "path": ids, "frame": 0, "patient": groups, "group": groups, "split": None}
    ).assign(**columns)
    return Embeddings(table, vectors_of(number).astype(np.float32), HEADER)


def candidates(number: int, labelled: tuple[int, ...] = (), seed: int = 0) -> Candidates:
    done = np.isin(np.arange(number), labelled)
    unsure = np.random.default_rng(seed).random(number)
    return Candidates(vectors_of(number, seed), done, ~done, unsure)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    budget=st.integers(1, 30),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_every_rule_chooses_whole_free_patients_once_and_fills_the_budget(
    name: str, sizes: list[int], budget: int, seed: int, data: st.DataObject
) -> None:
    unit_of = np.repeat(np.arange(len(sizes)), sizes)
    known = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    done = np.asarray(known)[unit_of]
    number = len(unit_of)
    unsure = np.random.default_rng(seed).random(number)
    pool = Pool(vectors_of(number).astype(np.float32), unit_of, done, ~done, unsure)
    free = [size for size, labelled in zip(sizes, known, strict=True) if not labelled]
    if not free or min(free) > budget:
        return
    turns = choose(pool, RULES[name](), budget, np.random.default_rng(seed))
    chosen = pool.scans(turns.units)
    assert len(set(turns.units)) == len(turns.units) == len(turns.figures)
    assert not done[chosen].any()
    assert len(chosen) == sum(sizes[each] for each in turns.units) <= budget
    left = [s for i, s in enumerate(sizes) if not known[i] and i not in turns.units]
    assert all(size > budget - len(chosen) for size in left)
    again = choose(pool, RULES[name](), budget, np.random.default_rng(seed))
    np.testing.assert_array_equal(again.units, turns.units)


def test_k_centre_takes_the_scan_farthest_from_all_that_are_labelled_or_taken() -> None:
    there = candidates(30, labelled=(3, 7))
    order = KCentre().order(there, 6, np.random.default_rng(0))
    taken = [3, 7]
    for row, figure in zip(order.rows, order.figures, strict=True):
        distances = [
            -1.0
            if other in taken
            else min(
                float(np.linalg.norm(there.vectors[other] - there.vectors[t])) for t in taken
            )
            for other in range(30)
        ]
        assert row == int(np.argmax(distances))
        assert figure == pytest.approx(max(distances), abs=1e-6)
        taken.append(int(row))


def test_k_centre_covers_at_most_twice_as_badly_as_the_best_choice() -> None:
    there = candidates(12)

    def radius(centres: Any) -> float:
        return max(
            min(float(np.linalg.norm(one - there.vectors[c])) for c in centres)
            for one in there.vectors
        )

    best = min(radius(each) for each in combinations(range(12), 3))
    for seed in range(5):
        order = KCentre().order(there, 3, np.random.default_rng(seed))
        assert radius(order.rows) <= 2 * best + 1e-9


def clusters(sizes: tuple[int, ...]) -> Any:
    """Tight clusters round the axes; the middle scan of each is its most typical one."""
    spread = np.random.default_rng(0)
    parts = []
    for axis, size in enumerate(sizes):
        part = np.zeros((size, len(sizes)))
        part[:, axis] = 1
        part[1:] += spread.normal(size=(size - 1, len(sizes))) / 20
        parts.append(part)
    return of_length_one(np.concatenate(parts))


def test_typicality_takes_a_typical_scan_of_each_cluster_the_largest_first() -> None:
    vectors = clusters((10, 30, 20))
    free = np.ones(60, bool)
    there = Candidates(vectors, ~free, free)
    order = Typicality().order(there, 3, np.random.default_rng(0))
    cluster = np.repeat([0, 1, 2], [10, 30, 20])
    assert list(cluster[order.rows]) == [1, 2, 0]
    for row, figure in zip(order.rows, order.figures, strict=True):
        own = vectors[cluster == cluster[row]]
        slow = []
        for one in own:
            distances = sorted(float(np.linalg.norm(one - other)) for other in own)[1:]
            slow.append(1 / (np.mean(distances[: min(20, len(own) // 2)]) + 1e-5))
        assert figure == pytest.approx(max(slow), rel=1e-4)
        np.testing.assert_allclose(typicality(own), slow, rtol=1e-4)


def typicality_at_once(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same by all distances of a cluster, ``(n, n)``."""
    squares = np.maximum(2.0 - 2.0 * (vectors @ vectors.T), 0.0)
    np.fill_diagonal(squares, np.inf)
    neighbours = max(1, min(20, len(vectors) // 2))
    nearest = np.sqrt(np.sort(squares, axis=1)[:, :neighbours])
    return np.asarray(1.0 / (nearest.mean(axis=1) + 1e-5))


@given(st.integers(2, 70), st.integers(1, 5000), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_typicality_by_blocks_is_that_of_all_distances_at_once_and_chooses_the_same(
    scans: int, at_once: int, seed: int
) -> None:
    vectors = of_length_one(
        np.random.default_rng(seed).normal(size=(scans, 6)).astype(np.float32)
    )
    expected = typicality_at_once(vectors)
    found = typicality(vectors, at_once)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # Of two, each is as near to the other: which comes first is a matter of the last digit.
    assert expected[found.argmax()] == pytest.approx(expected.max(), rel=1e-9)


def test_typicality_never_holds_the_distances_of_all_scans_at_once() -> None:
    vectors = of_length_one(np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32))
    tracemalloc.start()
    try:
        typicality(vectors, at_once=2**14)
        assert tracemalloc.get_traced_memory()[1] < 2000 * 2000  # bytes, of 8 a distance
    finally:
        tracemalloc.stop()


def test_typicality_passes_over_clusters_that_hold_a_label_or_are_too_small() -> None:
    vectors = clusters((10, 30, 20, 4))
    done = np.arange(64) == 15  # in the largest
    order = Typicality().order(Candidates(vectors, done, ~done), 3, np.random.default_rng(0))
    cluster = np.repeat([0, 1, 2, 3], [10, 30, 20, 4])
    assert list(cluster[order.rows][:2]) == [2, 0]
    assert 3 not in cluster[order.rows]


def test_uncertainty_takes_the_most_unsure_and_last_those_of_which_nothing_is_known() -> None:
    there = candidates(8, labelled=(2,))
    unsure = np.array([0.1, np.nan, 1.0, 0.9, 0.5, np.nan, 0.7, 0.2])
    order = Uncertainty().order(replace(there, uncertainty=unsure), 7, np.random.default_rng(0))
    assert list(order.rows[:5]) == [3, 6, 4, 7, 0]
    assert set(order.rows[5:]) == {1, 5}


def test_random_choice_takes_every_patient_equally_often() -> None:
    there = candidates(6, labelled=(0,))
    counts = np.zeros(6)
    for seed in range(600):
        counts[Random().order(there, 2, np.random.default_rng(seed)).rows] += 1
    assert counts[0] == 0
    assert np.all(np.abs(counts[1:] - 240) < 60)  # five standard deviations


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("margin", [0.0, 1.0, 1 - 0.2]),
        ("entropy", [0.0, 1.0, -(0.6 * np.log(0.6) + 0.4 * np.log(0.4)) / np.log(2)]),
        ("least_confident", [0.0, 1.0, 0.8]),
    ],
)
def test_unsureness_is_0_of_certainty_and_1_of_a_coin(measure: Any, expected: Any) -> None:
    chances = np.array([[1.0, 0.0], [0.5, 0.5], [0.4, 0.6], [np.nan, 0.5]])
    np.testing.assert_allclose(uncertainty(chances, measure)[:3], expected, atol=1e-12)
    assert np.isnan(uncertainty(chances, measure)[3])


def test_of_labels_that_stand_alone_the_least_sure_counts() -> None:
    chances = np.array([[0.99, 0.5, 0.01], [0.99, 0.9, 0.01]])
    np.testing.assert_allclose(uncertainty(chances, "margin", alone=True), [1.0, 0.2])


def test_the_table_holds_whole_patients_in_their_order_and_a_column_to_fill_in() -> None:
    pool = scans([f"p{i // 2}" for i in range(40)])
    made = select(pool, SelectConfig(rule=KCentre(), budget=9))
    table = made.selection
    assert list(table.columns) == [
        "order", "id", "path", "frame", "patient", "distance", "label"
    ]  # fmt: skip
    assert len(table) == 8
    assert list(table["order"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert (table.groupby("order")["patient"].nunique() == 1).all()
    assert table["label"].eq("").all()
    assert len(made.control) == 8
    assert "distance" not in made.control.columns


def test_single_scans_can_be_chosen() -> None:
    pool = scans(["p"] * 10)
    assert len(select(pool, SelectConfig(budget=4, unit="scan")).selection) == 4
    with pytest.raises(
        UserError,
        match=r"select\.budget: 4, but the smallest patient or group .* has 10 scans; take a l",
    ):
        select(pool, SelectConfig(budget=4))


def test_what_is_labelled_or_held_out_is_never_chosen(tmp_path: Path) -> None:
    names = [f"p{i // 2}" for i in range(20)]
    parts = ["test" if i < 4 else "validation" if i < 8 else "train" for i in range(20)]
    label = ["benign" if i in (8, 10) else None for i in range(20)]
    pool = scans(names, split=parts, label_diagnosis=label)
    (tmp_path / "done.csv").write_text("id;label\ns012;benign\ns014;\n", encoding="utf-8-sig")
    config = SelectConfig(budget=100, label="diagnosis", labelled=tmp_path / "done.csv")
    made = select(pool, config)
    # p4, p5 are labelled, p6 is in part; p7's cell is blank still.
    assert set(made.selection["patient"]) == {"p7", "p8", "p9"}
    assert set(made.control["patient"]) == {"p7", "p8", "p9"}


def test_an_earlier_selection_filled_in_is_not_chosen_again(tmp_path: Path) -> None:
    pool = scans([f"p{i}" for i in range(12)])
    pool.table["id"] = "-" + pool.table["id"]  # which a spreadsheet takes for a formula
    first = select(pool, SelectConfig(budget=5)).selection
    write_csv(first.assign(label="benign"), tmp_path / "selection.csv")
    config = SelectConfig(budget=7, labelled=tmp_path / "selection.csv")
    second = select(pool, config).selection
    assert {*first["id"], *second["id"]} == {*pool.table["id"]}


def test_predictions_of_the_same_scans_say_what_a_model_is_unsure_of(tmp_path: Path) -> None:
    pool = scans([f"p{i}" for i in range(4)])
    said = pd.DataFrame({"path": ["s001", "s003", "s000"], "frame": 0, "p_a": [0.9, 0.5, 0.7]})
    write_csv(said.assign(p_b=1 - said["p_a"]), tmp_path / "predictions.csv")
    config = SelectConfig(
        rule=Uncertainty(), budget=3, predictions=tmp_path / "predictions.csv"
    )
    table = select(pool, config).selection
    assert list(table["id"]) == ["s003", "s000", "s001"]
    np.testing.assert_allclose(table["uncertainty"], [1.0, 0.6, 0.2])


def test_what_is_wrong_is_one_sentence_each(tmp_path: Path) -> None:
    pool = scans(["a", "b"])
    for name, text in {
        "outlines.csv": "path,frame,area_mass\ns000,0,0.1\n",
        "elsewhere.csv": "path,frame,p_a,p_b\nother,0,0.5,0.5\n",
        "strange.csv": "id\nother\n",
        "nameless.csv": "name\nother\n",
    }.items():
        (tmp_path / name).write_text(text)
    asks: dict[str, Any] = {"rule": Uncertainty()}
    wrong: list[tuple[dict[str, Any], str]] = [
        (asks, r"select\.predictions: missing, and the rule uncertainty asks a model"),
        (asks | {"predictions": tmp_path / "gone.csv"}, r"gone\.csv: no such file"),
        (
            asks | {"predictions": tmp_path / "outlines.csv"},
            r"holds 0 columns of probabilities",
        ),
        (
            asks | {"predictions": tmp_path / "elsewhere.csv"},
            r"none of its paths is one of the",
        ),
        ({"label": "grup"}, r"select\.label: there is no column 'grup'; did you mean 'group'"),
        ({"label": "id"}, r"select: nothing is left to label: of 2 scans 2 are labelled"),
        ({"labelled": tmp_path / "strange.csv"}, r"'other' is no id of the embeddings"),
        (
            {"labelled": tmp_path / "nameless.csv"},
            r"has neither a column `id` nor `path`, only",
        ),
        ({"labelled": tmp_path / "gone.csv"}, r"select\.labelled: .*gone\.csv: No such file"),
    ]
    for options, said in wrong:
        with pytest.raises(UserError, match=said):
            select(pool, SelectConfig(**options))
    blocks: list[tuple[dict[str, Any], str]] = [
        ({}, r"select\.embeddings: missing; name the file that embed wrote"),
        ({"embeddings": [7]}, r"select\.embeddings: should be a file or a list of files, but"),
        ({"embeddings": "e", "rule": {"name": "kcentre"}}, r"rule\.name: .*mean 'k_centre'"),
    ]
    for block, said in blocks:
        with pytest.raises(UserError, match=said):
            parse_request(block, "select")
