"""What a message says: facts, one set of templates per form, and escaping."""
