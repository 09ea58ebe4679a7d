import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Sends the rows of an outbox to Kafka as Debezium does it: from PostgreSQL's log, by the outbox router, at least once. The
 * records have the key, payload and headers of ours. Queues and producer are set for throughput, polling for latency;
 * offsets are kept in memory, and nothing is converted that need not be, so that Debezium is seen at its best.
 *
 * <p>It reads DATABASE_HOST, DATABASE_PORT, DATABASE_NAME, DATABASE_USER, KAFKA_BROKERS, TOPIC_PREFIX and SLOT;
 * publication and slot have the same name and exist already. It ends at SIGTERM.
 */
public final class DebeziumRelay {
    private DebeziumRelay() {}

    public static void main(String[] arguments) throws Exception {
        KafkaProducer<String, byte[]> producer = new KafkaProducer<>(producerSettings());
        DebeziumEngine<RecordChangeEvent<SourceRecord>> engine =
                DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                        .using(engineSettings())
                        .using((success, message, error) -> {
                            if (!success) {
                                System.err.println("the engine ends: " + message);
                                if (error != null) {
                                    error.printStackTrace();
                                }
                                // Not exit: the hook below waits for the engine, which waits for us.
                                Runtime.getRuntime().halt(1);
                            }
                        })
                        .notifying((records, committer) -> send(producer, records, committer))
                        .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                engine.close();
            } catch (Exception error) {
                System.err.println("the engine does not end as it should: " + error);
            }
            producer.close();
        }));
        engine.run();
    }

    private static void send(
            KafkaProducer<String, byte[]> producer,
            List<RecordChangeEvent<SourceRecord>> records,
            DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
            throws InterruptedException {
        List<Future<RecordMetadata>> answers = new ArrayList<>(records.size());
        for (RecordChangeEvent<SourceRecord> record : records) {
            answers.add(producer.send(toKafka(record.record())));
        }
        for (int at = 0; at < answers.size(); at++) {
            try {
                answers.get(at).get();
            } catch (ExecutionException error) {
                throw new IllegalStateException(error.getCause());
            }
            committer.markProcessed(records.get(at));
        }
        committer.markBatchFinished();
    }

    private static ProducerRecord<String, byte[]> toKafka(SourceRecord source) {
        ProducerRecord<String, byte[]> record =
                new ProducerRecord<>(source.topic(), (String) source.key(), bytes(source.value()));
        for (Header header : source.headers()) {
            if (header.value() != null) {
                byte[] value = header.value().toString().getBytes(StandardCharsets.UTF_8);
                record.headers().add(header.key(), value);
            }
        }
        return record;
    }

    private static byte[] bytes(Object value) {
        if (value instanceof ByteBuffer) {
            ByteBuffer buffer = ((ByteBuffer) value).duplicate();
            byte[] copy = new byte[buffer.remaining()];
            buffer.get(copy);
            return copy;
        }
        return (byte[]) value;
    }

    private static Properties producerSettings() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", setting("KAFKA_BROKERS"));
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("compression.type", "lz4");
        settings.put("linger.ms", "5");
        settings.put("batch.size", "262144");
        settings.put("buffer.memory", "67108864");
        return settings;
    }

    private static Properties engineSettings() {
        Properties settings = new Properties();
        settings.put("name", "bench");
        settings.put("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        settings.put("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
        settings.put("offset.flush.interval.ms", "1000");
        settings.put("database.hostname", setting("DATABASE_HOST"));
        settings.put("database.port", setting("DATABASE_PORT"));
        settings.put("database.dbname", setting("DATABASE_NAME"));
        settings.put("database.user", setting("DATABASE_USER"));
        settings.put("database.password", "");
        settings.put("topic.prefix", "bench");
        settings.put("plugin.name", "pgoutput");
        settings.put("slot.name", setting("SLOT"));
        settings.put("publication.name", setting("SLOT"));
        settings.put("publication.autocreate.mode", "disabled");
        settings.put("snapshot.mode", "no_data");
        settings.put("table.include.list", "mailer.outbox");
        settings.put("tombstones.on.delete", "false");
        settings.put("binary.handling.mode", "bytes");
        settings.put("max.batch.size", "8192");
        settings.put("max.queue.size", "32768");
        // The default, half a second, is what a quiet outbox would wait.
        settings.put("poll.interval.ms", "5");
        settings.put("transforms", "outbox");
        settings.put("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
        settings.put("transforms.outbox.table.field.event.key", "aggregateid");
        settings.put("transforms.outbox.route.by.field", "aggregatetype");
        settings.put("transforms.outbox.route.topic.replacement", setting("TOPIC_PREFIX") + "${routedByValue}");
        settings.put(
                "transforms.outbox.table.fields.additional.placement",
                "id:header:ce_id,type:header:ce_type,version:header:kotinos_version,"
                        + "occurred_at:header:ce_time,traceparent:header");
        return settings;
    }

    private static String setting(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return value;
    }
}
