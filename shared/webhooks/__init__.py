"""Events by HTTP for those who have no Kafka: subscriptions, signatures, deliveries with retries."""
