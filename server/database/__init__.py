"""PostgreSQL: how a named query runs (`connector`), what it means (the other modules), its text."""
