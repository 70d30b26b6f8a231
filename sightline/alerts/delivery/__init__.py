"""How alerts reach people: one module per way."""
