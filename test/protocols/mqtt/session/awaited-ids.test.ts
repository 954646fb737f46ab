import { test } from 'node:test'
import assert from 'node:assert/strict'
import { type Awaits, AwaitedIds } from '../../../../protocols/mqtt/session/awaited-ids.ts'
import { seededRandom } from '../../../helpers/random.ts'

test('ids come in order, from 1 to 65,535 and again from 1, past those in use', () => {
  const ids = new AwaitedIds()
  assert.deepEqual([ids.claim('puback'), ids.claim('pubrec'), ids.claim('puback')], [1, 2, 3])
  assert.deepEqual(
    [ids.release(2, 'puback'), ids.release(2, 'pubrec'), ids.release(2, 'pubrec'), ids.size],
    [false, true, false, 2],
  )
  for (let id = 4; id <= 65_535; id++) {
    const next = ids.claim('puback')
    assert.ok(ids.release(next, 'puback'))
  }
  const again = ids.claim('puback')
  assert.ok(again > 3 && ids.get(1) === 'puback' && ids.get(3) === 'puback', 'those in use are passed over')
})

test('half of all ids may be in use, each once', () => {
  const ids = new AwaitedIds()
  const used = new Set<number>()
  for (let i = 0; i < 32_767; i++) used.add(ids.claim('pubrec'))
  assert.deepEqual([used.size, ids.size, used.has(0)], [32_767, 32_767, false])
  for (const id of used) assert.ok(ids.release(id, 'pubrec'))
  assert.equal(ids.size, 0)
})

test('it says what a Map says, whatever is claimed, changed and released', () => {
  const random = seededRandom(11)
  const ids = new AwaitedIds()
  const known = new Map<number, Awaits>()
  const pick = (): number => [...known.keys()][Math.floor(random.float() * known.size)] ?? 1
  for (let step = 0; step < 20_000; step++) {
    const chance = random.float()
    if (chance < 0.45 && known.size < 300) {
      const awaits = chance < 0.2 ? 'puback' : 'pubrec'
      const id = ids.claim(awaits)
      assert.ok(!known.has(id) && id >= 1 && id <= 65_535)
      known.set(id, awaits)
    } else if (chance < 0.5 && known.has(pick())) {
      const id = pick()
      ids.set(id, 'pubcomp')
      known.set(id, 'pubcomp')
    } else {
      const id = chance < 0.6 ? Math.floor(random.float() * 70_000) : pick()
      const awaits = known.get(id)
      assert.equal(ids.get(id), awaits)
      assert.equal(ids.release(id, awaits ?? 'puback'), awaits !== undefined)
      known.delete(id)
    }
    assert.equal(ids.size, known.size)
  }
})

test('ids that are given stand beside each other wherever they collide, each with its number', () => {
  const random = seededRandom(12)
  const ids = new AwaitedIds()
  const known = new Map<number, { readonly seq: number; readonly awaits: Awaits }>()
  const pick = (): number => [...known.keys()][Math.floor(random.float() * known.size)] ?? 1
  for (let step = 0; step < 20_000; step++) {
    // Of few homes, so that most are displaced; a table that is emptied has none.
    const some = 1 + Math.floor(random.float() * 6) + 512 * Math.floor(random.float() * 40)
    if (step % 5_000 === 4_999) {
      ids.clear()
      known.clear()
    } else if (random.float() < 0.5 && known.size < 100) {
      if (known.has(some)) continue
      const entry = { seq: step * 65_535, awaits: random.float() < 0.5 ? 'puback' : 'pubrec' } as const
      ids.add(some, entry.seq, entry.awaits)
      known.set(some, entry)
    } else {
      const id = random.float() < 0.2 ? some : pick()
      const entry = known.get(id)
      assert.deepEqual([ids.has(id), ids.get(id)], [entry !== undefined, entry?.awaits])
      if (entry) assert.equal(ids.seqOf(id), entry.seq)
      assert.equal(ids.release(id, entry?.awaits ?? 'puback'), entry !== undefined)
      known.delete(id)
    }
    assert.equal(ids.size, known.size)
    for (const [id, { seq, awaits }] of known) assert.deepEqual([ids.get(id), ids.seqOf(id)], [awaits, seq])
  }
})
