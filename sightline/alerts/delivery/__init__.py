"""How a message reaches people: what is due is sent (`sending`), by one module per kind of channel (`reaching`)."""
