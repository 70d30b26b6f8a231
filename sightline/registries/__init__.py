"""Model registries: new versions are evaluated, and the verdict is written back."""
