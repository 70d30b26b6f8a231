"""Sources that are no files here: what they hold is fetched into files beside the log, then loaded like any other."""
