import java.io.File;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * A random history of keyed records, tombstones and transactions, cleaned several times by Apache Kafka's own cleaner.
 * The test tests/kafka_cleaner.rs plays the same on ours and compares the segments.
 *
 *   CleanerHistory <folder> <seed> <passes>   writes history.txt, batches.bin and, of each pass, its files in after-TIME.bin
 */
public class CleanerHistory {
  static final long CLOCK = LogHistory.CLOCK;
  static final int SEGMENT_BYTES = 1_500;
  static final long DELETE_RETENTION_MS = 10_000;

  final File folder;
  final Random random;
  final PrintStream text;
  final FileOutputStream batches;
  final UnifiedLog log;
  final TreeMap<Long, Integer> sequences = new TreeMap<>();
  final TreeMap<Long, Boolean> open = new TreeMap<>();

  CleanerHistory(File folder, long seed) throws Exception {
    this.folder = folder;
    this.random = new Random(seed);
    File partition = new File(Files.createTempDirectory("cleaner").toFile(), "h-0");
    partition.mkdirs();
    text = new PrintStream(new File(folder, "history.txt"), "UTF-8");
    batches = new FileOutputStream(new File(folder, "batches.bin"));
    Properties properties = new Properties();
    properties.put("internal.segment.bytes", String.valueOf(SEGMENT_BYTES));
    properties.put("index.interval.bytes", "300");
    properties.put("cleanup.policy", "compact");
    properties.put("delete.retention.ms", String.valueOf(DELETE_RETENTION_MS));
    properties.put("segment.ms", String.valueOf(Long.MAX_VALUE));
    properties.put("file.delete.delay.ms", "0");
    log = UnifiedLog.create(partition, new LogConfig(properties), 0, 0, new LogHistory.Inline(), new BrokerTopicStats(),
        new LogHistory.Stopped(), 900_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000,
        new LogDirFailureChannel(1), true, Optional.of(Uuid.fromString("AAAAAAAAAAAAAAAAAAAAAQ")));
    log.assignEpochStartOffset(0, 0);
  }

  SimpleRecord[] records() {
    SimpleRecord[] records = new SimpleRecord[1 + random.nextInt(4)];
    for (int i = 0; i < records.length; i++) {
      byte[] value = new byte[random.nextInt(40)];
      random.nextBytes(value);
      byte[] key = {(byte) random.nextInt(30)};
      records[i] = new SimpleRecord(CLOCK + random.nextInt(1000), key, random.nextInt(5) == 0 ? null : value);
    }
    return records;
  }

  void append(MemoryRecords records, AppendOrigin origin) throws Exception {
    byte[] bytes = LogHistory.bytes(records);
    batches.write(bytes);
    log.appendAsLeader(MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)), 0, origin, RequestLocal.noCaching(),
        VerificationGuard.SENTINEL, (short) 0);
    text.println("append " + origin + " " + bytes.length + " " + log.logEndOffset());
  }

  void step() throws Exception {
    int kind = random.nextInt(10);
    if (kind < 4) {
      append(MemoryRecords.withRecords(Compression.NONE, records()), AppendOrigin.CLIENT);
      return;
    }
    // 100 and 101 are idempotent, the others transactional.
    long id = 100 + random.nextInt(5);
    if (kind < 9) {
      SimpleRecord[] records = records();
      int sequence = sequences.merge(id, records.length, Integer::sum) - records.length;
      append(id < 102 ? MemoryRecords.withIdempotentRecords(Compression.NONE, id, (short) 0, sequence, records)
          : MemoryRecords.withTransactionalRecords(Compression.NONE, id, (short) 0, sequence, records), AppendOrigin.CLIENT);
      if (id >= 102) open.put(id, true);
    } else if (open.remove(id) != null) {
      end(id);
    }
  }

  void end(long id) throws Exception {
    ControlRecordType type = random.nextInt(2) == 0 ? ControlRecordType.ABORT : ControlRecordType.COMMIT;
    append(MemoryRecords.withEndTransactionMarker(CLOCK, id, (short) 0, new EndTransactionMarker(type, 1)), AppendOrigin.COORDINATOR);
  }

  long clean(int pass, long firstDirty) throws Exception {
    log.updateHighWatermark(log.logEndOffset());
    long now = CLOCK + 6_000L * pass;
    // As LogCleanerManager bounds it without a compaction lag.
    long bound = Math.max(firstDirty, Math.min(log.lastStableOffset(), log.activeSegment().baseOffset()));
    Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 16), 1 << 14, 1 << 16, 0.9,
        new Throttler(Double.MAX_VALUE, 1, "t", "u", new LogHistory.Stopped()), new LogHistory.Stopped(), partition -> {});
    LogToClean work = new LogToClean(log, firstDirty, bound, false);
    if (work.cleanableBytes() == 0) return firstDirty;
    long end = cleaner.doClean(work, now).getKey();
    text.println("clean " + now + " " + firstDirty + " " + work.firstUncleanableOffset() + " " + end + " " + work.cleanBytes() + " "
        + work.cleanableBytes());
    File[] files = log.dir().listFiles(file -> file.length() > 0
        && (file.getName().endsWith(".log") || file.getName().endsWith(".txnindex")));
    Arrays.sort(files);
    try (FileOutputStream after = new FileOutputStream(new File(folder, "after-" + now + ".bin"))) {
      for (File file : files) {
        after.write((file.getName() + " " + file.length() + "\n").getBytes(StandardCharsets.UTF_8));
        after.write(Files.readAllBytes(file.toPath()));
      }
    }
    return end;
  }

  public static void main(String[] args) throws Exception {
    CleanerHistory history = new CleanerHistory(new File(args[0]), Long.parseLong(args[1]));
    long firstDirty = 0;
    for (int pass = 1; pass <= Integer.parseInt(args[2]); pass++) {
      for (int step = 0; step < 60; step++) history.step();
      if (pass != 3)
        for (Map.Entry<Long, Boolean> left : new TreeMap<>(history.open).entrySet()) {
          history.open.remove(left.getKey());
          history.end(left.getKey());
        }
      history.log.roll(Optional.empty());
      history.text.println("roll");
      firstDirty = history.clean(pass, firstDirty);
    }
    history.log.close();
    history.text.close();
    history.batches.close();
    System.exit(0);
  }
}
