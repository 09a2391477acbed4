// kafkajs behind the command line of ../README.md.
//
// Its public consumer needs a group, so `read` uses the cluster and broker objects below it: the request, the
// decoding of batches and the decompression are the library's own. It brings only gzip; the other codecs
// are plugged in the way its documentation says.

import zlib from 'node:zlib'
import { lz4Compress, lz4Decompress, snappyCompress, snappyDecompress } from '@platformatic/wasm-utils'
import kafkajs from 'kafkajs'
import { CODECS, drained, main, show } from './common.js'

const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = kafkajs
const FRAMED_SNAPPY = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const FRAMED_HEADER = 16

const plug = (type, compress, decompress) => {
  CompressionCodecs[type] = () => ({ compress: async encoder => compress(encoder.buffer), decompress: async b => decompress(b) })
}
plug(CompressionTypes.Snappy, snappyCompress, unframeSnappy)
plug(CompressionTypes.LZ4, lz4Compress, lz4Decompress)
plug(CompressionTypes.ZSTD, zlib.zstdCompressSync, zlib.zstdDecompressSync)

function unframeSnappy (data) {
  if (!data.subarray(0, FRAMED_SNAPPY.length).equals(FRAMED_SNAPPY)) return snappyDecompress(data)
  const chunks = []
  for (let at = FRAMED_HEADER; at < data.length;) {
    const size = data.readUInt32BE(at)
    chunks.push(snappyDecompress(data.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return Buffer.concat(chunks)
}

const connect = bootstrap => new Kafka({ brokers: [bootstrap], clientId: 'compat', logLevel: logLevel.ERROR })

async function withAdmin (bootstrap, action) {
  const admin = connect(bootstrap).admin()
  await admin.connect()
  try {
    return await action(admin)
  } finally {
    await admin.disconnect()
  }
}

const create = (bootstrap, topic, numPartitions) =>
  withAdmin(bootstrap, admin => admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: true }))

async function write (bootstrap, topic, groups, codec, acks, idempotent) {
  const producer = connect(bootstrap).producer({ idempotent, maxInFlightRequests: idempotent ? 1 : 5 })
  await producer.connect()
  for await (const group of groups) {
    const messages = group.map(({ partition, timestamp, key, value, n }) => (
      { partition, timestamp: String(timestamp), key, value, headers: { n } }))
    await producer.send({ topic, acks, compression: CODECS.indexOf(codec), messages })
  }
  await producer.disconnect()
}

async function read (bootstrap, topic, partition, offset, count) {
  const kafka = connect(bootstrap)
  const symbol = Object.getOwnPropertySymbols(kafka).find(s => s.description === 'private:Kafka:createCluster')
  const cluster = kafka[symbol]({ metadataMaxAge: 300_000 })
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const { leader } = cluster.findTopicPartitionMetadata(topic).find(p => p.partitionId === partition)
  const broker = await cluster.findBroker({ nodeId: leader })
  const isolationLevel = 0
  while (count > 0) {
    const partitions = [{ partition, fetchOffset: String(offset), maxBytes: 1 << 20 }]
    const answer = await broker.fetch({ isolationLevel, maxWaitTime: 500, topics: [{ topic, partitions }] })
    for (const { messages } of answer.responses.flatMap(response => response.partitions)) {
      for (const message of messages.filter(m => Number(m.offset) >= offset).slice(0, count)) {
        show(message.offset, message.timestamp, message.key, message.value, message.headers.n)
        offset = Number(message.offset) + 1
        count -= 1
      }
    }
    await drained()
  }
  await cluster.disconnect()
}

async function at (bootstrap, topic, partition, timestamp) {
  const [found, ends] = await withAdmin(bootstrap, async admin => [
    await admin.fetchTopicOffsetsByTimestamp(topic, timestamp), await admin.fetchTopicOffsets(topic)])
  const of = list => list.find(row => row.partition === partition)
  // The library turns "no such record" into the end of the partition.
  return of(found).offset === of(ends).high ? -1 : of(found).offset
}

async function ends (bootstrap, topic, partition) {
  const all = await withAdmin(bootstrap, admin => admin.fetchTopicOffsets(topic))
  const { low, high } = all.find(row => row.partition === partition)
  return [low, high]
}

await main({ create, write, read, at, ends })
