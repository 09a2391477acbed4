// @platformatic/kafka behind the command line of ../README.md. `read` uses the consumer's fetch, which needs
// no group.

import { Admin, Consumer, ListOffsetTimestamps, Producer, stringSerializers } from '@platformatic/kafka'
import { CODECS, drained, main, show } from './common.js'

const base = bootstrap => ({ clientId: 'compat', bootstrapBrokers: [bootstrap] })

async function using (client, action) {
  try {
    return await action(client)
  } finally {
    await client.close()
  }
}

const create = (bootstrap, topic, partitions) =>
  using(new Admin(base(bootstrap)), admin => admin.createTopics({ topics: [topic], partitions, replicas: 1 }))

function write (bootstrap, topic, groups, codec, acks, idempotent) {
  if (!CODECS.includes(codec)) throw new Error(`no codec ${codec}`)
  const options = { ...base(bootstrap), serializers: stringSerializers, idempotent }
  return using(new Producer(options), async producer => {
    for await (const group of groups) {
      const messages = group.map(({ partition, timestamp, key, value, n }) => (
        { topic, partition, timestamp: BigInt(timestamp), key, value, headers: { n } }))
      await producer.send({ messages, acks, compression: codec })
    }
  })
}

const consumer = bootstrap => new Consumer({ ...base(bootstrap), groupId: 'unused' })

function read (bootstrap, topic, partition, offset, count) {
  return using(consumer(bootstrap), async reader => {
    // fetch resolves topic ids through the topics that the consumer tracks.
    reader.topics.track(topic)
    const { id: topicId, partitions } = (await reader.metadata({ topics: [topic] })).topics.get(topic)
    const node = partitions[partition].leader
    let next = BigInt(offset)
    while (count > 0) {
      const wanted = { partition, currentLeaderEpoch: -1, fetchOffset: next, lastFetchedEpoch: -1, partitionMaxBytes: 1 << 20 }
      const options = { node, topics: [{ topicId, partitions: [wanted] }], minBytes: 1, maxBytes: 1 << 24, maxWaitTime: 500, isolationLevel: 0 }
      const answer = await reader.fetch(options)
      for (const batch of answer.responses.flatMap(r => r.partitions).flatMap(p => p.records ?? [])) {
        for (const record of batch.records) {
          const at = batch.firstOffset + BigInt(record.offsetDelta)
          if (at < next || count === 0) continue
          const n = record.headers.find(([name]) => name?.toString() === 'n')?.[1]
          show(at, batch.firstTimestamp + record.timestampDelta, record.key, record.value, n)
          next = at + 1n
          count -= 1
        }
      }
      await drained()
    }
  })
}

const listed = (bootstrap, topic, partition, timestamp) =>
  using(consumer(bootstrap), async reader => {
    const found = await reader.listOffsets({ topics: [topic], partitions: { [topic]: [partition] }, timestamp })
    const offsets = found.get(topic)
    return offsets[partition] ?? offsets.at(-1)
  })

const at = (bootstrap, topic, partition, timestamp) => listed(bootstrap, topic, partition, BigInt(timestamp))

const ends = async (bootstrap, topic, partition) => [
  await listed(bootstrap, topic, partition, ListOffsetTimestamps.EARLIEST),
  await listed(bootstrap, topic, partition, ListOffsetTimestamps.LATEST)
]

await main({ create, write, read, at, ends })
