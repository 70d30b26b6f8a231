"""``python -m demo.tickets``: generated support tickets, a classifier of texts, and changes that are put in."""
