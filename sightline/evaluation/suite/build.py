"""All sections of the suite that the monitor's file and the rows of a candidate allow."""

from __future__ import annotations

from sightline.evaluation.rows import Compared
from sightline.evaluation.suite.calibration import calibration
from sightline.evaluation.suite.fairness import fairness
from sightline.evaluation.suite.findings import Section
from sightline.evaluation.suite.overlap import overlap
from sightline.evaluation.suite.slices import weaknesses
from sightline.evaluation.suite.training import Training
from sightline.spec.model import MonitorSpec


def suite_of(
    spec: MonitorSpec, compared: Compared, *, training: Training | None = None, has_ids: bool = True
) -> tuple[Section, ...]:
    """Sections in the order in which they are shown.

    Parameters
    ----------
    spec : MonitorSpec
    compared : Compared
        Labelled rows of champion and challenger.
    training : Training, optional
        What the candidate was trained on.
    has_ids : bool, default True
        The candidate's rows carry prediction ids.
    """
    if spec.model.task == "ranking":
        return ()
    found = (
        fairness(spec, compared),
        weaknesses(spec, compared),
        calibration(spec, compared),
        overlap(spec, compared, training, has_ids=has_ids),
    )
    return tuple(section for section in found if section is not None)
