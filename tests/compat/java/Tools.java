import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.Exit;
import org.slf4j.LoggerFactory;

/**
 * Kafka's command-line tools, unchanged, one after another in one process: a virtual machine takes longer to start than
 * most tools take to run. Each line of the input is a call, each line of the output what came of it, both as JSON; see
 * tools/run. Members of groups can be kept between calls, so that the tools have something to describe.
 */
public final class Tools {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    private static final Map<String, Member> MEMBERS = new HashMap<>();

    public static void main(String[] words) throws Exception {
        PrintStream answers = System.out;
        // Logging takes the standard error of this moment, so that what is logged is not what a tool says.
        LoggerFactory.getLogger(Tools.class).debug("");
        // Set once: Scala's console keeps the streams that it meets first.
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = calls.readLine(); line != null; line = calls.readLine()) {
            JsonNode call = JSON.readTree(line);
            answers.println(JSON.writeValueAsString(call.has("member") ? member(call) : run(call)));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static ObjectNode run(JsonNode call) throws Exception {
        List<String> arguments = new ArrayList<>();
        call.get("arguments").forEach(argument -> arguments.add(argument.asText()));
        List<Runnable> hooks = new ArrayList<>();
        Ending ending = new Ending();
        Exit.setExitProcedure(ending::exit);
        Exit.setHaltProcedure(ending::exit);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setIn(new ByteArrayInputStream(call.path("input").asText("").getBytes(StandardCharsets.UTF_8)));
        OUT.open();
        ERR.open();
        String main = call.get("main").asText();
        Thread tool = new Thread(() -> tool(main, arguments.toArray(String[]::new), ending), main);
        tool.setDaemon(true);
        tool.start();
        tool.join(LIMIT.toMillis());
        if (tool.isAlive()) {
            ending.exit(-1, null, false);
            tool.interrupt();
        }
        OUT.resume();
        hooks.forEach(Runnable::run);
        return JSON.createObjectNode().put("code", ending.code()).put("out", OUT.take()).put("err", ERR.take());
    }

    private static void tool(String main, String[] arguments, Ending ending) {
        try (URLClassLoader loader = new FreshTools()) {
            Class.forName(main, true, loader).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (!ending.reached()) {
                e.getCause().printStackTrace();
                ending.exit(1, null, false);
            }
        } catch (ReflectiveOperationException | java.io.IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private static ObjectNode member(JsonNode call) throws Exception {
        String name = call.get("member").asText();
        Member left = MEMBERS.remove(name);
        if (left != null) {
            left.leave();
        } else {
            Properties settings = new Properties();
            call.get("settings").properties().forEach(setting -> settings.setProperty(setting.getKey(), setting.getValue().asText()));
            MEMBERS.put(name, new Member(settings, call.get("topic").asText()));
        }
        return JSON.createObjectNode();
    }

    /** The first exit counts: a tool may catch what ends it here, and go on where no tool would. */
    private static final class Ending {
        private Integer code;

        void exit(int status, String message) {
            exit(status, message, true);
        }

        synchronized void exit(int status, String message, boolean leave) {
            if (code == null) {
                code = status;
                if (message != null) {
                    System.err.println(message);
                }
                OUT.pause();
                ERR.pause();
            }
            if (leave) {
                throw new Left();
            }
        }

        synchronized boolean reached() {
            return code != null;
        }

        synchronized int code() {
            return code == null ? 0 : code;
        }
    }

    private static final class Left extends Error {
    }

    /** Tools keep counters in static fields, and a process has one of each: here each call gets classes of its own. */
    private static final class FreshTools extends URLClassLoader {
        FreshTools() {
            super(new URL[] {org.apache.kafka.tools.TopicCommand.class.getProtectionDomain().getCodeSource().getLocation()});
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                if (!name.startsWith("org.apache.kafka.tools.") || name.startsWith("org.apache.kafka.tools.api.")) {
                    return super.loadClass(name, resolve);
                }
                Class<?> loaded = findLoadedClass(name);
                return loaded == null ? findClass(name) : loaded;
            }
        }
    }

    /** What is written goes to the buffer of the present call, or nowhere. */
    private static final class Switch extends OutputStream {
        private final ByteArrayOutputStream buffer = new ByteArrayOutputStream();
        private boolean open;

        @Override
        public synchronized void write(int value) {
            if (open) {
                buffer.write(value);
            }
        }

        @Override
        public synchronized void write(byte[] bytes, int offset, int length) {
            if (open) {
                buffer.write(bytes, offset, length);
            }
        }

        synchronized void open() {
            buffer.reset();
            open = true;
        }

        synchronized void pause() {
            open = false;
        }

        synchronized void resume() {
            open = true;
        }

        synchronized String take() {
            open = false;
            return buffer.toString(StandardCharsets.UTF_8);
        }
    }

    /** A consumer in a group, from its first assignment until it is told to leave. */
    private static final class Member {
        private final AtomicBoolean leaving = new AtomicBoolean();
        private final Thread thread;

        Member(Properties settings, String topic) throws InterruptedException {
            KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + LIMIT.toNanos();
            while (consumer.assignment().isEmpty()) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("no assignment of " + topic);
                }
                consumer.poll(Duration.ofMillis(50));
            }
            consumer.poll(Duration.ofMillis(200));
            consumer.commitSync();
            thread = new Thread(() -> {
                try (consumer) {
                    while (!leaving.get()) {
                        consumer.poll(Duration.ofMillis(50));
                    }
                }
            });
            thread.start();
        }

        void leave() throws InterruptedException {
            leaving.set(true);
            thread.join(LIMIT.toMillis());
        }
    }
}
