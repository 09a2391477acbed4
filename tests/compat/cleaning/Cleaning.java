import java.io.File;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.FileLogInputStream.FileChannelRecordBatch;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Random histories of keyed records for ./run, and what the segments of a partition hold.
 *
 *   Cleaning create BOOTSTRAP [TOPIC:NAME=VALUE,NAME=VALUE]...   makes topics with one partition
 *   Cleaning fill BOOTSTRAP SEED FIRST_TIMESTAMP TOPIC...        prints "TOPIC OFFSET": below it everything can be compacted
 *   Cleaning dump FOLDER...                                      prints each batch and record of partitions
 */
public final class Cleaning {
  private static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
  private static final int BATCHES = 150;
  private static final int KEYS = 60;
  /** Topics have segment.ms=1000: what is so much later begins a segment. */
  private static final long LATER_MS = 10_000;
  private static final long YOUNG_MS = 10 * 60_000;

  public static void main(String[] words) throws Exception {
    String[] rest = Arrays.copyOfRange(words, Math.min(2, words.length), words.length);
    switch (words[0]) {
      case "create" -> create(words[1], rest);
      case "fill" -> {
        for (int i = 2; i < rest.length; i++) {
          Fill fill = new Fill(words[1], rest[i], new Random(Long.parseLong(rest[0]) * 31 + i), Long.parseLong(rest[1]));
          System.out.println(rest[i] + " " + fill.run());
        }
      }
      case "dump" -> {
        for (int i = 1; i < words.length; i++) dump(new File(words[i]));
      }
      default -> throw new IllegalArgumentException("cannot " + words[0]);
    }
    System.exit(0);
  }

  private static void create(String bootstrap, String[] topics) throws Exception {
    List<NewTopic> wanted = new ArrayList<>();
    for (String topic : topics) {
      String[] parts = topic.split(":", 2);
      Map<String, String> configs = new HashMap<>();
      for (String config : parts[1].split(",")) configs.put(config.split("=")[0], config.split("=")[1]);
      wanted.add(new NewTopic(parts[0], 1, (short) 1).configs(configs));
    }
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(wanted).all().get();
    }
  }

  /** The history of one topic: one batch after the other, each by one of several producers. */
  private static final class Fill {
    final String bootstrap, topic;
    final Random random;
    final List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
    long clock;

    Fill(String bootstrap, String topic, Random random, long clock) {
      this.bootstrap = bootstrap;
      this.topic = topic;
      this.random = random;
      this.clock = clock;
      for (String codec : CODECS) producers.add(producer(codec, true));
      producers.add(producer("none", false));
      producers.add(producer("lz4", false));
    }

    /** Sends nothing before it is told to, so that what is sent together is one batch. */
    KafkaProducer<byte[], byte[]> producer(String codec, boolean idempotent) {
      Properties settings = new Properties();
      settings.put("bootstrap.servers", bootstrap);
      settings.put("compression.type", codec);
      settings.put("enable.idempotence", String.valueOf(idempotent));
      settings.put("acks", "all");
      settings.put("linger.ms", "60000");
      settings.put("batch.size", "100000");
      if (transactional() && idempotent) settings.put("transactional.id", topic + "-" + codec);
      ByteArraySerializer serializer = new ByteArraySerializer();
      KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, serializer, serializer);
      if (transactional() && idempotent) producer.initTransactions();
      return producer;
    }

    boolean transactional() {
      return topic.equals("transactional");
    }

    long run() throws Exception {
      long cleanable = -1;
      for (int i = 0; i < BATCHES; i++) {
        if (topic.equals("young") && i == BATCHES / 2) {
          clock = Math.max(clock + LATER_MS, System.currentTimeMillis() - YOUNG_MS);
          cleanable = closing();
        }
        batch();
      }
      if (transactional()) awaitMarkers();
      clock += LATER_MS;
      long end = closing();
      for (KafkaProducer<byte[], byte[]> producer : producers) producer.close();
      return cleanable < 0 ? end : cleanable;
    }

    /** Who commits is answered before the markers are written. */
    void awaitMarkers() throws Exception {
      TopicPartition partition = new TopicPartition(topic, 0);
      try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
        for (long stable = -1, end = 0; stable < end; ) {
          end = end(admin, partition, IsolationLevel.READ_UNCOMMITTED);
          stable = end(admin, partition, IsolationLevel.READ_COMMITTED);
        }
      }
    }

    static long end(Admin admin, TopicPartition partition, IsolationLevel level) throws Exception {
      return admin.listOffsets(Map.of(partition, OffsetSpec.latest()), new ListOffsetsOptions(level))
          .partitionResult(partition).get().offset();
    }

    /** Begins a segment, with a key of its own. */
    long closing() throws Exception {
      // Here the broker's clock rolls the segments, by segment.ms=100.
      if (topic.equals("stamped")) Thread.sleep(150);
      // Markers have the time of the broker's clock, which is later than any record.
      long timestamp = transactional() ? System.currentTimeMillis() + LATER_MS : clock;
      byte[] key = ("closing " + timestamp).getBytes();
      KafkaProducer<byte[], byte[]> plain = producers.get(CODECS.length);
      Future<RecordMetadata> sent = plain.send(new ProducerRecord<>(topic, 0, timestamp, key, new byte[0]));
      plain.flush();
      return sent.get().offset();
    }

    void batch() throws Exception {
      clock += random.nextInt(60);
      int index = random.nextInt(producers.size());
      KafkaProducer<byte[], byte[]> producer = producers.get(index);
      boolean transaction = transactional() && index < CODECS.length;
      if (transaction) producer.beginTransaction();
      for (int batches = transaction ? 1 + random.nextInt(3) : 1; batches > 0; batches--) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int left = 1 + random.nextInt(5); left > 0; left--) sent.add(producer.send(record()));
        producer.flush();
        for (Future<RecordMetadata> one : sent) one.get();
      }
      if (transaction && random.nextInt(3) == 0) producer.abortTransaction();
      else if (transaction) producer.commitTransaction();
    }

    ProducerRecord<byte[], byte[]> record() {
      byte[] key = ("key " + random.nextInt(random.nextBoolean() ? KEYS : KEYS / 10)).getBytes();
      byte[] value = random.nextInt(5) == 0 ? null : bytes(random.nextInt(20) == 0 ? 5_000 : random.nextInt(100));
      long timestamp = clock - (random.nextInt(3) == 0 ? random.nextInt(3_000) : 0);
      List<Header> headers = new ArrayList<>();
      for (int left = Math.max(0, random.nextInt(8) - 5), i = 0; i < left; i++)
        headers.add(new RecordHeader("header " + i / 2, random.nextInt(4) == 0 ? null : bytes(i * 3)));
      return new ProducerRecord<>(topic, 0, timestamp, key, value, headers);
    }

    byte[] bytes(int size) {
      byte[] bytes = new byte[size];
      random.nextBytes(bytes);
      return bytes;
    }
  }

  private static String hex(byte[] bytes) {
    return bytes == null ? "null" : HexFormat.of().formatHex(bytes);
  }

  private static byte[] array(ByteBuffer buffer) {
    if (buffer == null) return null;
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes;
  }

  private static void dump(File folder) throws Exception {
    File[] files = folder.listFiles(file -> file.getName().endsWith(".log"));
    Arrays.sort(files);
    StringBuilder out = new StringBuilder("folder ").append(folder.getName()).append('\n');
    for (File file : files) {
      out.append("segment ").append(file.getName()).append('\n');
      try (FileRecords records = FileRecords.open(file, false)) {
        for (FileChannelRecordBatch batch : records.batches()) dump(batch, out);
      }
    }
    System.out.print(out);
    System.out.flush();
  }

  private static void dump(FileChannelRecordBatch batch, StringBuilder out) {
    batch.ensureValid();
    boolean horizon = batch.deleteHorizonMs().isPresent();
    out.append("batch ").append(batch.baseOffset()).append("..").append(batch.lastOffset())
        .append(" magic ").append(batch.magic()).append(" epoch ").append(batch.partitionLeaderEpoch())
        .append(" producer ").append(batch.producerId()).append('/').append(batch.producerEpoch()).append('/').append(batch.baseSequence())
        .append('-').append(batch.lastSequence()).append(' ').append(batch.compressionType()).append(' ').append(batch.timestampType())
        .append(batch.isTransactional() ? " transactional" : "").append(batch.isControlBatch() ? " control" : "")
        .append(" count ").append(batch.countOrNull()).append(" newest ").append(batch.maxTimestamp())
        .append(" horizon ").append(horizon ? batch.deleteHorizonMs().getAsLong() : "none");
    if (batch.compressionType().id == 0) out.append(" size ").append(batch.sizeInBytes());
    out.append('\n');
    for (Record record : batch) {
      out.append("  ").append(record.offset()).append(' ').append(record.timestamp()).append(' ').append(record.sequence())
          .append(' ').append(hex(array(record.key()))).append(' ').append(hex(array(record.value())));
      for (Header header : record.headers()) out.append(' ').append(header.key()).append('=').append(hex(header.value()));
      out.append('\n');
    }
  }
}
