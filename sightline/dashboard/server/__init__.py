"""The dashboard over HTTP: addresses, twins, errors, actions, and who may do what."""
