"""The likely causes of incidents: one ranked list in plain words, with the evidence for each."""

from sightline.alerts.causes.case import Cause
from sightline.alerts.causes.publish import of_incident, publish

__all__ = ["Cause", "of_incident", "publish"]
