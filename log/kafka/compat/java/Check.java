import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Exit;

/**
 * Checks Apache's Java clients and command-line tools against a server. The tools run by their main methods in this one JVM,
 * with their input, output and exit status caught: a JVM for each of sixty commands would take minutes to start.
 */
public class Check {
    static final String bootstrap = System.getenv("BOOTSTRAP");
    static final String run = Long.toString(System.currentTimeMillis(), 36);
    static final long t0 = System.currentTimeMillis() - 3_600_000;
    static final PrintStream out = System.out, err = System.err;
    static Admin admin;

    interface Body {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        String version = org.apache.kafka.common.utils.AppInfoParser.getVersion();
        out.println("VERSION\t" + version);
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) check("compression " + codec, () -> compression(codec));
        check("headers, null and empty keys, tombstones", Check::bare);
        check("group", () -> group("classic", "CooperativeStickyAssignor", "RangeAssignor"));
        if (!version.startsWith("3.")) check("group of the consumer protocol", () -> group("consumer", "uniform", "range"));
        check("seek by offset and time", Check::seek);
        check("idempotence", Check::idempotence);
        check("transactions", Check::transactions);
        check("consume-transform-produce", Check::consumeTransformProduce);
        check("admin", Check::administration);
        check("admin of groups", Check::administrationOfGroups);
        Tools.checks();
        Security.checks();
        for (String what : List.of("restart", "crash")) {
            String name = what.equals("crash") ? "kill -9" : what;
            if (System.getenv("SERVER_DIR") == null) out.println("SKIP\t" + name + "\tthe server is not ours to restart");
            else check(name, () -> restart(what));
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static void check(String name, Body body) {
        ExecutorService one = Executors.newSingleThreadExecutor();
        long began = System.currentTimeMillis();
        try {
            one.submit(() -> { body.run(); return null; }).get(120, TimeUnit.SECONDS);
            out.println("PASS\t" + name);
        } catch (Throwable e) {
            if (e instanceof ExecutionException) e = e.getCause();
            e.printStackTrace(err);
            String text = e.toString() + where(e);
            out.println("FAIL\t" + name + "\t" + text.replaceAll("\\s+", " ").substring(0, Math.min(500, text.replaceAll("\\s+", " ").length())));
        } finally {
            one.shutdownNow();
            out.flush();
            err.printf("--- %s: %d ms%n", name, System.currentTimeMillis() - began);
        }
    }

    /** where in this file an error came from */
    static String where(Throwable e) {
        for (StackTraceElement s : e.getStackTrace())
            if ("Check.java".equals(s.getFileName()) && !s.getMethodName().matches("equal|until|where|get")) return " (line " + s.getLineNumber() + ")";
        return "";
    }

    static void equal(Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError("got " + cut(got) + ", want " + cut(want));
    }

    static String cut(Object o) {
        String s = String.valueOf(o);
        return s.length() > 200 ? s.substring(0, 200) + "…" : s;
    }

    static void until(String what, BooleanSupplier ok) throws Exception {
        long end = System.currentTimeMillis() + 30_000;
        while (!ok.getAsBoolean()) {
            if (System.currentTimeMillis() > end) throw new AssertionError(what + ": not so after 30 s");
            Thread.sleep(100);
        }
    }

    static <T> T get(KafkaFuture<T> f) throws Exception {
        try {
            return f.get(30, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw (Exception) e.getCause();
        }
    }

    static String topic(String name, int partitions, String... config) throws Exception {
        name = "java-" + run + "-" + name;
        Map<String, String> configs = new HashMap<>();
        for (int i = 0; i < config.length; i += 2) configs.put(config[i], config[i + 1]);
        get(admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all());
        return name;
    }

    static KafkaProducer<byte[], byte[]> producer(String... config) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("linger.ms", "2");
        for (int i = 0; i < config.length; i += 2) p.put(config[i], config[i + 1]);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String... config) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        for (int i = 0; i < config.length; i += 2) p.put(config[i], config[i + 1]);
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static ProducerRecord<byte[], byte[]> numbered(String t, int i) {
        return new ProducerRecord<>(t, 0, t0 + 100 * i, ("k" + i).getBytes(), ("value " + i).getBytes(), List.of(new RecordHeader("n", ("" + i).getBytes())));
    }

    static List<ProducerRecord<byte[], byte[]>> numbered(String t, int first, int end) {
        return IntStream.range(first, end).mapToObj(i -> numbered(t, i)).collect(Collectors.toList());
    }

    static List<Long> send(KafkaProducer<byte[], byte[]> p, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> r : records) sent.add(p.send(r));
        p.flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> f : sent) offsets.add(f.get(30, TimeUnit.SECONDS).offset());
        return offsets;
    }

    static void send(String t, int first, int end, String... config) throws Exception {
        try (KafkaProducer<byte[], byte[]> p = producer(config)) {
            send(p, numbered(t, first, end));
        }
    }

    static String text(byte[] key, byte[] value, long time, Iterable<org.apache.kafka.common.header.Header> headers) {
        StringBuilder s = new StringBuilder((key == null ? "null" : "'" + new String(key) + "'") + "=" + (value == null ? "null" : "'" + new String(value) + "'") + "@" + time);
        for (org.apache.kafka.common.header.Header h : headers) s.append(" ").append(h.key()).append("=").append(h.value() == null ? null : new String(h.value()));
        return s.toString();
    }

    static List<String> texts(List<ConsumerRecord<byte[], byte[]>> rs) {
        return rs.stream().map(r -> text(r.key(), r.value(), r.timestamp(), r.headers())).collect(Collectors.toList());
    }

    static List<String> wanted(List<ProducerRecord<byte[], byte[]>> rs) {
        return rs.stream().map(r -> text(r.key(), r.value(), r.timestamp(), r.headers())).collect(Collectors.toList());
    }

    /** reads n records of partition 0; with n of -1 whatever comes until two seconds bring none */
    static List<ConsumerRecord<byte[], byte[]>> read(String t, int n, long offset, String... config) {
        try (KafkaConsumer<byte[], byte[]> c = consumer(config)) {
            TopicPartition tp = new TopicPartition(t, 0);
            c.assign(List.of(tp));
            c.seek(tp, offset);
            return poll(c, n);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> c, int n) {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        long end = System.currentTimeMillis() + (n < 0 ? 2000 : 30_000);
        while ((n < 0 || got.size() < n) && System.currentTimeMillis() < end) {
            ConsumerRecords<byte[], byte[]> rs = c.poll(Duration.ofMillis(200));
            rs.forEach(got::add);
            if (n < 0 && !rs.isEmpty()) end = System.currentTimeMillis() + 2000;
        }
        return got;
    }

    static void compression(String codec) throws Exception {
        String t = topic(codec, 1);
        send(t, 0, 500, "compression.type", codec);
        equal(texts(read(t, 500, 0)), wanted(numbered(t, 0, 500)));
    }

    static void bare() throws Exception {
        String t = topic("bare", 1);
        byte[] k = "k".getBytes(), v = "v".getBytes(), none = new byte[0];
        List<ProducerRecord<byte[], byte[]>> sent = List.of(new ProducerRecord<>(t, 0, t0, k, v), new ProducerRecord<>(t, 0, t0, null, v), new ProducerRecord<>(t, 0, t0, none, v),
            new ProducerRecord<>(t, 0, t0, k, (byte[]) null), new ProducerRecord<>(t, 0, t0, k, none), new ProducerRecord<>(t, 0, t0, null, (byte[]) null),
            new ProducerRecord<>(t, 0, t0, k, v, List.of(new RecordHeader("a", v), new RecordHeader("a", (byte[]) null), new RecordHeader("", none))));
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            send(p, sent);
        }
        equal(texts(read(t, sent.size(), 0)), wanted(sent));
    }

    static void group(String protocol, String... assignors) throws Exception {
        String t = topic("group-" + protocol, 4), g = "java-" + run + "-" + protocol;
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 400; i++) sent.add(new ProducerRecord<>(t, i % 4, null, ("" + i).getBytes()));
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            send(p, sent);
        }
        for (String assignor : assignors) {
            String id = g + assignor;
            String[] config = protocol.equals("consumer") ? new String[] {"group.id", id, "group.protocol", protocol, "group.remote.assignor", assignor}
                : new String[] {"group.id", id, "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor, "heartbeat.interval.ms", "300", "session.timeout.ms", "10000"};
            Set<String> seen = ConcurrentHashMap.newKeySet();
            int[] shares = new int[2];
            boolean[] stop = {false};
            List<Thread> threads = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                int me = i;
                Thread thread = new Thread(() -> {
                    try (KafkaConsumer<byte[], byte[]> c = consumer(config)) {
                        c.subscribe(List.of(t));
                        while (!stop[0]) {
                            c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(new String(r.value())));
                            shares[me] = c.assignment().size();
                            try {
                                c.commitSync();
                            } catch (CommitFailedException | RebalanceInProgressException e) {
                                err.println("commit: " + e); // the next one does it
                            }
                        }
                    }
                });
                thread.start();
                threads.add(thread);
            }
            try {
                until("two members share four partitions, read all and commit it", () -> {
                    try {
                        Collection<OffsetAndMetadata> committed = get(admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata()).values();
                        return shares[0] == 2 && shares[1] == 2 && seen.size() == 400 && committed.size() == 4 && committed.stream().allMatch(o -> o.offset() == 100);
                    } catch (Exception e) {
                        return false;
                    }
                });
            } finally {
                stop[0] = true;
                for (Thread x : threads) x.join(20_000);
            }
            try (KafkaConsumer<byte[], byte[]> c = consumer(config)) {
                Set<TopicPartition> all = IntStream.range(0, 4).mapToObj(i -> new TopicPartition(t, i)).collect(Collectors.toSet());
                equal(c.committed(all).values().stream().map(OffsetAndMetadata::offset).collect(Collectors.toList()), List.of(100L, 100L, 100L, 100L));
                c.subscribe(List.of(t));
                equal(poll(c, -1).size(), 0);
                TopicPartition tp = new TopicPartition(t, 0);
                equal(c.assignment().size(), 4);
                c.commitSync(Map.of(tp, new OffsetAndMetadata(7, Optional.of(0), "a note")));
                equal(c.committed(Set.of(tp)).get(tp).metadata(), "a note");
            }
        }
    }

    static void seek() throws Exception {
        String t = topic("seek", 1);
        send(t, 0, 100);
        equal(texts(read(t, 58, 42)), wanted(numbered(t, 42, 100)));
        TopicPartition tp = new TopicPartition(t, 0);
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            equal(c.offsetsForTimes(Map.of(tp, t0)).get(tp).offset(), 0L);
            equal(c.offsetsForTimes(Map.of(tp, t0 + 3001)).get(tp), new OffsetAndTimestamp(31, t0 + 3100, Optional.of(0)));
            equal(c.offsetsForTimes(Map.of(tp, t0 + 999_000)).get(tp), null);
            equal(List.of(c.beginningOffsets(Set.of(tp)).get(tp), c.endOffsets(Set.of(tp)).get(tp)), List.of(0L, 100L));
            c.assign(List.of(tp));
            c.seekToEnd(List.of(tp));
            equal(c.position(tp), 100L);
            c.seek(tp, 1000); // out of range: back to the earliest
            equal(poll(c, 100).get(0).offset(), 0L);
        }
    }

    static void idempotence() throws Exception {
        String t = topic("idempotent", 1);
        try (KafkaProducer<byte[], byte[]> p = producer("enable.idempotence", "true", "batch.size", "2000")) {
            equal(send(p, numbered(t, 0, 5000)), LongStream.range(0, 5000).boxed().collect(Collectors.toList()));
        }
        equal(texts(read(t, 5000, 0)), wanted(numbered(t, 0, 5000)));
    }

    static void transactions() throws Exception {
        String t = topic("transactions", 1), id = "java-" + run + "-tx";
        String[] committed = {"isolation.level", "read_committed"};
        KafkaProducer<byte[], byte[]> p = producer("transactional.id", id);
        p.initTransactions();
        for (int first = 0; first < 30; first += 10) {
            p.beginTransaction();
            send(p, numbered(t, first, first + 10));
            if (first == 10) p.abortTransaction();
            else p.commitTransaction();
        }
        List<ProducerRecord<byte[], byte[]>> want = numbered(t, 0, 10);
        want.addAll(numbered(t, 20, 30));
        equal(texts(read(t, 20, 0, committed)), wanted(want));
        equal(texts(read(t, 30, 0)), wanted(numbered(t, 0, 30)));
        p.beginTransaction();
        send(p, numbered(t, 30, 40));
        TopicPartition tp = new TopicPartition(t, 0);
        try (KafkaConsumer<byte[], byte[]> c = consumer(committed); KafkaConsumer<byte[], byte[]> u = consumer()) {
            equal(c.endOffsets(Set.of(tp)).get(tp), 33L);
            equal(u.endOffsets(Set.of(tp)).get(tp), 43L);
        }
        equal(read(t, -1, 0, committed).size(), 20);
        equal(get(admin.describeTransactions(List.of(id)).all()).get(id).state(), TransactionState.ONGOING);
        equal(get(admin.describeProducers(List.of(tp)).all()).get(tp).activeProducers().get(0).currentTransactionStartOffset(), OptionalLong.of(33));
        KafkaProducer<byte[], byte[]> heir = producer("transactional.id", id);
        heir.initTransactions(); // aborts what was open
        try {
            p.commitTransaction();
            throw new AssertionError("a zombie could commit");
        } catch (ProducerFencedException | InvalidProducerEpochException e) {
            p.close(Duration.ZERO);
        }
        heir.beginTransaction();
        send(heir, numbered(t, 40, 50));
        heir.commitTransaction();
        heir.close();
        want.addAll(numbered(t, 40, 50));
        equal(texts(read(t, -1, 0, committed)), wanted(want));
    }

    static void consumeTransformProduce() throws Exception {
        String source = topic("source", 1), sink = topic("sink", 1), g = "java-" + run + "-copy";
        send(source, 0, 100);
        TopicPartition tp = new TopicPartition(source, 0);
        try (KafkaProducer<byte[], byte[]> p = producer("transactional.id", g); KafkaConsumer<byte[], byte[]> c = consumer("group.id", g, "isolation.level", "read_committed", "max.poll.records", "20")) {
            p.initTransactions();
            c.subscribe(List.of(source));
            long done = 0;
            for (int round = 0; done < 100 && round < 200; round++) {
                ConsumerRecords<byte[], byte[]> rs = c.poll(Duration.ofMillis(500));
                if (rs.isEmpty()) continue;
                p.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> r : rs) p.send(new ProducerRecord<>(sink, 0, r.timestamp(), r.key(), r.value(), r.headers()));
                p.sendOffsetsToTransaction(Map.of(tp, new OffsetAndMetadata(c.position(tp))), c.groupMetadata());
                if (done == 20 && round % 2 == 0) {
                    p.abortTransaction();
                    c.seek(tp, done);
                } else {
                    p.commitTransaction();
                    done = c.position(tp);
                }
                equal(c.committed(Set.of(tp)).get(tp).offset(), done);
            }
        }
        equal(texts(read(sink, -1, 0, "isolation.level", "read_committed")), wanted(numbered(source, 0, 100)));
    }

    static void administration() throws Exception {
        String t = topic("admin", 2, "cleanup.policy", "compact", "retention.ms", "123456");
        ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, t);
        Config c = get(admin.describeConfigs(List.of(r)).all()).get(r);
        equal(List.of(c.get("cleanup.policy").value(), c.get("retention.ms").value(), c.get("retention.ms").source(), c.get("retention.bytes").isDefault()),
            List.of("compact", "123456", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, true));
        get(admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "654321"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), AlterConfigOp.OpType.APPEND)))).all());
        until("changed configs are seen", () -> {
            try {
                Config now = get(admin.describeConfigs(List.of(r)).all()).get(r);
                return List.of(now.get("cleanup.policy").value(), now.get("retention.ms").value()).equals(List.of("compact,delete", "654321"));
            } catch (Exception e) {
                return false;
            }
        });
        get(admin.createPartitions(Map.of(t, NewPartitions.increaseTo(5))).all());
        TopicDescription d = get(admin.describeTopics(List.of(t)).allTopicNames()).get(t);
        equal(d.partitions().size(), 5);
        equal(get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds()).get(d.topicId()).name(), t);
        for (Map.Entry<Body, Class<?>> wrong : Map.<Body, Class<?>>of(
            () -> topic("admin", 1), TopicExistsException.class,
            () -> topic("a/b", 1), InvalidTopicException.class,
            () -> topic("wrong", 1, "retention.ms", "soon"), InvalidConfigurationException.class,
            () -> topic("no-partitions", 0), InvalidPartitionsException.class,
            () -> get(admin.createPartitions(Map.of(t, NewPartitions.increaseTo(3))).all()), InvalidPartitionsException.class,
            () -> get(admin.describeTopics(List.of("java-nowhere")).allTopicNames()), UnknownTopicOrPartitionException.class).entrySet()) {
            try {
                wrong.getKey().run();
                throw new AssertionError("no " + wrong.getValue());
            } catch (ApiException e) {
                equal(e.getClass(), wrong.getValue());
            }
        }
        DescribeClusterResult cluster = admin.describeCluster();
        equal(get(cluster.nodes()).size(), 1);
        equal(get(cluster.clusterId()).length() > 0, true);
        get(admin.describeLogDirs(get(cluster.nodes()).stream().map(Node::id).collect(Collectors.toList())).allDescriptions());
        get(admin.deleteTopics(List.of(t)).all());
        until("topic is gone", () -> {
            try {
                return !get(admin.listTopics().names()).contains(t);
            } catch (Exception e) {
                return false;
            }
        });
    }

    static void administrationOfGroups() throws Exception {
        String t = topic("groups", 1), g = "java-" + run + "-admin";
        send(t, 0, 50);
        TopicPartition tp = new TopicPartition(t, 0);
        try (KafkaConsumer<byte[], byte[]> c = consumer("group.id", g, "client.id", "member", "group.instance.id", "one")) {
            c.subscribe(List.of(t));
            equal(poll(c, 50).size(), 50);
            c.commitSync();
            ConsumerGroupDescription d = get(admin.describeConsumerGroups(List.of(g)).all()).get(g);
            equal(List.of(d.members().size(), d.members().iterator().next().groupInstanceId().get(), d.members().iterator().next().assignment().topicPartitions()), List.of(1, "one", Set.of(tp)));
            try {
                get(admin.deleteConsumerGroups(List.of(g)).all());
                throw new AssertionError("a group with a member was deleted");
            } catch (GroupNotEmptyException e) {
                get(admin.removeMembersFromConsumerGroup(g, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all());
            }
        }
        until("the group is empty", () -> {
            try {
                return get(admin.describeConsumerGroups(List.of(g)).all()).get(g).members().isEmpty();
            } catch (Exception e) {
                return false;
            }
        });
        equal(get(admin.listConsumerGroups().all()).stream().anyMatch(x -> x.groupId().equals(g)), true);
        equal(get(admin.listConsumerGroupOffsets(g).partitionsToOffsetAndMetadata()).get(tp).offset(), 50L);
        get(admin.alterConsumerGroupOffsets(g, Map.of(tp, new OffsetAndMetadata(5))).all());
        equal(get(admin.listConsumerGroupOffsets(g).partitionsToOffsetAndMetadata()).get(tp).offset(), 5L);
        get(admin.deleteConsumerGroupOffsets(g, Set.of(tp)).all());
        equal(get(admin.listConsumerGroupOffsets(g).partitionsToOffsetAndMetadata()).get(tp), null);
        get(admin.deleteConsumerGroups(List.of(g)).all());
        equal(get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(20))).lowWatermarks().get(tp)).lowWatermark(), 20L);
        for (Map.Entry<OffsetSpec, Long> e : Map.of(OffsetSpec.earliest(), 20L, OffsetSpec.latest(), 50L, OffsetSpec.maxTimestamp(), 49L, OffsetSpec.forTimestamp(t0 + 2501), 26L).entrySet())
            equal(get(admin.listOffsets(Map.of(tp, e.getKey())).all()).get(tp).offset(), e.getValue());
    }

    static void restart(String what) throws Exception {
        String t = topic(what, 1);
        Future<Integer> server = Executors.newSingleThreadExecutor().submit(() -> {
            Thread.sleep(1000);
            Process p = new ProcessBuilder(System.getenv("COMPAT") + "/server", what).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
            return p.waitFor();
        });
        int sent = 0;
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (long end = Long.MAX_VALUE; System.currentTimeMillis() < end; sent++) {
                if (server.isDone() && end == Long.MAX_VALUE) end = System.currentTimeMillis() + 2000;
                acks.add(p.send(numbered(t, sent)));
                Thread.sleep(2);
            }
            p.flush();
            for (Future<RecordMetadata> f : acks) f.get(60, TimeUnit.SECONDS);
        }
        equal(server.get(), 0);
        equal(texts(read(t, sent, 0)), wanted(numbered(t, 0, sent)));
    }

    /** The command-line tools. */
    static class Tools {
        /** the status of a tool that ends the JVM */
        static class Exited extends Error {
            final int status;
            Exited(int status) { super("exit " + status); this.status = status; }
        }

        static String said;
        static final boolean three = !exists("org.apache.kafka.tools.ConsoleProducer");

        static boolean exists(String name) {
            try {
                Class.forName(name);
                return true;
            } catch (ClassNotFoundException e) {
                return false;
            }
        }

        /** runs a tool and returns its exit status; what it said is in said */
        static int status(String tool, String input, String... args) throws Exception {
            if (tool.startsWith("kafka.")) return process(tool, input, args); // Scala's println keeps the first output it saw
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            PrintStream caught = new PrintStream(bytes, true);
            InputStream in = System.in;
            int[] first = {-1};
            List<Runnable> hooks = new ArrayList<>();
            Exit.Procedure exit = (status, message) -> {
                if (message != null) caught.println(message);
                if (first[0] < 0) first[0] = status;
                throw new Exited(status);
            };
            Exit.setExitProcedure(exit);
            Exit.setHaltProcedure(exit);
            Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
            System.setIn(new ByteArrayInputStream(input.getBytes()));
            System.setOut(caught);
            System.setErr(caught);
            try {
                Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) args);
                if (first[0] < 0) first[0] = 0;
            } catch (java.lang.reflect.InvocationTargetException e) {
                if (!(e.getCause() instanceof Exited)) {
                    e.getCause().printStackTrace(caught);
                    if (first[0] < 0) first[0] = 1;
                }
            } finally {
                for (Runnable h : hooks) h.run();
                System.setIn(in);
                System.setOut(out);
                System.setErr(err);
            }
            said = bytes.toString();
            err.println("$ " + tool + " " + String.join(" ", args) + " -> " + first[0] + "\n" + said);
            return first[0];
        }

        /** runs a tool that has to succeed and to say everything of want, which are regular expressions */
        static void tool(String tool, String[] args, String... want) throws Exception {
            boolean asks = Arrays.stream(args).anyMatch(a -> a.matches("--describe|--list|list|describe")); // a change may be seen a little later
            for (int tries = asks ? 10 : 1; ; tries--) {
                try {
                    int status = status(tool, "", args);
                    if (status != 0) throw new AssertionError(tool + " " + String.join(" ", args) + ": exit " + status + ": " + tail());
                    said(want);
                    return;
                } catch (AssertionError e) {
                    if (tries == 1) throw e;
                    Thread.sleep(200);
                }
            }
        }

        static void said(String... want) {
            for (String w : want)
                if (!java.util.regex.Pattern.compile(w, java.util.regex.Pattern.DOTALL | java.util.regex.Pattern.MULTILINE).matcher(said).find())
                    throw new AssertionError("nothing like /" + w + "/ in: " + tail());
        }

        static String tail() {
            String s = said.strip().replaceAll("\\s+at [a-z][\\w.$/]+\\([^)]*\\)", "");
            return s.substring(Math.max(0, s.length() - 350));
        }

        static String[] args(String line, String... more) {
            return Stream.concat(Stream.of(line.isEmpty() ? new String[0] : line.split(" ")), Stream.of(more)).toArray(String[]::new);
        }

        static final String tools = "org.apache.kafka.tools.";
        static final String server = "--bootstrap-server " + bootstrap + " ";

        static void checks() {
            check("kafka-topics", Tools::topics);
            check("kafka-configs", Tools::configs);
            check("kafka-console-producer, kafka-console-consumer", Tools::console);
            check("kafka-verifiable-producer, kafka-verifiable-consumer", Tools::verifiable);
            check("kafka-producer-perf-test, kafka-consumer-perf-test", Tools::perf);
            check("kafka-get-offsets, kafka-delete-records", Tools::offsets);
            check("kafka-consumer-groups", Tools::groups);
            check("kafka-acls", Tools::acls);
            check("kafka-transactions", Tools::transactions);
            check("kafka-leader-election", Tools::election);
            check("kafka-broker-api-versions", () -> tool(three ? "kafka.admin.BrokerApiVersionsCommand" : tools + "BrokerApiVersionsCommand", args(server), "Produce\\(0\\): 0 to", "Fetch\\(1\\): 4 to"));
            check("kafka-log-dirs", () -> {
                String t = topic("dirs", 2);
                send(t, 0, 10);
                tool(tools + "LogDirsCommand", args(server + "--describe --topic-list " + t), "\"partition\":\"" + t + "-0\",\"size\":[1-9]");
            });
            check("kafka-cluster", () -> tool(tools + "ClusterTool", args("cluster-id --bootstrap-server " + bootstrap), "Cluster ID: \\S+"));
            check("kafka-metadata-quorum", () -> {
                tool(tools + "MetadataQuorumCommand", args(server + "describe --status"), "LeaderId:\\s+\\d+", "CurrentVoters:\\s+\\[.*\\d+", "CurrentObservers:\\s+\\[\\]");
                tool(tools + "MetadataQuorumCommand", args(server + "describe --replication"), "\\sLeader\\s");
            });
            check("kafka-client-metrics", () -> tool(tools + "ClientMetricsCommand", args(server + "--list")));
            check("kafka-reassign-partitions", Tools::reassign);
            check("ClientCompatibilityTest", Tools::compatibility);
            check("TransactionalMessageCopier", Tools::copier);
        }

        static void topics() throws Exception {
            String t = "java-" + run + "-topics", c = tools + "TopicCommand";
            tool(c, args(server + "--create --partitions 3 --replication-factor 1 --config retention.ms=123456 --topic " + t), "Created topic " + t);
            tool(c, args(server + "--list"), "^" + t + "$");
            tool(c, args(server + "--describe --topic " + t), "TopicId: \\S{22}", "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=123456", "Partition: 2\\s+Leader: 1\\s+Replicas: 1\\s+Isr: 1");
            tool(c, args(server + "--alter --partitions 5 --topic " + t));
            tool(c, args(server + "--describe --topic " + t), "PartitionCount: 5");
            tool(c, args(server + "--describe --unavailable-partitions"));
            tool(c, args(server + "--create --if-not-exists --topic " + t));
            equal(status(c, "", args(server + "--create --topic " + t)), 1);
            said("already exists");
            tool(c, args(server + "--delete --topic " + t));
            tool(c, args(server + "--list"));
            equal(said.contains(t), false);
        }

        static void configs() throws Exception {
            String t = topic("configs", 1), c = "kafka.admin.ConfigCommand";
            tool(c, args(server + "--alter --entity-type topics --entity-name " + t + " --add-config retention.ms=123456,cleanup.policy=[compact,delete]"), "Completed updating");
            tool(c, args(server + "--describe --entity-type topics --entity-name " + t), "retention.ms=123456", "cleanup.policy=compact,delete");
            tool(c, args(server + "--describe --all --entity-type topics --entity-name " + t), "segment.bytes=", "max.message.bytes=", "DEFAULT_CONFIG");
            tool(c, args(server + "--alter --entity-type topics --entity-name " + t + " --delete-config retention.ms"));
            tool(c, args(server + "--describe --entity-type topics --entity-name " + t));
            equal(said.contains("retention.ms"), false);
            equal(status(c, "", args(server + "--alter --entity-type topics --entity-name " + t + " --add-config retention.ms=soon")), 1);
            tool(c, args(server + "--describe --all --entity-type brokers --entity-name 1"), "log.retention.ms|log.retention.hours|num.partitions");
        }

        static void console() throws Exception {
            String t = topic("console", 1), p = three ? "kafka.tools.ConsoleProducer" : tools + "ConsoleProducer", c = tools + "consumer.ConsoleConsumer";
            equal(status(p, "a:1\nb:2\na:NULL\n", args(server + "--topic " + t + " --compression-codec lz4 " + (three ? "--property" : "--reader-property") + " parse.key=true "
                + (three ? "--property" : "--reader-property") + " key.separator=: " + (three ? "--property" : "--reader-property") + " null.marker=NULL")), 0);
            String property = three ? " --property " : " --formatter-property ";
            tool(c, args(server + "--topic " + t + " --from-beginning --max-messages 3 --group " + t + "-group" + property + "print.key=true" + property + "print.offset=true" + property + "print.timestamp=true"),
                "CreateTime:\\d+\\s+Offset:0\\s+a\\s+1", "Offset:2\\s+a\\s+null", "Processed a total of 3 messages");
            tool(c, args(server + "--topic " + t + " --partition 0 --offset 1 --max-messages 1 --isolation-level read_committed"), "^2$");
        }

        /** runs a tool in a JVM of its own, as some print what they did in a hook at the JVM's end */
        static int process(String tool, String input, String... args) throws Exception {
            List<String> command = new ArrayList<>(List.of("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", System.getProperty("java.class.path"), tool));
            command.addAll(List.of(args));
            Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
            p.getOutputStream().write(input.getBytes());
            p.getOutputStream().close();
            said = new String(p.getInputStream().readAllBytes());
            err.println("$ " + tool + " " + String.join(" ", args) + " -> " + p.waitFor() + "\n" + tail());
            return p.exitValue();
        }

        static void verifiable() throws Exception {
            String t = topic("verifiable", 2);
            equal(process(tools + "VerifiableProducer", "", args("--bootstrap-server " + bootstrap + " --topic " + t + " --max-messages 2000 --acks -1")), 0);
            said("\"acked\":2000", "shutdown_complete");
            equal(process(tools + "VerifiableConsumer", "", args("--bootstrap-server " + bootstrap + " --topic " + t + " --group-id " + t + " --max-messages 2000 --reset-policy earliest --enable-autocommit")), 0);
            said("partitions_assigned", "records_consumed", "shutdown_complete");
            equal(java.util.regex.Pattern.compile("\"name\":\"records_consumed\",\"count\":(\\d+)").matcher(said).results().mapToInt(m -> Integer.parseInt(m.group(1))).sum(), 2000);
        }

        static void perf() throws Exception {
            String t = topic("perf", 4);
            String producerProps = three ? "--producer-props " : (help("ProducerPerformance").contains("--command-property") ? "--command-property " : "--producer-props ");
            tool(tools + "ProducerPerformance", args("--topic " + t + " --num-records 50000 --record-size 100 --throughput -1 " + (three ? "" : "--bootstrap-server " + bootstrap + " ") + producerProps + "acks=all"
                + (three ? " bootstrap.servers=" + bootstrap : "")), "50000 records sent");
            tool(tools + "ConsumerPerformance", args(server + "--topic " + t + " --group " + t + (three ? " --messages 50000" : " --num-records 50000")), "50000|500\\d\\d");
        }

        static String help(String tool) throws Exception {
            status(tools + tool, "", "--help");
            return said;
        }

        static void offsets() throws Exception {
            String t = topic("get-offsets", 1), c = tools + "GetOffsetShell";
            send(t, 0, 50);
            tool(c, args(server + "--topic " + t), t + ":0:50");
            tool(c, args(server + "--topic " + t + " --time -3"), t + ":0:49");
            tool(c, args(server + "--topic " + t + " --time " + (t0 + 1001)), t + ":0:11");
            Path file = Files.createTempFile("offsets", ".json");
            Files.writeString(file, "{\"partitions\":[{\"topic\":\"" + t + "\",\"partition\":0,\"offset\":20}],\"version\":1}");
            tool(tools + "DeleteRecordsCommand", args(server + "--offset-json-file " + file), "low_watermark: 20");
            tool(c, args(server + "--topic " + t + " --time -2"), t + ":0:20");
        }

        static void groups() throws Exception {
            String t = topic("consumer-groups", 1), g = t + "-g", c = tools + "consumer.group.ConsumerGroupCommand";
            send(t, 0, 50);
            try (KafkaConsumer<byte[], byte[]> consumer = consumer("group.id", g)) {
                consumer.subscribe(List.of(t));
                poll(consumer, 50);
                consumer.commitSync(Map.of(new TopicPartition(t, 0), new OffsetAndMetadata(40)));
                tool(c, args(server + "--describe --group " + g), t + "\\s+0\\s+40\\s+50\\s+10\\s+consumer-");
                tool(c, args(server + "--describe --members --verbose --group " + g), "consumer-\\S+.*1");
                tool(c, args(server + "--describe --state --group " + g), "range\\s+(-\\s+)?Stable\\s+1");
                equal(status(c, "", args(server + "--reset-offsets --to-earliest --execute --topic " + t + " --group " + g)), three ? 0 : 0);
                said("(?i)inactive|Assignments can only be reset|is not empty|Stable");
            }
            tool(c, args(server + "--list"), "^" + g + "$");
            tool(c, args(server + "--list --state"), g + "\\s.*Empty");
            tool(c, args(server + "--reset-offsets --to-offset 7 --execute --topic " + t + " --group " + g), "\\s7\\b");
            tool(c, args(server + "--describe --group " + g), t + "\\s+0\\s+7\\s+50\\s+43");
            tool(c, args(server + "--reset-offsets --to-datetime " + java.time.Instant.ofEpochMilli(t0 + 1001).toString().replace("Z", "") + " --execute --topic " + t + " --group " + g), "\\s11\\b");
            tool(c, args(server + "--reset-offsets --shift-by -5 --execute --all-topics --group " + g), "\\s6\\b");
            tool(c, args(server + "--delete-offsets --topic " + t + " --group " + g), "Successful");
            tool(c, args(server + "--delete --group " + g), "successful");
            tool(c, args(server + "--list"));
            equal(said.contains(g), false);
        }

        static void acls() throws Exception {
            String c = three ? "kafka.admin.AclCommand" : tools + "AclCommand", t = "java-" + run + "-acl";
            tool(c, args(server + "--add --allow-principal User:ada --operation Read --operation Describe --topic " + t));
            tool(c, args(server + "--add --deny-principal User:bob --deny-host 10.0.0.1 --operation Write --resource-pattern-type prefixed --topic " + t));
            tool(c, args(server + "--add --allow-principal User:ada --operation Read --group " + t));
            tool(c, args(server + "--list --topic " + t), "User:ada", "(?i)operation=READ");
            tool(c, args(server + "--list --resource-pattern-type match --topic " + t + "-more"), "User:bob", "(?i)permissionType=DENY");
            tool(c, args(server + "--remove --force --allow-principal User:ada --operation Read --operation Describe --topic " + t));
            tool(c, args(server + "--list --topic " + t));
            equal(said.contains("User:ada"), false);
            tool(c, args(server + "--remove --force --group " + t));
            tool(c, args(server + "--remove --force --resource-pattern-type prefixed --topic " + t));
        }

        static void transactions() throws Exception {
            String t = topic("hanging", 1), id = t + "-id", c = tools + "TransactionsCommand";
            try (KafkaProducer<byte[], byte[]> p = producer("transactional.id", id)) {
                p.initTransactions();
                p.beginTransaction();
                send(p, numbered(t, 0, 10));
                tool(c, args(server + "list"), id + "\\s+\\d+\\s+\\d+\\s+Ongoing");
                tool(c, args(server + "describe --transactional-id " + id), "Ongoing", t + "-0");
                tool(c, args(server + "describe-producers --topic " + t + " --partition 0"), "^\\d+\\s+\\d+");
                tool(c, args(server + "find-hanging --broker-id 1"));
                // aborts what the coordinator would not: the tool for transactions that were lost
                tool(c, args(server + "abort --topic " + t + " --partition 0 --start-offset 0"));
                equal(read(t, -1, 0, "isolation.level", "read_committed").size(), 0);
                p.abortTransaction();
            } catch (KafkaException e) {
                e.printStackTrace(err); // the producer may notice
            }
            equal(read(t, -1, 0, "isolation.level", "read_committed").size(), 0);
        }

        static void election() throws Exception {
            String t = topic("election", 1), c = tools + "LeaderElectionCommand";
            int status = status(c, "", args(server + "--election-type preferred --topic " + t + " --partition 0"));
            said("Valid replica already elected|Successfully completed|election not needed");
            equal(status, 0);
        }

        static void reassign() throws Exception {
            String t = topic("reassign", 1), c = tools + "reassign.ReassignPartitionsCommand";
            tool(c, args(server + "--list"), "No partition reassignments");
            Path file = Files.createTempFile("reassign", ".json");
            Files.writeString(file, "{\"version\":1,\"partitions\":[{\"topic\":\"" + t + "\",\"partition\":0,\"replicas\":[1]}]}");
            tool(c, args(server + "--execute --reassignment-json-file " + file), "Successfully started");
            tool(c, args(server + "--verify --reassignment-json-file " + file), "is completed|is complete");
        }

        static void compatibility() throws Exception {
            String t = topic("compatibility", 1);
            List<String> args = new ArrayList<>(List.of("--bootstrap-server", bootstrap, "--topic", t));
            java.util.regex.Matcher feature = java.util.regex.Pattern.compile("--[a-z-]+-supported").matcher(help("ClientCompatibilityTest"));
            for (Set<String> seen = new HashSet<>(); feature.find();)
                if (seen.add(feature.group())) args.addAll(List.of(feature.group(), "True"));
            args.addAll(List.of("--expect-record-too-large-exception", "False", "--num-cluster-nodes", "1"));
            tool(tools + "ClientCompatibilityTest", args.toArray(new String[0]), "All tests passed|SUCCESS|success");
        }

        static void copier() throws Exception {
            String from = topic("copy-from", 1), to = topic("copy-to", 1);
            send(from, 0, 1000);
            tool(tools + "TransactionalMessageCopier", args("--broker-list " + bootstrap + " --input-topic " + from + " --input-partition 0 --output-topic " + to + " --transactional-id " + to
                + " --consumer-group " + to + " --transaction-size 70 --max-messages 1000 --enable-random-aborts --group-mode"), "\"remaining\":0|shutdown_complete|\"consumed\":1000");
            equal(read(to, -1, 0, "isolation.level", "read_committed").stream().map(r -> new String(r.value())).collect(Collectors.toList()),
                IntStream.range(0, 1000).mapToObj(i -> "value " + i).collect(Collectors.toList()));
        }
    }
}
