"""Open formats out of stored items. Pure: bytes and names in, bytes and names out."""
