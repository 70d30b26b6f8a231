"""One module per page: each makes a `Page`, whose data are its `.json` twin."""
