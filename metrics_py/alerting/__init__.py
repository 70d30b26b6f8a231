"""Alerting under a budget: daily statistics -> one-step p-values -> evidence -> one decision over all streams.

`replay` runs the engine over an evidence log; `Engine` is the same engine one window at a time with a state that
persists.
"""

from metrics_py.alerting.config import EngineConfig
from metrics_py.alerting.decision import Decision, Statistic
from metrics_py.alerting.engine import Engine
from metrics_py.alerting.incidents import Incident, Member
from metrics_py.alerting.replay import Replay, SavedReplay, replay
from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA, STREAMS_SCHEMA

__all__ = [
    "INCIDENTS_SCHEMA",
    "MEMBERS_SCHEMA",
    "STREAMS_SCHEMA",
    "Decision",
    "Engine",
    "EngineConfig",
    "Incident",
    "Member",
    "Replay",
    "SavedReplay",
    "Statistic",
    "replay",
]
