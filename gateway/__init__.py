"""The only door: who may enter, what may pass, what is remembered, where it goes."""
