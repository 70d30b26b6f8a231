"""How a message reaches people: one module per kind of channel; `reaching.py` lists them, add one there."""
