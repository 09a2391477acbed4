// kafkajs as a member of a group: see `member` in ../README.md. Its only assignor is its own round robin.

import kafkajs from 'kafkajs'

const { Kafka, logLevel } = kafkajs
const [bootstrap, groupId, topic] = process.argv.slice(2)

const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000)
const trace = (what, words) => process.stdout.write(`${now()}\t${what}\t${words.join(' ')}\n`)
const names = assignment => Object.entries(assignment).flatMap(([of, indexes]) => indexes.map(index => `${of}:${index}`))

const kafka = new Kafka({ brokers: [bootstrap], clientId: 'compat', logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({
  groupId, sessionTimeout: 6000, heartbeatInterval: 500, metadataMaxAge: 1000, rebalanceTimeout: 10_000, maxWaitTimeInMs: 100
})
let owned = []
const giveUp = () => {
  if (owned.length) trace('revoked', owned)
  owned = []
}
consumer.on(consumer.events.REBALANCING, giveUp)
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  giveUp()
  owned = names(payload.memberAssignment)
  trace('assigned', owned)
})
consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
  trace('committed', payload.topics.flatMap(of => of.partitions.map(({ partition, offset }) => `${of.topic}:${partition}:${offset}`)))
})

await consumer.connect()
await consumer.subscribe({ topic: topic.startsWith('^') ? new RegExp(topic) : topic, fromBeginning: true })
await consumer.run({
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat, isRunning, isStale }) => {
    for (const message of batch.messages) {
      if (!isRunning() || isStale()) return
      trace('record', [`${batch.topic}:${batch.partition}:${message.offset}`])
      resolveOffset(message.offset)
    }
    await commitOffsetsIfNecessary({ topics: [{
      topic: batch.topic,
      partitions: [{ partition: batch.partition, offset: String(Number(batch.lastOffset()) + 1) }]
    }] })
    await heartbeat()
  }
})
process.stdin.resume()
process.stdin.on('end', async () => {
  await consumer.disconnect()
  giveUp()
  process.exit(0)
})
