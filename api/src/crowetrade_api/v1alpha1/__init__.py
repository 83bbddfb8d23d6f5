"""Version v1alpha1 of the custom resources: frozen models, the one source of crds/."""
