import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.FetchDataInfo;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Opens a partition's folder with Apache Kafka's own log, after a clean stop or after a crash, and prints each record
 * as "offset timestamp key value".
 *
 *   ReadLog <folder/topic-partition> clean|crashed
 */
public class ReadLog {
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

  public static void main(String[] args) throws Exception {
    boolean clean = args[1].equals("clean");
    Properties properties = new Properties();
    properties.put("internal.segment.bytes", String.valueOf(16 << 10));
    properties.put("retention.ms", "-1");
    UnifiedLog log = UnifiedLog.create(new File(args[0]), new LogConfig(properties), 0, clean ? Long.MAX_VALUE : 0,
        new Inline(), new BrokerTopicStats(), Time.SYSTEM, 900_000,
        new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000, new LogDirFailureChannel(1), clean,
        Optional.empty());
    long offset = log.logStartOffset();
    while (offset < log.logEndOffset()) {
      FetchDataInfo fetched = log.read(offset, 1 << 20, FetchIsolation.LOG_END, true);
      for (RecordBatch batch : fetched.records.batches()) {
        batch.ensureValid();
        offset = batch.nextOffset();
        if (batch.isControlBatch()) continue;
        for (Record record : batch)
          System.out.println(record.offset() + " " + record.timestamp() + " " + StandardCharsets.UTF_8.decode(record.key())
              + " " + StandardCharsets.UTF_8.decode(record.value()));
      }
    }
    System.err.println("state: producers " + log.activeProducersWithLastSequence() + ", epochs "
        + log.leaderEpochCache().epochEntries() + ", aborted " + log.collectAbortedTransactions(0, log.logEndOffset()).size()
        + ", segments " + log.numberOfSegments() + ", end " + log.logEndOffset());
    System.exit(0);
  }
}
