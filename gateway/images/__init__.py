"""Images that are encoded anew, and images that are fetched by URL; both off by default. Never decodes in the gateway's process."""
