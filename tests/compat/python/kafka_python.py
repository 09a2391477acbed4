"""kafka-python, written in Python alone, behind the command line of ../README.md."""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import common


def create(bootstrap, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])


def write(bootstrap, topic, records, codec, acks, idempotent):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if codec == "none" else codec,
        acks=acks,
        enable_idempotence=idempotent,
        linger_ms=20,
    )
    sent = [
        producer.send(topic, value, key, headers, partition, timestamp)
        for partition, timestamp, key, value, headers in records
    ]
    producer.flush(common.LIMIT_S)
    for one in sent:
        one.get(common.LIMIT_S)
    producer.close()


def consumer(bootstrap):
    return KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="none", check_crcs=True
    )


def read(bootstrap, topic, partition, offset, count):
    reader = consumer(bootstrap)
    assigned = TopicPartition(topic, partition)
    reader.assign([assigned])
    reader.seek(assigned, offset)
    deadline = time.monotonic() + common.LIMIT_S
    while count and time.monotonic() < deadline:
        for batch in reader.poll(timeout_ms=500, max_records=count).values():
            for record in batch:
                common.show(record.offset, record.timestamp, record.key, record.value, record.headers)
                count -= 1
    if count:
        sys.exit(f"{count} records did not come")


def at(bootstrap, topic, partition, timestamp):
    wanted = TopicPartition(topic, partition)
    found = consumer(bootstrap).offsets_for_times({wanted: timestamp})[wanted]
    return found.offset if found else -1


def ends(bootstrap, topic, partition):
    wanted, reader = TopicPartition(topic, partition), consumer(bootstrap)
    return reader.beginning_offsets([wanted])[wanted], reader.end_offsets([wanted])[wanted]


common.main(sys.modules[__name__])
