import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import { FetchedKeys } from '../../../protocols/jwks/fetched-keys.ts'
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
  stored: string | undefined
  isReadOnly = false
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
        read: () => this.stored,
        write: (text) => {
          if (this.isReadOnly) throw new Error('EROFS')
          this.stored = text
        },
      },
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
  rig.stored = 'damaged'
  const damaged = rig.open()
  assert.throws(() => damaged.current())
})
