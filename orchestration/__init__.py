"""The Dagster code location: monitors become assets, checks, jobs and sensors.

Importing this package or any module of it changes nothing in the process. What makes Sightline's own processes fast is
chosen from outside: the event log by the instance's ``dagster.yaml``, forked runs by ``SIGHTLINE_WARM_START=1``.
"""
