"""Files fetched over HTTP: permissions, caches and retries."""
