import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills a running Apache Kafka with a little of everything a partition's folder can hold, and writes down what its
 * consumer reads back.
 *
 *   DataDirectory fill <bootstrap>                      leaves one transaction open
 *   DataDirectory read <bootstrap> <isolation> <file>   writes one line per record
 */
public class DataDirectory {
  static final long CLOCK = 1_700_000_000_000L;
  static final long SEGMENT_MS = 3_600_000L;

  static String bootstrap;

  static KafkaProducer<byte[], byte[]> producer(String... settings) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("linger.ms", "50");
    for (int i = 0; i < settings.length; i += 2) properties.put(settings[i], settings[i + 1]);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  static ProducerRecord<byte[], byte[]> record(String topic, int number, long timestamp) {
    byte[] key = number % 4 == 0 ? null : ("key-" + number).getBytes(StandardCharsets.UTF_8);
    byte[] value = number % 7 == 0 ? null : ("value " + number + " of " + topic + " ").repeat(1 + number % 5).getBytes(StandardCharsets.UTF_8);
    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, 0, timestamp, key, value);
    if (number % 3 == 0) record.headers().add("h", ("header " + number).getBytes(StandardCharsets.UTF_8)).add("empty", null);
    return record;
  }

  static void fill() throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(
          new NewTopic("codecs", 1, (short) 1),
          new NewTopic("stamped", 1, (short) 1).configs(Map.of("message.timestamp.type", "LogAppendTime")),
          new NewTopic("segments", 1, (short) 1).configs(Map.of("segment.ms", String.valueOf(SEGMENT_MS), "index.interval.bytes", "200")),
          new NewTopic("transactions", 1, (short) 1))).all().get();
    }
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      try (var plain = producer("compression.type", codec, "enable.idempotence", "false")) {
        for (int i = 0; i < 20; i++) plain.send(record("codecs", i, CLOCK + i));
      }
      try (var stamped = producer("compression.type", codec)) {
        for (int i = 0; i < 5; i++) stamped.send(record("stamped", i, CLOCK + i));
      }
    }
    try (var idempotent = producer(); var other = producer("compression.type", "lz4")) {
      for (int segment = 0; segment < 3; segment++) {
        for (int i = 0; i < 40; i++) {
          idempotent.send(record("segments", i, CLOCK + segment * (SEGMENT_MS + 1) + i)).get();
          if (i % 4 == 0) other.send(record("segments", i, CLOCK + segment * (SEGMENT_MS + 1) + i)).get();
        }
      }
    }
    transactions();
  }

  static void transactions() throws Exception {
    var plain = producer();
    var first = producer("transactional.id", "first");
    var second = producer("transactional.id", "second");
    first.initTransactions();
    second.initTransactions();
    for (int round = 0; round < 3; round++) {
      first.beginTransaction();
      second.beginTransaction();
      for (int i = 0; i < 5; i++) {
        first.send(record("transactions", 100 * round + i, CLOCK + i)).get();
        second.send(record("transactions", 100 * round + 50 + i, CLOCK + i)).get();
        plain.send(record("transactions", 100 * round + 80 + i, CLOCK + i)).get();
      }
      first.commitTransaction();
      second.abortTransaction();
    }
    first.beginTransaction();
    first.send(record("transactions", 999, CLOCK)).get();
    plain.send(record("transactions", 1000, CLOCK)).get();
    plain.close();
    // Left open on purpose: the last stable offset stays below it. Closing the producer would abort it.
    Runtime.getRuntime().halt(0);
  }

  static void read(String isolation, String file) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("isolation.level", isolation);
    try (PrintStream text = new PrintStream(file, "UTF-8");
        var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      for (String topic : List.of("codecs", "stamped", "segments", "transactions")) {
        TopicPartition partition = new TopicPartition(topic, 0);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        long end = consumer.endOffsets(List.of(partition)).get(partition);
        while (consumer.position(partition) < end)
          for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) text.println(line(record));
        text.println(topic + " end " + end);
      }
    }
  }

  static String line(ConsumerRecord<byte[], byte[]> record) {
    StringBuilder line = new StringBuilder(record.topic() + " " + record.offset() + " " + record.timestamp() + " "
        + record.leaderEpoch().orElse(-1) + " " + hex(record.key()) + " " + hex(record.value()));
    for (Header header : record.headers()) line.append(' ').append(header.key()).append('=').append(hex(header.value()));
    return line.toString();
  }

  static String hex(byte[] bytes) {
    return bytes == null ? "null" : "x" + HexFormat.of().formatHex(bytes);
  }

  public static void main(String[] args) throws Exception {
    bootstrap = args[1];
    switch (args[0]) {
      case "fill" -> fill();
      case "read" -> read(args[2], args[3]);
      default -> throw new IllegalArgumentException(args[0]);
    }
  }
}
