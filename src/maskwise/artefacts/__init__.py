"""What stages say to each other: schema, read, write. The only doors to the disk."""
