"""How `make notebook` starts JupyterLab: on this machine alone, asking nobody else for news, updates or extensions."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821  JupyterLab's own way
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port_retries = 0  # another port than the one that was printed would be of no use
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True  # in a container everybody is root
c.ServerApp.log_level = "WARN"
c.LabApp.log_level = "WARN"
c.LabApp.extension_manager = "readonly"
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
