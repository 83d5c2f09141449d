import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.*;

/**
 * Runs two small jobs of Kafka Streams with exactly_once_v2: WordCount and a count per word and second. Nothing is cached, so each
 * word in makes one update out: the updates of a word have to be 1, 2, 3 and so on, none missing and none twice, also when the
 * server is restarted or killed under the jobs, and when the jobs themselves start again from their changelogs.
 */
public class Streams {
    static final String bootstrap = System.getenv("BOOTSTRAP"), run = Long.toString(System.currentTimeMillis(), 36);
    static final String in = "streams-" + run + "-in", counts = "streams-" + run + "-counts", windows = "streams-" + run + "-windows";
    static final String[] vocabulary = "grete gregor samsa apple violin chief clerk room door sister".split(" ");
    static final long t0 = (System.currentTimeMillis() - 3_600_000) / 1000 * 1000;
    static final Map<String, Integer> wantCounts = new TreeMap<>(), wantWindows = new TreeMap<>();
    static int lines;
    static Path state;

    interface Body {
        void run() throws Exception;
    }

    static boolean check(String name, Body body) {
        try {
            body.run();
            System.out.println("PASS\t" + name);
            return true;
        } catch (Throwable e) {
            e.printStackTrace();
            String text = e.toString().replaceAll("\\s+", " ");
            System.out.println("FAIL\t" + name + "\t" + text.substring(0, Math.min(400, text.length())));
            return false;
        } finally {
            System.out.flush();
        }
    }

    public static void main(String[] args) throws Exception {
        System.out.println("VERSION\t" + org.apache.kafka.common.utils.AppInfoParser.getVersion());
        state = Files.createTempDirectory("streams");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(Stream.of(in, counts, windows).map(t -> new NewTopic(t, 2, (short) 1)).collect(Collectors.toList())).all().get();
        }
        KafkaStreams[] jobs = {start()};
        check("WordCount and windowed count, exactly_once_v2", () -> { feed(1000); settled(); });
        check("the job stops and starts again", () -> {
            jobs[0].close(Duration.ofSeconds(30));
            feed(300);
            jobs[0] = start();
            settled();
        });
        check("the job restores its state from changelogs", () -> {
            jobs[0].close(Duration.ofSeconds(30));
            jobs[0].cleanUp();
            feed(300);
            jobs[0] = start();
            settled();
        });
        for (String what : List.of("restart", "crash")) {
            String name = what.equals("crash") ? "kill -9 of the server" : "restart of the server";
            if (System.getenv("SERVER_DIR") == null) System.out.println("SKIP\t" + name + "\tthe server is not ours to restart");
            else check(name, () -> {
                Thread away = new Thread(() -> server(what));
                away.start();
                while (away.isAlive()) feed(50);
                feed(500);
                settled();
            });
        }
        jobs[0].close(Duration.ofSeconds(20));
        Runtime.getRuntime().halt(0);
    }

    static void server(String what) {
        try {
            Thread.sleep(1000);
            new ProcessBuilder(System.getenv("COMPAT") + "/server", what).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor();
        } catch (Exception e) {
            throw new RuntimeException(e);
        }
    }

    static KafkaStreams start() {
        Properties p = new Properties();
        p.put("application.id", "streams-" + run);
        p.put("bootstrap.servers", bootstrap);
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("state.dir", state.toString());
        p.put("commit.interval.ms", "100");
        p.put("statestore.cache.max.bytes", "0");
        p.put("replication.factor", "1");
        p.put("num.stream.threads", "2");
        p.put("default.key.serde", Serdes.StringSerde.class.getName());
        p.put("default.value.serde", Serdes.StringSerde.class.getName());
        StreamsBuilder b = new StreamsBuilder();
        KGroupedStream<String, String> words = b.<String, String>stream(in)
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("words"));
        words.count(Materialized.as("counts")).toStream().to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        words.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(1), Duration.ofDays(1))).count(Materialized.as("windows"))
            .toStream((w, n) -> w.key() + "@" + w.window().start()).to(windows, Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams s = new KafkaStreams(b.build(), p);
        s.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        s.start();
        return s;
    }

    /** feeds n lines of three words; those of one call are produced in one go */
    static void feed(int n) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
            List<java.util.concurrent.Future<RecordMetadata>> acks = new ArrayList<>();
            for (int i = 0; i < n; i++, lines++) {
                List<String> words = List.of(vocabulary[lines % 10], vocabulary[lines / 3 % 10], vocabulary[lines * 7 % 9]);
                long ts = t0 + lines * 10L;
                acks.add(producer.send(new ProducerRecord<>(in, lines % 2, ts, null, String.join(" ", words))));
                for (String w : words) {
                    wantCounts.merge(w, 1, Integer::sum);
                    wantWindows.merge(w + "@" + ts / 1000 * 1000, 1, Integer::sum);
                }
            }
            producer.flush();
            for (java.util.concurrent.Future<RecordMetadata> f : acks) f.get();
        }
    }

    /** waits until what was committed to both topics is what went in, in order and once */
    static void settled() throws Exception {
        equalUpdates(counts, wantCounts);
        equalUpdates(windows, wantWindows);
    }

    static void equalUpdates(String topic, Map<String, Integer> want) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("isolation.level", "read_committed");
        try (KafkaConsumer<String, Long> c = new KafkaConsumer<>(p, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> tps = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            c.assign(tps);
            c.seekToBeginning(tps);
            Map<String, Integer> got = new TreeMap<>();
            for (long end = System.currentTimeMillis() + 90_000; !got.equals(want); ) {
                if (System.currentTimeMillis() > end) throw new AssertionError(topic + ": got " + difference(got, want) + " of " + want.size());
                for (ConsumerRecord<String, Long> r : c.poll(Duration.ofMillis(200))) {
                    int before = got.getOrDefault(r.key(), 0);
                    if (r.value() != before + 1) throw new AssertionError(topic + "-" + r.partition() + " offset " + r.offset() + ": " + r.key() + " is " + r.value() + " after " + before);
                    got.put(r.key(), before + 1);
                }
            }
            long quiet = System.currentTimeMillis() + 500; // and nothing more comes
            while (System.currentTimeMillis() < quiet)
                for (ConsumerRecord<String, Long> r : c.poll(Duration.ofMillis(100))) throw new AssertionError("one more: " + r);
        }
    }

    static String difference(Map<String, Integer> got, Map<String, Integer> want) {
        return want.entrySet().stream().filter(e -> !e.getValue().equals(got.get(e.getKey()))).limit(5).map(e -> e.getKey() + "=" + got.get(e.getKey()) + ", want " + e.getValue()).collect(Collectors.joining("; "));
    }
}
