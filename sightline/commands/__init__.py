"""The subcommands of ``sightline``, one module each."""
