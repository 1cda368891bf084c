"""Templates: named, versioned, filled by a process that can be killed."""
