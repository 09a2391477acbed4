"""kafka-python as a member of a group: see `member` in ../README.md."""

import re

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

import member

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        member.trace("assigned", assigned)

    def on_partitions_revoked(self, revoked):
        member.trace("revoked", revoked)

    def on_partitions_lost(self, lost):
        member.trace("revoked", lost)


def main():
    bootstrap, group, topic, assignor, instance = member.options()
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance,
        partition_assignment_strategy=[ASSIGNORS[assignor]],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # A static member must be back within it, however slow the machine is.
        session_timeout_ms=30000 if instance else 6000,
        heartbeat_interval_ms=500,
        metadata_max_age_ms=1000,
        fetch_max_wait_ms=100,
    )
    if topic.startswith("^"):
        consumer.subscribe(pattern=re.compile(topic).pattern, listener=Listener())
    else:
        consumer.subscribe([topic], listener=Listener())
    ended = member.told_to_leave()
    while not ended.is_set():
        next_offsets = {}
        for partition, records in consumer.poll(timeout_ms=100, max_records=50).items():
            for record in records:
                member.trace("record", [(*partition, record.offset)])
                next_offsets[partition] = OffsetAndMetadata(record.offset + 1, "", -1)
        if not next_offsets:
            continue
        try:
            consumer.commit(next_offsets)
            member.trace("committed", [(*partition, next.offset) for partition, next in next_offsets.items()])
        except KafkaError as error:
            # The group has moved on; whoever owns the partition now reads these records again.
            member.trace("refused", [(type(error).__name__,)])
    consumer.close()


main()
