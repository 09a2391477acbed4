import java.io.File;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.AbortedTxn;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogAppendInfo;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogStartOffsetIncrementReason;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * A random history of one partition, played on Apache Kafka's own log: what was asked, what it answered, and the files
 * it left. The test tests/kafka_history.rs plays the same on ours.
 *
 *   LogHistory <folder> <seed> <steps>     writes history.txt, batches.bin and the partition's folder h-0
 */
public class LogHistory {
  static final long CLOCK = 1_700_000_000_000L;
  static final int SEGMENT_BYTES = 3_000;

  final File folder;
  final File partition;
  final Random random;
  final PrintStream text;
  final FileOutputStream batches;
  final LogDirFailureChannel failures = new LogDirFailureChannel(1);
  UnifiedLog log;
  int batchesSize = 0;
  int leaderEpoch = 0;
  long clock = CLOCK;
  final TreeMap<Long, Client> clients = new TreeMap<>();
  /** Where batches begin: leaders and followers cut between batches only. */
  final TreeSet<Long> boundaries = new TreeSet<>();

  /** What a client believes about itself; it errs on purpose now and then. */
  static class Client {
    short epoch = 0;
    int nextSequence = 0;
    boolean inTransaction = false;
    final List<byte[]> sent = new ArrayList<>();
  }

  /** Runs delayed work at once and no periodic work, so that the history does not depend on time. */
  static class Inline implements Scheduler {
    static final ScheduledExecutorService NEVER = Executors.newSingleThreadScheduledExecutor();
    public void startup() {}
    public void shutdown() {}
    public void resizeThreadPool(int size) {}
    public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) {
      if (periodMs < 0) task.run();
      return NEVER.schedule(() -> {}, 1, TimeUnit.DAYS);
    }
  }

  /** A clock that stands still, a little after all records: nothing expires. */
  static class Stopped implements Time {
    public long milliseconds() {
      return CLOCK + 100_000;
    }
    public long nanoseconds() {
      return System.nanoTime();
    }
    public void sleep(long ms) {}
    public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) {
      throw new UnsupportedOperationException();
    }
  }

  LogHistory(File folder, long seed) throws Exception {
    this.folder = folder;
    this.partition = new File(folder, "h-0");
    this.random = new Random(seed);
    partition.mkdirs();
    text = new PrintStream(new File(folder, "history.txt"), "UTF-8");
    batches = new FileOutputStream(new File(folder, "batches.bin"));
    open(true);
  }

  void open(boolean clean) throws Exception {
    Properties properties = new Properties();
    properties.put("internal.segment.bytes", String.valueOf(SEGMENT_BYTES));
    properties.put("index.interval.bytes", "300");
    properties.put("retention.ms", "-1");
    properties.put("segment.ms", String.valueOf(Long.MAX_VALUE));
    properties.put("file.delete.delay.ms", "0");
    long start = log == null ? 0 : log.logStartOffset();
    long recoveryPoint = log == null ? 0 : clean ? log.logEndOffset() : log.recoveryPoint();
    log = UnifiedLog.create(partition, new LogConfig(properties), start, recoveryPoint, new Inline(),
        new BrokerTopicStats(), new Stopped(), 900_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000,
        failures, clean, Optional.of(Uuid.fromString("AAAAAAAAAAAAAAAAAAAAAQ")));
    // As a partition does when it becomes leader; otherwise the next append does it, also one that is refused.
    log.assignEpochStartOffset(leaderEpoch, log.logEndOffset());
  }

  SimpleRecord[] records(int count) {
    SimpleRecord[] records = new SimpleRecord[count];
    for (int i = 0; i < count; i++) {
      clock += random.nextInt(20) - 5;
      byte[] value = new byte[random.nextInt(40)];
      random.nextBytes(value);
      records[i] = new SimpleRecord(clock, random.nextInt(3) == 0 ? null : new byte[] {(byte) i}, value);
    }
    return records;
  }

  static byte[] bytes(MemoryRecords records) {
    byte[] bytes = new byte[records.sizeInBytes()];
    records.buffer().duplicate().get(bytes);
    return bytes;
  }

  static String outcome(ApiException error) {
    String name = error.getClass().getSimpleName();
    return "refused " + name.substring(0, name.length() - "Exception".length());
  }

  /** Appends what may be refused. Kafka rolls before it looks at the producer, so a refusal must not be due to roll. */
  void append(byte[] batch, AppendOrigin origin, int transactionVersion) throws Exception {
    while (log.activeSegment().size() + batch.length > SEGMENT_BYTES) plain();
    appendNow(batch, origin, transactionVersion);
  }

  /** Appends as a leader does, and writes down the request and the answer. */
  void appendNow(byte[] batch, AppendOrigin origin, int transactionVersion) throws Exception {
    batches.write(batch);
    String request = "append " + origin + " " + transactionVersion + " " + leaderEpoch + " " + batchesSize + " " + batch.length;
    batchesSize += batch.length;
    long before = log.logEndOffset();
    String answer;
    try {
      MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(batch.clone()));
      LogAppendInfo info = log.appendAsLeader(records, leaderEpoch, origin, RequestLocal.noCaching(),
          VerificationGuard.SENTINEL, (short) transactionVersion);
      boundaries.add(before);
      answer = (log.logEndOffset() == before ? "duplicate " : "accepted ") + info.firstOffset() + " " + info.lastOffset();
    } catch (ApiException error) {
      answer = outcome(error);
    }
    say(request, answer);
  }

  void say(String request, String answer) {
    text.println(request + " = " + answer + " ; " + log.logStartOffset() + " " + log.logEndOffset() + " "
        + log.firstUnstableOffset().orElse(log.logEndOffset()));
  }

  void plain() throws Exception {
    appendNow(bytes(MemoryRecords.withRecords(compression(), records(1 + random.nextInt(4)))), AppendOrigin.CLIENT, 0);
  }

  Compression compression() {
    return random.nextInt(4) == 0 ? Compression.gzip().build() : Compression.NONE;
  }

  void produce() throws Exception {
    long id = 100 + random.nextInt(7);
    Client client = clients.computeIfAbsent(id, key -> new Client());
    boolean transactional = id >= 103;
    int mischief = random.nextInt(100);
    if (mischief < 10 && !client.sent.isEmpty()) {
      int back = Math.min(client.sent.size(), 1 + random.nextInt(7));
      append(client.sent.get(client.sent.size() - back), AppendOrigin.CLIENT, 0);
      return;
    }
    short epoch = client.epoch;
    int sequence = client.nextSequence;
    if (mischief < 14) sequence += 1 + random.nextInt(3);
    else if (mischief < 17) sequence = Math.max(0, sequence - 1);
    else if (mischief < 20 && epoch > 0) epoch--;
    else if (mischief < 22) epoch++;
    else if (mischief < 25) { epoch++; sequence = 0; }
    else if (mischief < 27) transactional = !transactional;
    else if (mischief < 28) sequence = Integer.MAX_VALUE - random.nextInt(3);
    int count = 1 + random.nextInt(4);
    SimpleRecord[] records = records(count);
    byte[] batch = bytes(transactional
        ? MemoryRecords.withTransactionalRecords(compression(), id, epoch, sequence, records)
        : MemoryRecords.withIdempotentRecords(compression(), id, epoch, sequence, records));
    long before = log.logEndOffset();
    append(batch, AppendOrigin.CLIENT, 0);
    if (log.logEndOffset() > before) {
      client.epoch = epoch;
      client.nextSequence = (int) (((long) sequence + count) & Integer.MAX_VALUE);
      client.sent.add(batch);
    } else if (mischief >= 28 && random.nextInt(2) == 0) {
      // Refused though it behaved: its state is stale. It begins again, as after InitProducerId.
      client.epoch++;
      client.nextSequence = 0;
    }
  }

  void endTransaction() throws Exception {
    long id = 103 + random.nextInt(4);
    Client client = clients.computeIfAbsent(id, key -> new Client());
    int version = random.nextInt(3);
    short epoch = client.epoch;
    if (version == 2 && random.nextInt(6) != 0) epoch++;
    if (random.nextInt(12) == 0) epoch = (short) Math.max(0, epoch - 1);
    int coordinatorEpoch = random.nextInt(15) == 0 ? 0 : 1;
    EndTransactionMarker marker = new EndTransactionMarker(
        random.nextInt(2) == 0 ? ControlRecordType.ABORT : ControlRecordType.COMMIT, coordinatorEpoch);
    long before = log.logEndOffset();
    append(bytes(MemoryRecords.withEndTransactionMarker(clock, id, epoch, marker)), AppendOrigin.COORDINATOR, version);
    if (log.logEndOffset() > before && epoch != client.epoch) {
      client.epoch = epoch;
      client.nextSequence = 0;
    }
  }

  void step() throws Exception {
    int kind = random.nextInt(1000);
    long start = log.logStartOffset(), end = log.logEndOffset();
    if (kind < 150) plain();
    else if (kind < 650) produce();
    else if (kind < 740) endTransaction();
    else if (kind < 830) {
      long mark = log.highWatermark() + random.nextInt((int) (end - log.highWatermark()) + 1);
      log.updateHighWatermark(mark);
      say("replicated " + mark, "ok");
    } else if (kind < 850) {
      leaderEpoch += 1 + random.nextInt(2);
      log.assignEpochStartOffset(leaderEpoch, end);
      say("lead " + leaderEpoch, "ok");
    } else if (kind < 890) {
      long from = start + random.nextInt((int) (end - start) + 1), upto = from + 1 + random.nextInt(60);
      StringBuilder found = new StringBuilder("ok");
      if (from < end)
        for (AbortedTxn aborted : log.collectAbortedTransactions(from, Math.min(upto, end)))
          // This method of Kafka's answers from the log start on; a fetch leaves out what ended before it.
          if (aborted.lastOffset() >= from)
            found.append(' ').append(aborted.producerId()).append('/').append(aborted.firstOffset());
      say("aborted " + from + " " + Math.min(upto, end), found.toString());
    } else if (kind < 920) {
      long time = CLOCK + random.nextInt((int) Math.max(1, clock - CLOCK) + 40) - 10;
      say("time " + time, log.fetchOffsetByTimestamp(time, Optional.empty()).timestampAndOffsetOpt()
          .map(found -> found.offset + " " + found.timestamp + " " + found.leaderEpoch.orElse(-1)).orElse("none"));
    } else if (kind < 930) {
      say("largest", log.fetchOffsetByTimestamp(-3, Optional.empty()).timestampAndOffsetOpt()
          .map(found -> found.offset + " " + found.timestamp + " " + found.leaderEpoch.orElse(-1)).orElse("none"));
    } else if (kind < 955) {
      int epoch = random.nextInt(leaderEpoch + 2);
      say("end " + epoch, log.endOffsetForEpoch(epoch).map(found -> found.epoch() + " " + found.offset()).orElse("none"));
    } else if (kind < 963 && log.highWatermark() < end) {
      Long to = boundaries.ceiling(log.highWatermark() + random.nextInt((int) (end - log.highWatermark())));
      if (to == null || to >= end) return;
      log.truncateTo(to);
      // Kafka forgets here which markers are replicated, until it is told again.
      log.updateHighWatermark(log.highWatermark());
      log.assignEpochStartOffset(leaderEpoch, to);
      boundaries.tailSet(to, false).clear();
      say("truncate " + to, "ok");
      clients.clear();
    } else if (kind < 972 && log.highWatermark() > start) {
      long to = start + random.nextInt((int) (log.highWatermark() - start) / 4 + 1);
      log.maybeIncrementLogStartOffset(to, LogStartOffsetIncrementReason.ClientRecordDeletion);
      log.deleteOldSegments();
      say("start " + to, "ok " + log.numberOfSegments());
    } else if (kind < 976) {
      long mark = log.highWatermark();
      log.close();
      open(true);
      log.updateHighWatermark(mark);
      say("reopen clean", "ok");
    } else if (kind < 980) {
      long mark = log.highWatermark();
      log.closeHandlers();
      open(false);
      log.updateHighWatermark(mark);
      say("reopen crashed", "ok");
    } else {
      StringBuilder state = new StringBuilder("ok");
      for (Map.Entry<Long, ProducerStateEntry> producer : new TreeMap<>(log.producerStateManager().activeProducers()).entrySet()) {
        ProducerStateEntry entry = producer.getValue();
        state.append(' ').append(producer.getKey()).append(':').append(entry.producerEpoch()).append(':')
            .append(entry.coordinatorEpoch()).append(':').append(entry.currentTxnFirstOffset().orElse(-1)).append(':');
        entry.batchMetadata().forEach(batch -> state.append(batch.firstSeq()).append('-').append(batch.lastSeq())
            .append('@').append(batch.lastOffset()).append(','));
      }
      say("producers", state.toString());
    }
  }

  public static void main(String[] args) throws Exception {
    LogHistory history = new LogHistory(new File(args[0]), Long.parseLong(args[1]));
    for (int step = 0; step < Integer.parseInt(args[2]); step++) history.step();
    history.log.close();
    history.text.close();
    history.batches.close();
    System.exit(0);
  }
}
