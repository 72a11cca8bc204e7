"""Models: weights under control. Manifests, proposal and approval, withdrawal."""
