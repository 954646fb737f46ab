/** What of fetched keys is on disk, and what `meshlet status` is told of them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import { KeySets } from '../../../protocols/jwks/key-sets.ts'
import { createKey } from '../../helpers/jwt.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { createMemoryDisk } from './rig.ts'

const DOCUMENT = JSON.stringify({ keys: [createKey('ES256', 'a').jwk] })
const TIMES = { refreshMs: 60_000, retry: { baseMs: 1_000, capMs: 1_000 } }

class Machine {
  readonly clock = new SimClock()
  readonly metrics = new Metrics()
  readonly files = new Map<string, string>()
  readonly modes: number[] = []
  readonly budget = new MemoryBudget({ maxBytes: 1_000_000 })
  readonly sets = this.start()
  start(): KeySets {
    const disk = createMemoryDisk(this.files)
    return new KeySets({
      disk: {
        ...disk,
        replace: (file, content, mode) => {
          this.modes.push(mode)
          disk.replace(file, content, mode)
        },
      },
      clock: this.clock,
      random: seededRandom(3),
      network: systemNetwork,
      log: silentLog,
      metrics: this.metrics,
      budget: this.budget,
      files: undefined,
      folder: '/state',
    })
  }
}

test('keys are kept with their time, by address and way; one that is forgotten is gone', async () => {
  const m = new Machine()
  const set = (way?: string) => ({
    url: 'https://id.test/k',
    ...(way !== undefined && { way }),
    times: TIMES,
    fetch: async () => DOCUMENT,
  })
  const [one, two] = [m.sets.open(set('a')), m.sets.open(set('b'))]
  m.sets.open(set())
  await settle()
  assert.deepEqual(m.modes, [0o600, 0o600, 0o600])
  assert.ok([...m.files.keys()].every((file) => /^\/state\/jwks-[0-9a-f]{16}\.json$/.test(file)))
  const known = { url: 'https://id.test/k', keys: 1, fetchedMs: m.clock.wallMs(), error: undefined }
  assert.deepEqual(m.sets.status(), [known, known, known])
  one[Symbol.dispose]()
  assert.equal(m.sets.status().length, 2)
  assert.equal(m.files.size, 3, 'a set that is closed is kept')
  m.sets.forget(set('a'))
  assert.equal(m.files.size, 2)
  two[Symbol.dispose]()
  assert.equal(m.metrics.total('mesh_jwks_fetches_total', { result: 'fetched' }), 3)
})

test('what an earlier version has kept, the bare document, counts, of unknown age', async () => {
  const m = new Machine()
  const away = { url: 'u', times: TIMES, fetch: () => Promise.reject(new Error('away')) }
  m.sets.open({ ...away, fetch: async () => DOCUMENT })
  await settle()
  const [file] = [...m.files.keys()]
  m.files.set(file!, DOCUMENT)
  const later = m.start().open(away)
  await settle()
  assert.deepEqual([later.current().keys[0]?.id, later.status.fetchedMs], ['a', undefined])
  m.files.set(file!, '{"document":"x","fetchedMs":"soon"}')
  assert.throws(() => m.start().open(away).current(), { code: 'MESH_JWKS_UNAVAILABLE' })
  await settle()
  assert.equal(m.metrics.total('mesh_jwks_fetches_total', { result: 'failed' }), 2)
})

test('keys that are kept count in the memory budget, fetched or read from disk, until nobody has them', async () => {
  const m = new Machine()
  let document = DOCUMENT
  const set = { url: 'u', times: TIMES, fetch: async () => document }
  const first = m.sets.open(set)
  await settle()
  assert.equal(m.budget.heldBytes, DOCUMENT.length)
  document = JSON.stringify({ keys: [createKey('ES256', 'a').jwk, createKey('ES256', 'b').jwk] })
  await m.clock.advance(70_000)
  assert.equal(m.budget.heldBytes, document.length)
  first[Symbol.dispose]()
  assert.equal(m.budget.heldBytes, 0)
  const again = m.sets.open({ ...set, fetch: () => Promise.reject(new Error('away')) })
  assert.equal(m.budget.heldBytes, document.length)
  again[Symbol.dispose]()
  assert.equal(m.budget.heldBytes, 0)
})

test('a document counts in the memory budget from its first byte on', async () => {
  const m = new Machine()
  const whole = Promise.withResolvers<string>()
  const fetch = ({ set }: { set(bytes: number): void }): Promise<string> => {
    set(100)
    return whole.promise
  }
  m.sets.open({ url: 'u', times: TIMES, fetch })
  await settle()
  assert.equal(m.budget.heldBytes, 100)
  whole.resolve(DOCUMENT)
  await settle()
  assert.equal(m.budget.heldBytes, DOCUMENT.length)
})
