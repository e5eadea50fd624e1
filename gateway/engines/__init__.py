"""Where a request goes: the engines of this host, which of them are ready, and the connections to them."""
