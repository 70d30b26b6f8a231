"""How alert lines reach people: one module per channel; `channels.py` lists them, add one there.

What is sent today are the lines of the collector's row guards. Incidents are published in
`data/<monitor>/results/incidents/`, shown by `sightline incidents` and in Dagster, and sent nowhere yet.
"""
