//! Both ends of at-least-once delivery between PostgreSQL and Kafka: append, relay, consumer, inbox.
