"""Pure folds of events: timeline, cost, lineage, the seven answers. Every view can be rebuilt from the journal."""
