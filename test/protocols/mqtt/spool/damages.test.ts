/** The short form of test/faults/damages.test.ts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { openStorageWith } from '../../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { manyDamages } from '../../../faults/damages.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

test('whatever of a spool is damaged, it opens, and each message is delivered or told as lost', async (t) => {
  const outcomes = await manyDamages(temporaryFolder(t), 48, 4_711)
  assert.ok(outcomes.some(({ missing }) => missing > 0))
})

test('a disk that breaks the spool at each start: three are kept, or fewer where they are large', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'spool.db')
  const clock = new SimClock()
  const metrics = new Metrics()
  const open = (spool: object = {}): Promise<Spool> =>
    openSpool({
      openStorage: openStorageWith({ bundle: undefined, clock }),
      path: file,
      policy: createMqttPolicySchema().parse({ spool: { profile: 'balanced', ...spool } }),
      clock,
      metrics,
      log: silentLog,
      freeBytes: () => 1e12,
    })
  const kept: [number, number][] = []
  for (let i = 0; i < 6; i++) {
    const spool = await open(i === 5 ? { maxDamagedBytes: 1 } : {})
    kept.push([spool.stats.damagedFiles, fs.readdirSync(folder).filter((n) => /damaged-\d+$/.test(n)).length])
    await spool[Symbol.asyncDispose]()
    fs.writeFileSync(file, Buffer.alloc(8_192, 'x'))
    await clock.advance(1_000)
  }
  assert.deepEqual(kept, [
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 3],
    [3, 3],
    [1, 1],
  ])
  assert.equal(metrics.total('mesh_mqtt_spool_damaged_files_removed_total'), 4)
})
