import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { FetchedKeys } from '../../../protocols/jwks/fetched-keys.ts'
import type { StoredKeys } from '../../../protocols/jwks/key-store.ts'
import { createKey } from '../../helpers/jwt.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

const [OLD, NEW] = [createKey('ES256', 'old'), createKey('ES256', 'new')].map(({ jwk }) =>
  JSON.stringify({ keys: [jwk] }),
) as [string, string]

class Rig {
  readonly clock = new SimClock()
  answer: string | Error = OLD
  fetches = 0
  kept: StoredKeys | undefined
  writes = 0
  refreshMs = 3_600_000
  fetched: boolean[] = []
  ends = 0
  isReadOnly = false
  get stored(): string | undefined {
    return this.kept?.text
  }
  open(): FetchedKeys {
    return new FetchedKeys({
      url: 'https://id.example/keys',
      fetch: async () => {
        this.fetches++
        await settle()
        if (this.answer instanceof Error) throw this.answer
        return this.answer
      },
      store: {
        read: () => this.kept,
        write: (keys) => {
          if (this.isReadOnly) throw new Error('EROFS')
          this.kept = keys
          this.writes++
        },
        remove: () => assert.fail('nobody forgets it'),
      },
      times: { refreshMs: this.refreshMs, retry: { baseMs: 5_000, capMs: 300_000 } },
      onFetched: (ok) => void this.fetched.push(ok),
      onEnd: () => this.ends++,
      clock: this.clock,
      random: seededRandom(5),
      log: silentLog,
    })
  }
}
const ids = (keys: FetchedKeys): (string | undefined)[] => keys.current().keys.map(({ id }) => id)

test('keys are fetched at the start and kept on disk; a start without a link has them', async () => {
  const rig = new Rig()
  const keys = rig.open()
  assert.throws(() => keys.current(), { code: 'MESH_JWKS_UNAVAILABLE' })
  await settle()
  await settle()
  assert.deepEqual([ids(keys), keys.problems()], [['old'], []])
  rig.answer = new Error('ENETUNREACH')
  const later = rig.open()
  assert.deepEqual(ids(later), ['old'])
  await settle()
  await settle()
  assert.deepEqual(later.problems(), [])
})

test('without a link and without stored keys it is told, and tried with growing waits until it works', async () => {
  const rig = new Rig()
  rig.answer = new Error('ENETUNREACH')
  const keys = rig.open()
  await settle()
  await settle()
  assert.match(keys.problems()[0]?.message ?? '', /the keys of https:\/\/id\.example\/keys: ENETUNREACH/)
  await rig.clock.advance(3_600_000)
  assert.ok(rig.fetches > 10 && rig.fetches < 200, `${rig.fetches} tries in an hour`)
  rig.answer = OLD
  await rig.clock.advance(310_000)
  assert.deepEqual([ids(keys), keys.problems()], [['old'], []])
})

test('they are looked for every hour, and once in half a minute for a token of a key that is not there', async () => {
  const rig = new Rig()
  const keys = rig.open()
  await settle()
  await settle()
  rig.answer = NEW
  assert.equal(await keys.lookAgain(), false)
  assert.equal(rig.fetches, 1)
  await rig.clock.advance(30_000)
  assert.deepEqual(await Promise.all([keys.lookAgain(), keys.lookAgain()]), [true, true])
  assert.deepEqual([rig.fetches, ids(keys), rig.stored], [2, ['new'], NEW])
  assert.equal(await keys.lookAgain(), false)
  rig.answer = OLD
  await rig.clock.advance(4_000_000)
  assert.deepEqual(ids(keys), ['old'])
  keys[Symbol.dispose]()
  const { fetches } = rig
  await rig.clock.advance(10_000_000)
  assert.equal(rig.fetches, fetches)
})

test('a document that is no set of keys changes nothing, one that cannot be stored counts, a damaged store is no keys', async () => {
  const rig = new Rig()
  const keys = rig.open()
  await settle()
  await settle()
  for (const odd of ['<html>', '{"keys":[]}', '']) {
    rig.answer = odd
    await rig.clock.advance(4_000_000)
    assert.deepEqual([ids(keys), rig.stored], [['old'], OLD])
  }
  rig.isReadOnly = true
  rig.answer = NEW
  await rig.clock.advance(4_000_000)
  assert.deepEqual([ids(keys), rig.stored], [['new'], OLD])
  rig.kept = { text: 'damaged', fetchedMs: 1 }
  const damaged = rig.open()
  assert.throws(() => damaged.current())
})

test('their age is that of the last fetch, also of one that brought the same, and over a start without a link', async () => {
  const rig = new Rig()
  rig.refreshMs = 600_000
  const keys = rig.open()
  assert.deepEqual(keys.status, { url: 'https://id.example/keys', keys: 0, fetchedMs: undefined, error: undefined })
  await settle()
  await settle()
  const { fetchedMs } = keys.status
  assert.deepEqual([fetchedMs, rig.writes], [rig.clock.wallMs(), 1])
  await rig.clock.advance(8_000_000)
  assert.ok(keys.status.fetchedMs! > fetchedMs! + 3_000_000)
  assert.ok(rig.fetches > 10, `${rig.fetches}`)
  assert.ok(rig.writes <= 3, 'the disk is written once an hour at most')
  keys[Symbol.dispose]()
  rig.answer = new Error('ENETUNREACH')
  const later = rig.open()
  await settle()
  await settle()
  const { error, ...rest } = later.status
  assert.deepEqual(rest, { url: 'https://id.example/keys', keys: 1, fetchedMs: rig.kept?.fetchedMs })
  assert.match(error ?? '', /ENETUNREACH/)
})

test('where there are none, whoever needs them makes us ask, once a second', async () => {
  const rig = new Rig()
  rig.answer = new Error('ENETUNREACH')
  const keys = rig.open()
  assert.equal(await keys.lookAgain(), false)
  assert.equal(rig.fetches, 1, 'the fetch under way is waited for')
  rig.answer = OLD
  assert.equal(await keys.lookAgain(), false)
  await rig.clock.advance(1_000)
  assert.equal(await keys.lookAgain(), true)
  assert.deepEqual([rig.fetches, ids(keys), rig.fetched], [2, ['old'], [false, true]])
})

test('what comes when nobody names them any more is neither used nor stored', async () => {
  const rig = new Rig()
  const keys = rig.open()
  keys[Symbol.dispose]()
  keys[Symbol.dispose]()
  await settle()
  await settle()
  assert.deepEqual([rig.writes, rig.fetched, rig.ends, rig.clock.pendingTimers], [0, [], 1, 0])
  assert.equal(await keys.lookAgain(), false)
  assert.equal(rig.fetches, 1)
})
