//! Journeys over the public interfaces; the driver of the demo and of the end-to-end tests.
