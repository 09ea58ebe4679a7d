//! The process: configuration, listeners, telemetry, lifecycle, health, database, error codes, authentication, channels.
