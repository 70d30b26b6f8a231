"""The monitor's YAML: model, loader, rules, names, and the documentation made from them."""
