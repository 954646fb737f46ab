/**
 * What does one QoS 1 message cost that is made durable before its acknowledgement and delivered at once? CPU of all
 * threads, user and system, per message: append, fsync, read by an online subscriber, done. 100 in flight, 64 bytes of
 * payload, strict profile. One line of JSON.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import { openSpool } from '../../../protocols/mqtt/spool/spool.ts'

const WINDOW = 100
const PAYLOAD_BYTES = 64
const WARM_UP = 100_000
const MESSAGES = 400_000
const NO_BYTES = new Uint8Array(0)

const metrics = new Metrics()
const dir = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'meshlet-spool-bench-'))
const spool = await openSpool({
  openStorage: openStorageWith({ bundle: undefined }),
  path: path.join(dir, 'spool.db'),
  policy: createMqttPolicySchema().parse({}),
  clock: systemClock,
  metrics,
  log: silentLog,
  freeBytes: () => systemDisk.freeBytes(dir),
})
const queue = await spool.createQueue('session/bench')
const payload = Buffer.alloc(PAYLOAD_BYTES, 'x')

let read = 0
queue.onAppended = () => {
  while (read < queue.lastSeq) {
    const entries = queue.read(read, 64)
    if (entries instanceof Promise) throw new Error('an online subscriber had to wait for the disk')
    for (const entry of entries) {
      read = entry.seq
      queue.done(entry.seq)
    }
  }
}

/** WINDOW publishers that each wait for their acknowledgement, so WINDOW messages are in flight. */
async function run(messages: number): Promise<void> {
  let left = messages
  await Promise.all(
    Array.from({ length: WINDOW }, async () => {
      while (left-- > 0)
        await spool.append(
          {
            topic: 'site/line/machine/sensor',
            payload,
            qos: 1,
            retain: false,
            properties: NO_BYTES,
            expiresAtMs: undefined,
          },
          [queue],
        )
    }),
  )
}

try {
  await run(WARM_UP)
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const before = metrics.total('mesh_mqtt_spool_commits')
  await run(MESSAGES)
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - startMs) / 1000
  console.log(
    JSON.stringify({
      bench: 'mqtt.spool',
      window: WINDOW,
      profile: spool.stats.profile,
      cpuUsPerMessage: Number(((user + system) / MESSAGES).toFixed(2)),
      systemUsPerMessage: Number((system / MESSAGES).toFixed(2)),
      perSecond: Math.round(MESSAGES / seconds),
      perCommit: Math.round(MESSAGES / (metrics.total('mesh_mqtt_spool_commits') - before)),
      left: queue.depth,
    }),
  )
} finally {
  await spool[Symbol.asyncDispose]()
  fs.rmSync(dir, { recursive: true, force: true })
}
