import java.io.File;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Writes what Kafka's assignors answer: one JSON object per line, with topics, members and the assignment.
 *
 * <p>Groups are random. Those of the sticky assignors have a history: members come and go, topics grow, and what the
 * members own is what the assignor gave them before.
 */
public final class Assignments {
    private static final String[] RACKS = {"a", "b", "c"};

    private final Random random = new Random(42);
    private final PrintWriter out;

    private Assignments(PrintWriter out) {
        this.out = out;
    }

    private static final class Member {
        String instance;
        String rack;
        TreeSet<String> topics = new TreeSet<>();
        List<TopicPartition> owned = List.of();
        int generation = -1;
    }

    public static void main(String[] args) throws Exception {
        try (var out = new PrintWriter(new File(args[0]), StandardCharsets.UTF_8)) {
            new Assignments(out).write();
        }
    }

    private void write() {
        for (int i = 0; i < 120; i++) {
            boolean racks = i % 3 == 0;
            var topics = topics(racks, i % 6 == 0);
            fresh(new RangeAssignor(), topics, members(topics, i % 2 == 0, racks));
        }
        for (int i = 0; i < 80; i++) {
            var topics = topics(false, false);
            fresh(new RoundRobinAssignor(), topics, members(topics, i % 2 == 0, false));
        }
        for (int i = 0; i < 30; i++) {
            history(false, i % 3 != 0);
            history(true, i % 3 != 0);
        }
    }

    /** Racks of the replicas, by partition, by topic. */
    private TreeMap<String, List<TreeSet<String>>> topics(boolean racks, boolean alike) {
        var topics = new TreeMap<String, List<TreeSet<String>>>();
        int count = 1 + random.nextInt(4);
        int all = 1 + random.nextInt(9);
        for (int t = 0; t < count; t++) {
            var partitions = new ArrayList<TreeSet<String>>();
            int size = alike ? all : random.nextInt(10);
            for (int p = 0; p < size; p++) partitions.add(racks ? someRacks() : new TreeSet<>());
            topics.put("t" + t, partitions);
        }
        return topics;
    }

    private TreeSet<String> someRacks() {
        var racks = new TreeSet<String>();
        for (var rack : RACKS) if (random.nextInt(5) < 2) racks.add(rack);
        return racks;
    }

    private TreeMap<String, Member> members(Map<String, ?> topics, boolean equal, boolean racks) {
        var members = new TreeMap<String, Member>();
        int count = 1 + random.nextInt(6);
        for (int m = 0; m < count; m++) {
            members.put("m" + random.nextInt(1000), member(topics.keySet(), equal, racks));
        }
        return members;
    }

    private Member member(Set<String> topics, boolean equal, boolean racks) {
        var member = new Member();
        if (random.nextInt(4) == 0) member.instance = "i" + random.nextInt(1000);
        if (racks && random.nextInt(6) > 0) member.rack = RACKS[random.nextInt(RACKS.length)];
        for (var topic : topics) if (equal || random.nextInt(3) > 0) member.topics.add(topic);
        if (member.topics.isEmpty() || (!equal && random.nextInt(8) == 0)) member.topics.add("missing");
        return member;
    }

    /** A group that nobody was in before, and then changes to it. */
    private void history(boolean cooperative, boolean equal) {
        var topics = topics(false, false);
        var members = members(topics, equal, false);
        for (int generation = 1; generation <= 4; generation++) {
            ConsumerPartitionAssignor assignor = cooperative ? new CooperativeStickyAssignor() : new StickyAssignor();
            var assignment = fresh(assignor, topics, members);
            for (var entry : assignment.entrySet()) {
                members.get(entry.getKey()).owned = entry.getValue();
                members.get(entry.getKey()).generation = generation;
            }
            switch (random.nextInt(4)) {
                case 0 -> members.put("m" + random.nextInt(1000), member(topics.keySet(), equal, false));
                case 1 -> {
                    if (members.size() > 1) members.remove(members.firstKey());
                }
                case 2 -> topics.firstEntry().getValue().add(new TreeSet<>());
                default -> { }
            }
        }
    }

    private Map<String, List<TopicPartition>> fresh(
            ConsumerPartitionAssignor assignor,
            TreeMap<String, List<TreeSet<String>>> topics,
            TreeMap<String, Member> members) {
        var subscriptions = new TreeMap<String, Subscription>();
        members.forEach((id, member) -> subscriptions.put(id, subscription(assignor, member)));
        var answer = assignor.assign(cluster(topics), new GroupSubscription(subscriptions)).groupAssignment();
        var assignment = new TreeMap<String, List<TopicPartition>>();
        answer.forEach((id, given) -> assignment.put(id, sorted(given.partitions())));
        out.println("{\"assignor\":\"" + assignor.name() + "\",\"topics\":{"
            + joined(topics.entrySet().stream().map(e -> quoted(e.getKey()) + ":" + racks(e.getValue())).toList())
            + "},\"members\":["
            + joined(members.entrySet().stream().map(e -> json(e.getKey(), e.getValue())).toList())
            + "],\"assignment\":{"
            + joined(assignment.entrySet().stream().map(e -> quoted(e.getKey()) + ":" + json(e.getValue())).toList())
            + "}}");
        return assignment;
    }

    @SuppressWarnings("removal") // of the constructor, which nothing replaces
    private static Subscription subscription(ConsumerPartitionAssignor assignor, Member member) {
        var topics = new ArrayList<>(member.topics);
        if (assignor instanceof StickyAssignor && member.generation >= 0) {
            // Another of its kind, because an assignor keeps what it was given.
            var own = new StickyAssignor();
            own.onAssignment(
                new Assignment(member.owned),
                new ConsumerGroupMetadata("g", member.generation, "", Optional.empty()));
            var data = own.subscriptionUserData(member.topics);
            return instance(new Subscription(topics, data, List.of(), -1, Optional.ofNullable(member.rack)), member);
        }
        var data = assignor.subscriptionUserData(member.topics);
        var rack = Optional.ofNullable(member.rack);
        return instance(new Subscription(topics, data, member.owned, member.generation, rack), member);
    }

    private static Subscription instance(Subscription subscription, Member member) {
        subscription.setGroupInstanceId(Optional.ofNullable(member.instance));
        return subscription;
    }

    private static Cluster cluster(Map<String, List<TreeSet<String>>> topics) {
        var nodes = new TreeMap<String, Node>();
        for (int i = 0; i < RACKS.length; i++) nodes.put(RACKS[i], new Node(i, "host", 9092, RACKS[i]));
        var nowhere = new Node(RACKS.length, "host", 9092);
        var partitions = new ArrayList<PartitionInfo>();
        topics.forEach((topic, racks) -> {
            for (int p = 0; p < racks.size(); p++) {
                var replicas = racks.get(p).stream().map(nodes::get).toArray(Node[]::new);
                partitions.add(new PartitionInfo(topic, p, nowhere, replicas, replicas));
            }
        });
        var all = new ArrayList<>(nodes.values());
        all.add(nowhere);
        return new Cluster("c", all, partitions, Set.of(), Set.of());
    }

    private static List<TopicPartition> sorted(List<TopicPartition> partitions) {
        return partitions.stream()
            .sorted((a, b) -> a.topic().equals(b.topic()) ? a.partition() - b.partition() : a.topic().compareTo(b.topic()))
            .collect(Collectors.toList());
    }

    private static String json(String id, Member member) {
        return "{\"id\":" + quoted(id) + ",\"instance\":" + quoted(member.instance) + ",\"rack\":" + quoted(member.rack)
            + ",\"topics\":[" + joined(member.topics.stream().map(Assignments::quoted).toList())
            + "],\"owned\":" + json(member.owned) + ",\"generation\":" + member.generation + "}";
    }

    private static String json(List<TopicPartition> partitions) {
        var pairs = partitions.stream().map(p -> "[" + quoted(p.topic()) + "," + p.partition() + "]").toList();
        return "[" + joined(pairs) + "]";
    }

    private static String racks(List<TreeSet<String>> partitions) {
        var sets = partitions.stream().map(r -> "[" + joined(r.stream().map(Assignments::quoted).toList()) + "]").toList();
        return "[" + joined(sets) + "]";
    }

    private static String quoted(String text) {
        return text == null ? "null" : "\"" + text + "\"";
    }

    private static String joined(List<String> parts) {
        return String.join(",", parts);
    }
}
