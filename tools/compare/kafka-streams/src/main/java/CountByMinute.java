import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Counts a topic's JSON events by key and minute with Kafka Streams until everything that was there at the start is
 * taken by a window or dropped as late, and prints one line of JSON. Time and CPU time count from the first record on.
 * Counts go to the state store and its changelog topic, no further; ids are not looked at.
 */
public final class CountByMinute {
  private static final Duration STALLED = Duration.ofSeconds(60);
  private static final ObjectReader READER = new ObjectMapper().readerFor(Event.class);
  private static final ObjectWriter WRITER = new ObjectMapper().writerFor(Event.class);
  private static final Serde<Event> EVENTS =
      Serdes.serdeFrom((topic, event) -> bytes(event), (topic, bytes) -> event(bytes));

  record Event(String event_id, String event_type, String key, long amount, long timestamp) {}

  /** Records that came to the windows, and those of them that the windows took. */
  private final LongAdder read = new LongAdder();
  private final LongAdder counted = new LongAdder();
  private volatile long startNanos;
  private volatile long startCpuNanos;

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = new HashMap<>(Map.of("grace", "30", "guarantee", "at_least_once", "key", "record"));
    for (int at = 0; at + 1 < arguments.length; at += 2) {
      options.put(arguments[at].replaceFirst("^--", ""), arguments[at + 1]);
    }
    if (!options.containsKey("brokers") || !options.containsKey("topic")) {
      System.err.println("usage: CountByMinute --brokers B --topic T [--grace SECONDS]"
          + " [--guarantee at_least_once|exactly_once_v2] [--key record|event]");
      System.exit(2);
    }
    new CountByMinute().run(options);
  }

  private void run(Map<String, String> options) throws Exception {
    String topic = options.get("topic");
    long total = records(options.get("brokers"), topic);
    Properties settings = new Properties();
    // A new group reads from the beginning, into tables of its own.
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "count-" + UUID.randomUUID());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("brokers"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, options.get("guarantee"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("kafka-streams").toString());
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Runtime.getRuntime().availableProcessors());
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    Duration grace = Duration.ofSeconds(Long.parseLong(options.get("grace")));
    boolean isKeyed = options.get("key").equals("record");
    try (KafkaStreams streams = new KafkaStreams(topology(topic, grace, isKeyed), settings)) {
      streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
      streams.start();
      waitFor(total, streams);
      print(total);
    }
  }

  /**
   * Counts by the record's key, or, as for topics that are keyed by something else, by the event's: then every record
   * goes through a topic of Kafka Streams' own.
   */
  private Topology topology(String topic, Duration grace, boolean isKeyed) {
    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, Event> events = builder.stream(topic, Consumed.with(Serdes.String(), EVENTS)
        .withTimestampExtractor((record, partitionTime) -> ((Event) record.value()).timestamp()));
    if (!isKeyed) {
      events = events.selectKey((key, event) -> event.key()).repartition(Repartitioned.with(Serdes.String(), EVENTS));
    }
    events
        .peek((key, event) -> seen())
        .groupByKey(Grouped.with(Serdes.String(), EVENTS))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), grace))
        // What count() does, and says how often.
        .aggregate(() -> 0L, (key, event, count) -> {
          counted.increment();
          return count + 1;
        }, Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("counts")
            .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()));
    return builder.build();
  }

  private static byte[] bytes(Event event) {
    try {
      return WRITER.writeValueAsBytes(event);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static Event event(byte[] bytes) {
    try {
      return READER.readValue(bytes);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private void seen() {
    if (startNanos == 0) {
      begin();
    }
    read.increment();
  }

  private synchronized void begin() {
    if (startNanos == 0) {
      startCpuNanos = cpuNanos();
      startNanos = System.nanoTime();
    }
  }

  /** Waits until so many records are read; the last ones are in their windows a moment later. */
  private void waitFor(long total, KafkaStreams streams) throws InterruptedException {
    long before = -1;
    long movedAt = System.nanoTime();
    while (read.sum() < total) {
      if (read.sum() != before) {
        before = read.sum();
        movedAt = System.nanoTime();
      }
      boolean isStalled = System.nanoTime() - movedAt > STALLED.toNanos();
      if (isStalled || streams.state() == KafkaStreams.State.ERROR) {
        throw new IllegalStateException(before + " of " + total + " records were read, then nothing more");
      }
      Thread.sleep(5);
    }
  }

  private void print(long total) throws IOException, InterruptedException {
    double seconds = (System.nanoTime() - startNanos) / 1e9;
    double cpuSeconds = (cpuNanos() - startCpuNanos) / 1e9;
    Thread.sleep(100);
    System.out.printf(
        "{\"records\":%d,\"counted\":%d,\"seconds\":%.3f,\"records_per_s\":%.0f,\"records_per_cpu_s\":%.0f,\"memory_mib\":%d}%n",
        total, counted.sum(), seconds, total / seconds, total / cpuSeconds, memoryMib());
  }

  private static long records(String brokers, String topic) throws ExecutionException, InterruptedException {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
      var partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
      return offsets(admin, topic, partitions.size(), OffsetSpec.latest())
          - offsets(admin, topic, partitions.size(), OffsetSpec.earliest());
    }
  }

  private static long offsets(Admin admin, String topic, int partitions, OffsetSpec spec)
      throws ExecutionException, InterruptedException {
    var wanted = IntStream.range(0, partitions).boxed()
        .collect(Collectors.toMap(partition -> new TopicPartition(topic, partition), partition -> spec));
    return admin.listOffsets(wanted).all().get().values().stream().mapToLong(info -> info.offset()).sum();
  }

  private static long cpuNanos() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }

  private static long memoryMib() throws IOException {
    String peak = Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmHWM:")).findFirst().orElseThrow();
    return Long.parseLong(peak.replaceAll("\\D", "")) / 1024;
  }
}
