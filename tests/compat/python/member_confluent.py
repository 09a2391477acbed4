"""confluent-kafka (librdkafka) as a member of a group: see `member` in ../README.md."""

from confluent_kafka import Consumer, KafkaError, KafkaException

import member

BATCH = 50


def named(partitions):
    return [(one.topic, one.partition) for one in partitions]


def main():
    bootstrap, group, topic, assignor, instance = member.options()
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "partition.assignment.strategy": assignor,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        # A static member must be back within it, however slow the machine is.
        "session.timeout.ms": 30000 if instance else 6000,
        "heartbeat.interval.ms": 500,
        "topic.metadata.refresh.interval.ms": 1000,
        "fetch.wait.max.ms": 100,
    }
    if instance:
        settings["group.instance.id"] = instance
    consumer = Consumer(settings)
    consumer.subscribe(
        [topic],
        on_assign=lambda _, partitions: member.trace("assigned", named(partitions)),
        on_revoke=lambda _, partitions: member.trace("revoked", named(partitions)),
        on_lost=lambda _, partitions: member.trace("revoked", named(partitions)),
    )
    ended = member.told_to_leave()
    while not ended.is_set():
        records = consumer.consume(BATCH, timeout=0.1)
        next_offsets = {}
        for record in records:
            if record.error():
                if record.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise KafkaException(record.error())
            member.trace("record", [(record.topic(), record.partition(), record.offset())])
            next_offsets[record.topic(), record.partition()] = record
        if not next_offsets:
            continue
        try:
            for record in next_offsets.values():
                consumer.commit(record, asynchronous=False)
                member.trace("committed", [(record.topic(), record.partition(), record.offset() + 1)])
        except KafkaException as error:
            # The group has moved on; whoever owns the partition now reads these records again.
            member.trace("refused", [(str(error.args[0].name()),)])
    consumer.close()


main()
