"""All sections of the suite that the monitor's file and the rows of a candidate allow."""

from __future__ import annotations

from sightline.evaluation.sets.rows import Candidate, Compared
from sightline.evaluation.suite.answers import answers, other_truth
from sightline.evaluation.suite.calibration import calibration
from sightline.evaluation.suite.fairness import fairness
from sightline.evaluation.suite.findings import Section
from sightline.evaluation.suite.overlap import overlap
from sightline.evaluation.suite.robustness import robustness
from sightline.evaluation.suite.slices import weaknesses
from sightline.evaluation.suite.traffic import Traffic, drift, latency
from sightline.evaluation.suite.training import Training
from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec


def suite_of(
    spec: MonitorSpec,
    compared: Compared,
    candidate: Candidate,
    *,
    training: Training | None = None,
    traffic: Traffic | None = None,
    paths: MonitorPaths | None = None,
) -> tuple[Section, ...]:
    """Sections in the order in which they are shown.

    Parameters
    ----------
    spec : MonitorSpec
    compared : Compared
        Labelled rows of champion and challenger.
    candidate : Candidate
        All of its rows.
    training : Training, optional
        What the candidate was trained on.
    traffic : Traffic, optional
        Production and reference to compare the rows with.
    paths : MonitorPaths, optional
        The user's modules are found in its home folder.
    """
    if spec.model.task == "ranking":
        return tuple(section for section in (answers(compared),) if section is not None)
    found = (
        other_truth(compared),
        answers(compared),
        fairness(spec, compared),
        weaknesses(spec, compared),
        calibration(spec, compared),
        overlap(spec, compared, training, has_ids=candidate.has_ids),
        drift(spec, candidate, training, traffic) if traffic is not None else None,
        robustness(spec, paths, compared) if paths is not None else None,
        latency(spec, candidate, traffic) if traffic is not None else None,
    )
    return tuple(section for section in found if section is not None)
