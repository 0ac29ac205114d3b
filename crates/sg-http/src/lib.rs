//! The doors: ingest, query, health, metrics.
