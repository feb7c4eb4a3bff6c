"""Cards of fitted artefacts, in the form of model cards."""
