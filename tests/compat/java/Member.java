import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Apache Kafka's own Java client as a member of a group: see `member` in ../README.md. */
public final class Member {
    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    public static void main(String[] words) throws Exception {
        var ended = new AtomicBoolean();
        var waiting = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException broken) {
                // As good as an end.
            }
            ended.set(true);
        });
        waiting.setDaemon(true);
        waiting.start();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(settings(words))) {
            if (words[2].startsWith("^")) {
                consumer.subscribe(Pattern.compile(words[2]), new Listener());
            } else {
                consumer.subscribe(List.of(words[2]), new Listener());
            }
            while (!ended.get()) {
                poll(consumer);
            }
        }
    }

    private static Properties settings(String[] words) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", words[0]);
        settings.put("group.id", words[1]);
        settings.put("partition.assignment.strategy", ASSIGNORS.get(words[3]));
        boolean isStatic = !words[4].equals("-");
        if (isStatic) {
            settings.put("group.instance.id", words[4]);
        }
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        // A static member must be back within it, however slow the machine is.
        settings.put("session.timeout.ms", isStatic ? "30000" : "6000");
        settings.put("heartbeat.interval.ms", "500");
        settings.put("metadata.max.age.ms", "1000");
        settings.put("max.poll.records", "50");
        settings.put("fetch.max.wait.ms", "100");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        return settings;
    }

    private static void poll(KafkaConsumer<byte[], byte[]> consumer) {
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (var record : consumer.poll(Duration.ofMillis(100))) {
            var partition = new TopicPartition(record.topic(), record.partition());
            trace("record", name(partition) + ":" + record.offset());
            next.put(partition, new OffsetAndMetadata(record.offset() + 1));
        }
        if (next.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(next);
            trace("committed", next.entrySet().stream()
                .map(entry -> name(entry.getKey()) + ":" + entry.getValue().offset()).collect(Collectors.joining(" ")));
        } catch (CommitFailedException | RebalanceInProgressException error) {
            // The group has moved on; whoever owns the partition now reads these records again.
            trace("refused", error.getClass().getSimpleName());
        }
    }

    private static final class Listener implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            trace("assigned", names(partitions));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            trace("revoked", names(partitions));
        }
    }

    private static String name(TopicPartition partition) {
        return partition.topic() + ":" + partition.partition();
    }

    private static String names(Collection<TopicPartition> partitions) {
        return partitions.stream().map(Member::name).collect(Collectors.joining(" "));
    }

    private static void trace(String what, String partitions) {
        var now = java.time.Instant.now();
        long micros = now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
        System.out.println(micros + "\t" + what + "\t" + partitions);
        System.out.flush();
    }
}
