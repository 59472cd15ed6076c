"""How far a scan lies from those of training."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskwise.errors import UserError
from maskwise.limits.typical import MOST_AXES, Space, unlike

PATIENTS = np.array([f"patient {n // 2}" for n in range(60)], dtype=object)


def features(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw features of which some go together, on scales of their own."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(count, 5)) @ np.random.default_rng(9).normal(size=(5, width))
    noise = generator.normal(size=(count, width))
    return (3 + (mixed + noise) * np.linspace(0.1, 9, width)).astype(np.float32)


@pytest.mark.parametrize(("scans", "width"), [(40, 90), (200, 12), (60, 60)])
def test_the_distance_is_that_of_the_gaussian_written_out(scans: int, width: int) -> None:
    learnt, others = features(scans, width), features(20, width, seed=1)
    space = Space.of(learnt, features(60, width, seed=2), PATIENTS)
    mean, std = learnt.mean(axis=0, dtype=float), learnt.std(axis=0, dtype=float)
    values, vectors = np.linalg.eigh(np.cov(((learnt - mean) / std).T, bias=True))
    count = min(MOST_AXES, scans // 4, width)
    first, rest = vectors[:, ::-1][:, :count], values[::-1][count:]
    common = max(rest.mean(), 1e-6) if len(rest) else 1e-6
    covariance = first * values[::-1][:count] @ first.T
    covariance += common * (np.eye(width) - first @ first.T)
    for row, found in zip(others, space.distances(others), strict=True):
        apart = (row - mean) / std
        expected = np.sqrt(apart @ np.linalg.inv(covariance) @ apart / width)
        assert found == pytest.approx(expected, rel=1e-6)


def test_a_held_out_patient_counts_once_by_its_farthest_scan() -> None:
    held_out = features(60, 30, seed=1)
    space = Space.of(features(80, 30), held_out, PATIENTS)
    distances = space.distances(held_out)
    farthest = [distances[name == PATIENTS].max() for name in dict.fromkeys(PATIENTS)]
    assert space.held_out.tolist() == sorted(farthest)


def test_what_is_far_away_is_flagged_and_what_is_alike_hardly_ever() -> None:
    space = Space.of(features(200, 30), features(60, 30, seed=1), PATIENTS)
    alike, strangers = features(400, 30, seed=2), features(50, 30, seed=3) + 40
    assert unlike(space.p_values(strangers), 0.05).all()
    assert unlike(space.p_values(alike), 0.05).mean() < 0.1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 12), st.integers(1, 12))
def test_few_scans_and_features_that_never_vary_give_finite_distances(
    scans: int, width: int
) -> None:
    learnt = features(scans, width)
    learnt[:, 0] = 1
    space = Space.of(learnt, features(3, width, seed=1), PATIENTS[:3])
    assert np.isfinite(space.distances(features(5, width, seed=2))).all()
    assert np.isfinite(space.distances(np.zeros((1, width)))).all()


def of_patients(count: int) -> Space:
    one = np.ones(1)
    return Space(one, one, np.ones((1, 1)), one, 1.0, np.arange(count, dtype=float))


@pytest.mark.parametrize(("patients", "share"), [(30, 0.05), (19, 0.05), (9, 0.1), (1, 0.5)])
def test_unasked_the_flag_takes_five_per_cent_or_what_few_patients_allow(
    patients: int, share: float
) -> None:
    space = of_patients(patients)
    assert space.false_alarms(None, "predict.false_alarms") == pytest.approx(share)
    assert unlike(np.array([1 / (1 + patients)]), share).all()


def test_a_share_that_so_few_patients_cannot_show_is_refused_with_how_many_can() -> None:
    space = of_patients(9)
    with pytest.raises(UserError) as error:
        space.false_alarms(0.05, "predict.false_alarms")
    assert str(error.value) == (
        "predict.false_alarms: is 0.05, which needs 19 held-out patients, but the model was "
        "calibrated on 9; leave it out, or set it to 0.1 or more"
    )
    assert space.false_alarms(0.1, "predict.false_alarms") == 0.1
