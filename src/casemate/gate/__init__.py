"""Gate: who may do what, with what, from where. Identity, labels, use cases, policy, perimeter."""
