"""Long-lived helpers: cron, watcher, digest."""
