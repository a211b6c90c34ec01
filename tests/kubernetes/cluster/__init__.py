"""A Kubernetes of one node, started from its programs; `cluster.cluster` is the whole of it."""
