//! For tests: a database, topics and a clock per test, an SMTP sink, an OTLP receiver, sample people and races.
