import java.io.File;
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.GZIPOutputStream;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/**
 * Writes golden record batches: every codec and level end, every kind of batch, control records.
 *
 * <p>One line per batch, columns separated by tabs: name, batch in hex, what Kafka's reader says of the header,
 * then one column per record as Kafka's reader sees it.
 */
public final class Batches {
    private static final HexFormat HEX = HexFormat.of();
    private static final long TIME = 1_700_000_000_123L;

    private final PrintWriter out;

    private Batches(PrintWriter out) {
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        var file = new GZIPOutputStream(new FileOutputStream(new File(args[0])));
        try (var out = new PrintWriter(new OutputStreamWriter(file, StandardCharsets.UTF_8))) {
            new Batches(out).write();
        }
    }

    private void write() {
        codecs();
        kinds();
        controls();
    }

    private void codecs() {
        List<Compression> defaults = List.of(Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build());
        for (Compression codec : defaults) {
            line("small-" + codec.type().name, plain(codec, 0, small()));
            line("large-" + codec.type().name, plain(codec, 0, large()));
        }
        line("level-gzip-1", plain(Compression.gzip().level(1).build(), 0, large()));
        line("level-gzip-9", plain(Compression.gzip().level(9).build(), 0, large()));
        line("level-lz4-17", plain(Compression.lz4().level(17).build(), 0, large()));
        line("level-zstd--5", plain(Compression.zstd().level(-5).build(), 0, large()));
        line("level-zstd-22", plain(Compression.zstd().level(22).build(), 0, large()));
    }

    private void kinds() {
        Compression none = Compression.NONE;
        line("offset-epoch", MemoryRecords.withRecords(1L << 40, none, 7, small()));
        line("idempotent", MemoryRecords.withIdempotentRecords(0, none, 4711, (short) 3, 42, 9, small()));
        line("sequence-wraps", MemoryRecords.withIdempotentRecords(0, none, 1, (short) 0, Integer.MAX_VALUE - 1, 9, small()));
        line("transactional", MemoryRecords.withTransactionalRecords(0, none, 4712, (short) 4, 0, 9, small()));
        line("log-append-time", append(builder(none, TimestampType.LOG_APPEND_TIME, 10, false, -1), small()));
        line("log-append-time-zstd",
            append(builder(Compression.zstd().build(), TimestampType.LOG_APPEND_TIME, 10, false, -1), small()));
        line("delete-horizon", append(builder(none, TimestampType.CREATE_TIME, 10, false, TIME + 5000), small()));
        line("one-empty-record", plain(none, 0, new SimpleRecord(-1L, (byte[]) null, null)));

        MemoryRecordsBuilder gaps = builder(none, TimestampType.CREATE_TIME, 10, false, -1);
        gaps.appendWithOffset(12, TIME, bytes("a"), bytes("1"));
        gaps.appendWithOffset(500, TIME - 900, bytes("b"), bytes("2"));
        gaps.overrideLastOffset(900);
        line("gaps", gaps.build());

        ByteBuffer empty = ByteBuffer.allocate(100);
        DefaultRecordBatch.writeEmptyHeader(empty, RecordBatch.CURRENT_MAGIC_VALUE, 4713, (short) 5, 100, 20, 29, 6,
            TimestampType.CREATE_TIME, TIME, true, false);
        empty.flip();
        line("no-records", MemoryRecords.readableRecords(empty));
    }

    private void controls() {
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            line("marker-" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(30, TIME, 8, 4714, (short) 6,
                new EndTransactionMarker(type, 77)));
        }
        LeaderChangeMessage change = new LeaderChangeMessage().setLeaderId(2)
            .setVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(2)))
            .setGrantingVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(2)));
        line("leader-change", MemoryRecords.withLeaderChangeMessage(40, TIME, 8, ByteBuffer.allocate(512), change));
        line("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0, TIME, 8, ByteBuffer.allocate(512),
            new SnapshotHeaderRecord().setLastContainedLogTimestamp(TIME)));
        line("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(0, TIME, 8, ByteBuffer.allocate(512),
            new SnapshotFooterRecord()));
        line("kraft-version", MemoryRecords.withKRaftVersionRecord(0, TIME, 8, ByteBuffer.allocate(512),
            new KRaftVersionRecord().setKRaftVersion((short) 1)));
    }

    private static SimpleRecord[] small() {
        Header[] headers = {new RecordHeader("name", bytes("value").array()), new RecordHeader("", new byte[0]),
            new RecordHeader("null", (byte[]) null), new RecordHeader("name", new byte[200])};
        return new SimpleRecord[] {
            new SimpleRecord(TIME, bytes("key"), bytes("value")),
            new SimpleRecord(TIME + 300, null, bytes("no key")),
            new SimpleRecord(TIME - 70_000, bytes("tombstone"), null),
            new SimpleRecord(TIME + 1, bytes(""), bytes(""), headers),
        };
    }

    /** More than two blocks of 64 KiB, one of them hard to compress. */
    private static SimpleRecord[] large() {
        Random random = new Random(1);
        byte[] noise = new byte[6_000];
        random.nextBytes(noise);
        SimpleRecord[] records = new SimpleRecord[60];
        for (int i = 0; i < records.length; i++)
            records[i] = new SimpleRecord(TIME + i, bytes("key-" + i % 7), bytes(("line " + i + " of the log, ").repeat(120)));
        records[40] = new SimpleRecord(TIME + 40, bytes("noise"), ByteBuffer.wrap(noise));
        return records;
    }

    private static MemoryRecords plain(Compression codec, long offset, SimpleRecord... records) {
        return MemoryRecords.withRecords(offset, codec, records);
    }

    private static MemoryRecordsBuilder builder(Compression codec, TimestampType type, long offset, boolean control,
                                                long deleteHorizon) {
        return new MemoryRecordsBuilder(new ByteBufferOutputStream(1024), RecordBatch.CURRENT_MAGIC_VALUE, codec, type, offset,
            type == TimestampType.LOG_APPEND_TIME ? TIME + 1_000_000 : RecordBatch.NO_TIMESTAMP, RecordBatch.NO_PRODUCER_ID,
            RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, control, 3, 1 << 20, deleteHorizon);
    }

    private static MemoryRecords append(MemoryRecordsBuilder builder, SimpleRecord... records) {
        for (SimpleRecord record : records)
            builder.append(record);
        return builder.build();
    }

    private static ByteBuffer bytes(String text) {
        return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    }

    private void line(String name, MemoryRecords records) {
        MutableRecordBatch only = records.batches().iterator().next();
        DefaultRecordBatch batch = (DefaultRecordBatch) only;
        batch.ensureValid();
        ByteBuffer buffer = ByteBuffer.allocate(batch.sizeInBytes());
        batch.writeTo(buffer);
        out.printf("%s\t%s\toffsets %d-%d epoch %d codec %s time %s base %d max %d producer %d/%d sequence %d-%d%s%s horizon %s count %d",
            name, HEX.formatHex(buffer.array()), batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(),
            batch.compressionType().name, batch.timestampType() == TimestampType.CREATE_TIME ? "create" : "append",
            batch.baseTimestamp(), batch.maxTimestamp(), batch.producerId(), batch.producerEpoch(), batch.baseSequence(),
            batch.lastSequence(), batch.isTransactional() ? " transactional" : "", batch.isControlBatch() ? " control" : "",
            batch.deleteHorizonMs().isPresent() ? batch.deleteHorizonMs().getAsLong() : "none", batch.countOrNull());
        for (Record record : batch) {
            out.printf("\t%d@%d %s=%s", record.offset(), record.timestamp(), hex(record.key()), hex(record.value()));
            for (Header header : record.headers())
                out.printf(" %s:%s", hex(bytes(header.key())),
                    hex(header.value() == null ? null : ByteBuffer.wrap(header.value())));
        }
        out.print('\n');
    }

    /** Hex of a key or value, or length and CRC32 of a long one. */
    private static String hex(ByteBuffer buffer) {
        if (buffer == null)
            return "null";
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        if (bytes.length <= 64)
            return HEX.formatHex(bytes);
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return bytes.length + "#" + Long.toHexString(crc.getValue());
    }
}
