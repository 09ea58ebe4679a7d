//! ODF in, one ordered durable feed out: documents, schedule, results, medals, feed rights.
