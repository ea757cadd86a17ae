import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A subscriber in another language: counts each customer's purchases, once per purchase, whatever is delivered twice.
 *
 * <p>The promise is "at least once, in order per key, deduplicate on sequence". So a subscriber keeps, per (topic, key),
 * the sequence of the last event it applied – in the same transaction as the effect – and drops what is not above it.
 * Here both are in memory; in earnest they are two tables of one database.
 *
 * <pre>java -cp '.kafka/libs/*' deploy/kafka/ExampleConsumer.java 127.0.0.1:9092</pre>
 */
public final class ExampleConsumer {
    private static final String TOPIC = "regulars.profile.customer.v1";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, Long> watermark = new HashMap<>();
    private final Map<String, Integer> purchases = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments.length > 0 ? arguments[0] : "127.0.0.1:9092");
        settings.put("group.id", "example-purchase-counter"); // a name of your own, never one of the suite's
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest"); // topics are kept: a new subscriber starts at the beginning
        ExampleConsumer example = new ExampleConsumer();
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(TOPIC));
            while (!Thread.currentThread().isInterrupted()) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    example.apply(record.key(), JSON.readTree(record.value()));
                }
                consumer.commitSync(); // last: what a crash forgets comes again and is dropped
            }
        }
    }

    private void apply(String key, JsonNode event) {
        long sequence = Long.parseLong(event.get("sequence").asText());
        long last = watermark.getOrDefault(key, 0L);
        if (sequence <= last) {
            return; // a repeat
        }
        if (sequence > last + 1) {
            // Cannot happen for who reads from the start; keep the event aside until the missing one has come.
            throw new IllegalStateException("missing " + (last + 1) + " of " + key);
        }
        JsonNode data = event.get("data");
        switch (event.get("type").asText()) {
            case "regulars.profile.purchase_recorded.v1" -> {
                if (!data.get("customer_id").isNull()) { // null: an anonymous purchase
                    int count = purchases.merge(data.get("customer_id").asText(), 1, Integer::sum);
                    System.out.println(data.get("customer_id").asText() + " bought " + count + " times");
                }
            }
            default -> { } // every other type, and every type of tomorrow, only moves the watermark
        }
        watermark.put(key, sequence);
    }
}
