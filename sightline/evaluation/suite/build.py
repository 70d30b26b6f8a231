"""All sections of the suite that the monitor's file and the rows of a candidate allow."""

from __future__ import annotations

from sightline.evaluation.rows import Compared
from sightline.evaluation.suite.calibration import calibration
from sightline.evaluation.suite.fairness import fairness
from sightline.evaluation.suite.findings import Section
from sightline.evaluation.suite.slices import weaknesses
from sightline.spec.model import MonitorSpec


def suite_of(spec: MonitorSpec, compared: Compared) -> tuple[Section, ...]:
    """Sections in the order in which they are shown.

    Parameters
    ----------
    spec : MonitorSpec
    compared : Compared
        Labelled rows of champion and challenger.
    """
    found = (fairness(spec, compared), weaknesses(spec, compared), calibration(spec, compared))
    return tuple(section for section in found if section is not None)
