// What both Node clients share: the command line of ../README.md and its record format.

import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

const FIRST_TIMESTAMP = 1_700_000_000_000
const STEP = 1000
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
export const PER_SEND = 500

/** The lines of the input in groups of PER_SEND records. */
export async function* records (path, partitions) {
  let group = []
  let i = 0
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: 0 })) {
    const tab = line.indexOf('\t')
    const key = line.slice(0, tab)
    const value = line.slice(tab + 1)
    group.push({ partition: i % partitions, timestamp: FIRST_TIMESTAMP + STEP * i, key, value, n: String(i) })
    i += 1
    if (group.length === PER_SEND) {
      yield group
      group = []
    }
  }
  if (group.length) yield group
}

/** Prints one record; false when stdout is full and the caller should wait for `drained`. */
export function show (offset, timestamp, key, value, n) {
  return process.stdout.write(`${offset}\t${timestamp}\t${key ?? ''}\t${value ?? ''}\t${n ?? ''}\n`)
}

export async function drained () {
  if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
}

export async function main (client) {
  const [command, bootstrap, topic, ...rest] = process.argv.slice(2)
  switch (command) {
    case 'create':
      await client.create(bootstrap, topic, Number(rest[0]))
      break
    case 'write': {
      const [partitions, codec, acks, idempotent, path] = rest
      const level = acks === 'all' ? -1 : Number(acks)
      await client.write(bootstrap, topic, records(path, Number(partitions)), codec, level, idempotent === 'yes')
      break
    }
    case 'read':
      await client.read(bootstrap, topic, ...rest.map(Number))
      break
    case 'at':
      console.log(String(await client.at(bootstrap, topic, ...rest.map(Number))))
      break
    case 'ends':
      console.log((await client.ends(bootstrap, topic, Number(rest[0]))).join(' '))
      break
    default:
      throw new Error(`cannot ${command}`)
  }
}
