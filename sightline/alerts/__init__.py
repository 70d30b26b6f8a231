"""From evidence to incidents: decisions, what people do about them, and how alerts reach people."""
