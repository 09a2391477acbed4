import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's own Java client behind the command line of ../README.md. */
public final class Client {
    private static final long FIRST_TIMESTAMP = 1_700_000_000_000L;
    private static final long STEP = 1000;
    private static final Duration LIMIT = Duration.ofSeconds(60);

    public static void main(String[] words) throws Exception {
        String bootstrap = words[1];
        String topic = words[2];
        switch (words[0]) {
            case "create" -> create(bootstrap, topic, Integer.parseInt(words[3]));
            case "write" -> write(bootstrap, topic, Integer.parseInt(words[3]), settings(words[4], words[5], words[6]), words[7]);
            case "read" -> read(bootstrap, partition(topic, words[3]), Long.parseLong(words[4]), Long.parseLong(words[5]), Client::show);
            case "at" -> System.out.println(at(bootstrap, partition(topic, words[3]), Long.parseLong(words[4])));
            case "ends" -> ends(bootstrap, partition(topic, words[3]));
            case "write-lines" -> writeLines(bootstrap, topic, settings(words[3], "all", "yes"), words[4]);
            case "read-lines" -> read(bootstrap, partition(topic, "0"), 0, Long.parseLong(words[3]), Client::showValue);
            default -> throw new IllegalArgumentException("cannot " + words[0]);
        }
    }

    private interface Show {
        void record(ConsumerRecord<byte[], byte[]> record, OutputStream out) throws IOException;
    }

    private static TopicPartition partition(String topic, String index) {
        return new TopicPartition(topic, Integer.parseInt(index));
    }

    private static Properties settings(String codec, String acks, String idempotent) {
        Properties settings = new Properties();
        settings.put("compression.type", codec);
        settings.put("acks", acks);
        settings.put("enable.idempotence", idempotent.equals("yes") ? "true" : "false");
        settings.put("linger.ms", "20");
        settings.put("delivery.timeout.ms", String.valueOf(LIMIT.toMillis()));
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        return settings;
    }

    private static void create(String bootstrap, String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    private static void write(String bootstrap, String topic, int partitions, Properties settings, String file) throws Exception {
        settings.put("bootstrap.servers", bootstrap);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<byte[], byte[]>(settings)) {
            int i = 0;
            for (String line : Files.readAllLines(Path.of(file))) {
                int tab = line.indexOf('\t');
                List<Header> headers = List.of(new RecordHeader("n", bytes(String.valueOf(i))));
                sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, FIRST_TIMESTAMP + STEP * i,
                    bytes(line.substring(0, tab)), bytes(line.substring(tab + 1)), headers)));
                i++;
            }
            producer.flush();
        }
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
    }

    private static void writeLines(String bootstrap, String topic, Properties settings, String file) throws Exception {
        settings.put("bootstrap.servers", bootstrap);
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (var producer = new KafkaProducer<byte[], byte[]>(settings);
                var input = new BufferedInputStream(Files.newInputStream(Path.of(file)), 1 << 20)) {
            // Only a line feed ends a line here; Java's readers also end them at a carriage return.
            var line = new ByteArrayOutputStream();
            for (int next = input.read(); next >= 0; next = input.read()) {
                if (next != '\n') {
                    line.write(next);
                    continue;
                }
                producer.send(new ProducerRecord<>(topic, 0, null, line.toByteArray()), (done, error) -> {
                    if (error != null) {
                        failed.set(error);
                    }
                });
                line.reset();
            }
        }
        if (failed.get() != null) {
            throw failed.get();
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "none");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        return new KafkaConsumer<>(settings);
    }

    private static void read(String bootstrap, TopicPartition partition, long offset, long count, Show show) throws IOException {
        try (var consumer = consumer(bootstrap); var out = new BufferedOutputStream(System.out, 1 << 20)) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, offset);
            long last = System.nanoTime();
            while (count > 0) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    last = System.nanoTime();
                    if (count-- > 0) {
                        show.record(record, out);
                    }
                }
                if (System.nanoTime() - last > LIMIT.toNanos()) {
                    throw new IOException(count + " records did not come");
                }
            }
        }
    }

    private static void show(ConsumerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        out.write(bytes(record.offset() + "\t" + record.timestamp() + "\t"));
        Header n = record.headers().lastHeader("n");
        for (byte[] field : new byte[][] {record.key(), bytes("\t"), record.value(), bytes("\t"), n == null ? null : n.value()}) {
            if (field != null) {
                out.write(field);
            }
        }
        out.write('\n');
    }

    private static void showValue(ConsumerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        out.write(record.value());
        out.write('\n');
    }

    private static long at(String bootstrap, TopicPartition partition, long timestamp) {
        try (var consumer = consumer(bootstrap)) {
            var found = consumer.offsetsForTimes(Map.of(partition, timestamp)).get(partition);
            return found == null ? -1 : found.offset();
        }
    }

    private static void ends(String bootstrap, TopicPartition partition) {
        try (var consumer = consumer(bootstrap)) {
            List<TopicPartition> one = List.of(partition);
            System.out.println(consumer.beginningOffsets(one).get(partition) + " " + consumer.endOffsets(one).get(partition));
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
