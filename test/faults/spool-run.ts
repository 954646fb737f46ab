/**
 * A run of the spool for power-cut.test.ts and written-bytes.test.ts, which look at what it writes. What was
 * acknowledged, and what is about to be done, it says in a file of its own: `acks`; what it counts, on standard output.
 */
import fs from 'node:fs'
import path from 'node:path'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { systemClock } from '../../core/os/clock.ts'
import { openStorageWith } from '../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../model/mqtt-policy.ts'
import { openSpool } from '../../protocols/mqtt/spool/spool.ts'

type Args = [string, 'strict' | 'balanced' | 'eco', string?, string?]
const [folder, profile, messages = '260', together = '1'] = process.argv.slice(2) as Args
const MESSAGES = Number(messages)
const TOGETHER = Number(together)

const acks = fs.openSync(path.join(folder, 'acks'), 'a', 0o600)
const say = (what: string): void => void fs.writeSync(acks, `${what}\n`)
const spool = await openSpool({
  openStorage: openStorageWith({ bundle: undefined }),
  path: path.join(folder, 'spool.db'),
  policy: createMqttPolicySchema().parse({ spool: { profile } }),
  clock: systemClock,
  metrics: new Metrics(),
  log: silentLog,
  freeBytes: () => 1e12,
})
say('open')
const queue = await spool.createQueue('up/q')
say('queue')
for (let n = 1; n <= MESSAGES;) {
  const batch = n % 10 === 0 ? TOGETHER + 3 : TOGETHER
  const numbers = Array.from({ length: batch }, (_, i) => n + i)
  await Promise.all(
    numbers.map(async (number) => {
      await spool.append(
        {
          topic: 't',
          payload: Buffer.from(`${number} ${'x'.repeat((number * 7919) % 30_000)}`),
          qos: 1,
          retain: false,
          properties: Buffer.alloc(0),
          expiresAtMs: undefined,
        },
        [queue],
      )
      say(`ack ${number}`)
    }),
  )
  n += batch
  if (n % 3 > 0) continue
  say(`done ${queue.firstSeq}`)
  queue.done(queue.firstSeq)
}
console.log(JSON.stringify(spool.stats))
say('closing')
await spool[Symbol.asyncDispose]()
say('end')
