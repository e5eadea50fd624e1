"""The embedded default: a tiny GLM-4V that we trained ourselves, with everything needed to train and judge it again."""
