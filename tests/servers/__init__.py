"""Several servers together, on loopback: a Cluster, and a master with replicas and sentinels."""
