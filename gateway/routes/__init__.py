"""One file for each route or family of routes: what HTTP says. Decides no policy."""
