"""confluent-kafka (librdkafka) behind the command line of ../README.md."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import common


def create(bootstrap, topic, partitions):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        done.result(common.LIMIT_S)


def write(bootstrap, topic, records, codec, acks, idempotent):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "acks": acks,
            "enable.idempotence": idempotent,
            "linger.ms": 20,
            "message.timeout.ms": 1000 * common.LIMIT_S,
        }
    )
    errors = []

    def delivered(error, _message):
        if error:
            errors.append(error)

    for partition, timestamp, key, value, headers in records:
        while True:
            try:
                producer.produce(
                    topic, value, key, partition, on_delivery=delivered, timestamp=timestamp, headers=headers
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(common.LIMIT_S)
    if left or errors:
        sys.exit(f"{left} records unsent, errors: {errors[:3]}")


def consumer(bootstrap):
    # A group id is required, but nothing joins it: the partition is assigned by hand.
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "check.crcs": True,
            "auto.offset.reset": "error",
        }
    )


def read(bootstrap, topic, partition, offset, count):
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(topic, partition, offset)])
    deadline = time.monotonic() + common.LIMIT_S
    while count and time.monotonic() < deadline:
        for message in reader.consume(min(count, 1000), 0.5):
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                sys.exit(str(message.error()))
            time_ms = message.timestamp()[1]
            common.show(message.offset(), time_ms, message.key(), message.value(), message.headers())
            count -= 1
    if count:
        sys.exit(f"{count} records did not come")


def at(bootstrap, topic, partition, timestamp):
    found = consumer(bootstrap).offsets_for_times([TopicPartition(topic, partition, timestamp)], common.LIMIT_S)
    return found[0].offset


def ends(bootstrap, topic, partition):
    return consumer(bootstrap).get_watermark_offsets(TopicPartition(topic, partition), common.LIMIT_S)


common.main(sys.modules[__name__])
