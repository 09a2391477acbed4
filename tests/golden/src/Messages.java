import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.zip.GZIPOutputStream;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Writes golden bytes of every message of Kafka's class path at every version, made by Kafka's own classes.
 *
 * <p>Each message is filled several times: which fields a version has, and which of them may be null, is read
 * from the class's SCHEMA_n constants, so nothing here depends on our own tables. One line per filling:
 * {@code name version filling hex}, and for the filling {@code unknown}, whose tagged fields nobody knows, a
 * second hex of what is left when they are dropped.
 */
public final class Messages {
    private enum Filling { DEFAULTS, FULL, NULLS, MIXED, LONG, UNKNOWN }

    private final Random random;
    private final Filling filling;
    private final short version;
    private boolean longArrayIsDue;

    private Messages(Filling filling, short version, long seed) {
        this.filling = filling;
        this.version = version;
        this.random = new Random(seed);
        this.longArrayIsDue = filling == Filling.LONG;
    }

    public static void main(String[] args) throws Exception {
        int lines = 0;
        List<String> refused = new ArrayList<>();
        Map<String, Class<?>> classes = messageClasses();
        try (PrintWriter out = new PrintWriter(new OutputStreamWriter(
                new GZIPOutputStream(new BufferedOutputStream(new FileOutputStream(args[0]))) {
                    { def.setLevel(9); }
                }, StandardCharsets.US_ASCII))) {
            for (Map.Entry<String, Class<?>> entry : classes.entrySet()) {
                Message any = (Message) entry.getValue().getConstructor().newInstance();
                for (short v = any.lowestSupportedVersion(); v <= any.highestSupportedVersion(); v++) {
                    for (Filling filling : Filling.values()) {
                        long seed = (entry.getKey() + v + filling).hashCode();
                        try {
                            out.println(line(entry.getKey(), entry.getValue(), v, filling, seed));
                            lines++;
                        } catch (Refused e) {
                            refused.add(entry.getKey() + " " + v + " " + filling + ": " + e.getCause());
                        }
                    }
                }
            }
        }
        // A default that Kafka itself cannot write (null records) is the only reason to leave a line out.
        for (String reason : refused) {
            if (!reason.contains(" DEFAULTS: ")) throw new IllegalStateException(reason);
        }
        System.err.println(classes.size() + " messages, " + lines + " lines, " + refused.size() + " defaults refused");
    }

    private static final class Refused extends Exception {
        Refused(Exception cause) { super(cause); }
    }

    private static String line(String name, Class<?> type, short version, Filling filling, long seed)
            throws Exception {
        Messages filler = new Messages(filling, version, seed);
        Message message = filler.filled(type);
        StringBuilder line = new StringBuilder(name + " " + version + " " + filling.name().toLowerCase(Locale.ROOT));
        String plain = hex(message, version);
        if (filling == Filling.UNKNOWN) {
            filler.addUnknownTags(message);
            line.append(' ').append(hex(message, version));
        }
        return line.append(' ').append(plain).toString();
    }

    private static String hex(Message message, short version) throws Refused {
        try {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(buffer), cache, version);
            if (buffer.hasRemaining()) throw new IllegalStateException("size and bytes differ");
            // "-" stands for no bytes, so that a line always has its words.
            return buffer.capacity() == 0 ? "-" : HexFormat.of().formatHex(buffer.array());
        } catch (RuntimeException e) {
            throw new Refused(e);
        }
    }

    private static Map<String, Class<?>> messageClasses() throws Exception {
        Map<String, Class<?>> classes = new TreeMap<>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (!path.matches(".*/kafka-[a-z-]+-\\d[^/]*\\.jar")) continue;
            try (JarFile jar = new JarFile(path)) {
                for (JarEntry entry : (Iterable<JarEntry>) jar.stream()::iterator) {
                    String file = entry.getName();
                    boolean wanted = file.matches("org/apache/kafka/(common/message|.*/generated)/[A-Za-z]+\\.class");
                    if (!wanted || file.endsWith("JsonConverter.class")) continue;
                    Class<?> type = Class.forName(file.substring(0, file.length() - 6).replace('/', '.'));
                    if (!Message.class.isAssignableFrom(type) || type.isInterface()) continue;
                    String name = type.getSimpleName().replaceAll("(Request|Response|Header)Data$", "$1");
                    if (classes.put(name, type) != null) throw new IllegalStateException("two classes " + name);
                }
            }
        }
        return classes;
    }

    private Message filled(Class<?> type) throws Exception {
        Message message = (Message) type.getConstructor().newInstance();
        if (filling == Filling.DEFAULTS) return message;
        for (BoundField field : schema(type).fields()) {
            if (field.def.type instanceof TaggedFields tagged) {
                for (org.apache.kafka.common.protocol.types.Field known : tagged.fields().values()) {
                    // Tagged fields are left out of one filling altogether, and of the mixed one by chance.
                    boolean left = filling == Filling.NULLS || filling != Filling.FULL && random.nextInt(3) == 0;
                    if (!left) fill(message, known.name, known.type);
                }
            } else {
                fill(message, field.def.name, field.def.type);
            }
        }
        return message;
    }

    private Schema schema(Class<?> type) throws Exception {
        return (Schema) type.getField("SCHEMA_" + version).get(null);
    }

    private void fill(Message message, String name, Type type) throws Exception {
        String wanted = name.replace("_", "").toLowerCase(Locale.ROOT);
        for (Field field : message.getClass().getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && field.getName().toLowerCase(Locale.ROOT).equals(wanted)) {
                field.setAccessible(true);
                field.set(message, value(field, type));
                return;
            }
        }
        throw new IllegalStateException(message.getClass() + " has no field " + name);
    }

    private Object value(Field field, Type type) throws Exception {
        if (type.isNullable()) {
            if (filling == Filling.NULLS) return null;
            if (filling != Filling.FULL && random.nextInt(4) == 0) return null;
        }
        Class<?> javaType = field.getType();
        if (List.class.isAssignableFrom(javaType)) {
            Class<?> element = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
            List<Object> list = new ArrayList<>();
            addElements(list, element);
            return list;
        }
        if (Collection.class.isAssignableFrom(javaType)) {
            @SuppressWarnings("unchecked")
            Collection<Object> collection = (Collection<Object>) javaType.getConstructor().newInstance();
            addElements(collection, Class.forName(javaType.getName().replaceAll("Collection$", "")));
            return collection;
        }
        return single(javaType, type.toString());
    }

    private void addElements(Collection<Object> list, Class<?> element) throws Exception {
        int count = switch (filling) {
            case FULL -> 1;
            case NULLS -> 0;
            case LONG -> longArrayIsDue ? 130 : random.nextInt(2);
            default -> random.nextInt(4);
        };
        // One array per message is so long that its compact count takes two bytes.
        longArrayIsDue = false;
        for (int i = 0; i < count; i++) list.add(single(element, ""));
    }

    private Object single(Class<?> type, String schemaType) throws Exception {
        if (Message.class.isAssignableFrom(type)) return filled(type);
        if (type == boolean.class) return filling == Filling.FULL || random.nextBoolean();
        if (type == byte.class || type == Byte.class) return (byte) number(8);
        if (type == short.class || type == Short.class) return (short) number(16);
        if (schemaType.equals("UINT16")) return (int) (number(16) & 0xffff);
        if (type == int.class || type == Integer.class) return (int) number(32);
        if (schemaType.equals("UINT32")) return number(32) & 0xffffffffL;
        if (type == long.class || type == Long.class) return number(64);
        if (type == double.class) return random.nextGaussian() * 1e6;
        if (type == Uuid.class) return new Uuid(number(64), number(64));
        if (type == String.class) return text();
        if (type == byte[].class) return bytes();
        if (type == ByteBuffer.class) return ByteBuffer.wrap(bytes());
        if (type.getSimpleName().equals("BaseRecords")) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
        throw new IllegalStateException("no value for " + type);
    }

    /** Numbers of every length, and the ends of the range; small ones in long arrays, which should pack well. */
    private long number(int bits) {
        if (filling == Filling.LONG) return random.nextInt(3);
        if (filling == Filling.NULLS) return random.nextBoolean() ? Long.MIN_VALUE >> 64 - bits : Long.MAX_VALUE >>> 64 - bits;
        return random.nextLong() >> 64 - bits + random.nextInt(bits);
    }

    private String text() {
        return switch (filling) {
            case NULLS -> "";
            case LONG -> random.nextInt(20) == 0 ? "x".repeat(200) : "t";
            default -> random.nextInt(4) == 0 ? "zażółć-漢字-😀" : "s" + random.nextInt(100000);
        };
    }

    private byte[] bytes() {
        byte[] bytes = new byte[switch (filling) {
            case NULLS -> 0;
            case LONG -> 150;
            default -> 1 + random.nextInt(20);
        }];
        if (filling != Filling.LONG) random.nextBytes(bytes);
        return bytes;
    }

    private void addUnknownTags(Message message) throws Exception {
        boolean flexible = Arrays.stream(schema(message.getClass()).fields()).anyMatch(f -> f.def.type instanceof TaggedFields);
        if (!flexible) return;
        message.unknownTaggedFields().add(new RawTaggedField(1000, bytes()));
        message.unknownTaggedFields().add(new RawTaggedField(Integer.MAX_VALUE - 1, new byte[0]));
        for (Field field : message.getClass().getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers())) continue;
            field.setAccessible(true);
            Object value = field.get(message);
            if (value instanceof Message inner && isPresent(message, field)) addUnknownTags(inner);
            if (value instanceof Collection<?> list && isPresent(message, field)) {
                for (Object element : list) if (element instanceof Message inner) addUnknownTags(inner);
            }
        }
    }

    /** Whether the version has the field; structs inside others have no schema elsewhere. Tagged ones stay as they are. */
    private boolean isPresent(Message message, Field field) throws Exception {
        return Arrays.stream(schema(message.getClass()).fields())
            .anyMatch(f -> f.def.name.replace("_", "").equalsIgnoreCase(field.getName()));
    }
}
