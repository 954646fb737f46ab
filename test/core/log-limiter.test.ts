import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createBoundedLog, logCounts } from '../../core/log.ts'
import { LOG_LIMITS, LogLimiter, type Summary } from '../../core/log-limiter.ts'
import { LogOutput } from '../../core/log-output.ts'
import { MeshError } from '../../core/errors.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { Writable } from 'node:stream'

type Rig = {
  readonly clock: SimClock
  readonly limiter: LogLimiter
  readonly told: Summary[]
  written(times: number, fields: (i: number) => Record<string, unknown>, level?: number): number
}
function rig(): Rig {
  const clock = new SimClock()
  const told: Summary[] = []
  const limiter = new LogLimiter({
    clock,
    tell: (summary) => {
      told.push(summary)
    },
  })
  return {
    clock,
    limiter,
    told,
    written(times, fields, level = 40) {
      let count = 0
      for (let i = 0; i < times; i++) if (limiter.decide(level, fields(i)) !== 'leave out') count++
      return count
    },
  }
}
const refused = (peer: string): Record<string, unknown> => ({
  evt: 'connection.refused',
  listener: 'l',
  peer,
  err: new MeshError('MESH_MALFORMED_INPUT', 'x'),
})

test('one client gets ten lines of a kind in ten seconds, whatever port it comes from, and the rest is one line with a count', async () => {
  const r = rig()
  assert.equal(
    r.written(1_000, (i) => refused(`10.0.0.1:${i}`)),
    10,
  )
  assert.equal(
    r.written(1, () => refused('10.0.0.2:1')),
    1,
    'another is heard',
  )
  assert.equal(
    r.written(1, () => ({ evt: 'mqtt.publish.denied', clientId: 'x' })),
    1,
    'and another kind',
  )
  await r.clock.advance(10_000)
  assert.deepEqual(r.told, [{ evt: 'connection.refused', code: 'MESH_MALFORMED_INPUT', lines: 990, forMs: 10_000 }])
  assert.equal(
    r.written(20, () => refused('10.0.0.1:1')),
    10,
  )
  assert.equal(r.limiter.leftOut, 1_000)
})

test('many clients get fifty lines of a kind together; addresses of one IPv6 network are one', () => {
  const r = rig()
  assert.equal(
    r.written(10_000, (i) => refused(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:1`)),
    LOG_LIMITS.perKind,
  )
  const other = rig()
  assert.equal(
    other.written(100, (i) => refused(`2001:db8:1:2:${i.toString(16)}::1:77`)),
    10,
  )
  for (const peer of [(i: number) => `2001:db8::${i}:1:77`, (i: number) => `[2001:db8::${i}]:77`])
    assert.equal(
      rig().written(100, (i) => refused(peer(i))),
      10,
    )
  const named = rig()
  assert.equal(
    named.written(5_000, (i) => ({ evt: 'mqtt.publish.denied', clientId: `made-up-${i}` })),
    LOG_LIMITS.perKind,
  )
})

test('what the hub says of a caller is about the caller: one that is refused hides no other', () => {
  const r = rig()
  const unknown = (ip: string): Record<string, unknown> => ({
    evt: 'hub.stream-refused',
    ip,
    err: new MeshError('MESH_TOKEN_INVALID', 'x'),
  })
  assert.equal(
    r.written(1_000, () => unknown('10.0.0.1')),
    10,
  )
  assert.equal(
    r.written(10, () => unknown('10.0.0.2')),
    10,
  )
  assert.equal(
    r.written(100, (i) => unknown(`2001:db8::${i}`)),
    10,
  )
})

test('what is remembered is bounded', () => {
  const r = rig()
  for (let i = 0; i < 20_000; i++) r.limiter.decide(40, refused(`${i}:1`))
  for (let i = 0; i < 20_000; i++)
    r.limiter.decide(40, { evt: 'listener.failed', listener: `l${i}`, err: new MeshError('MESH_PORT_IN_USE', 'x') })
  for (let i = 0; i < 20_000; i++) r.limiter.decide(40, { evt: `kind-${i}`, peer: 'p:1' })
  assert.equal(
    r.written(1, () => ({ evt: 'new', peer: 'p:1' })),
    1,
  )
})

test('what was left out, and the last words are always written', () => {
  const r = rig()
  assert.equal(
    r.written(100, () => ({ evt: 'log.left-out', peer: 'p:1' }), 30),
    100,
  )
  assert.equal(
    r.written(100, () => ({ evt: 'agent.dies', err: new Error('x') }), 60),
    100,
  )
})

test('a failure of our own that goes on is told with growing pauses, each time with how often it was left out', async () => {
  const r = rig()
  const toldAtSec: number[] = []
  let repeated = 0
  for (let sec = 0; sec < 7_200; sec++) {
    const verdict = r.limiter.decide(40, {
      evt: 'listener.failed',
      listener: 'one',
      err: new MeshError('MESH_PORT_IN_USE', 'x'),
    })
    if (verdict !== 'leave out') toldAtSec.push(sec)
    if (typeof verdict === 'object') repeated += verdict.repeated
    await r.clock.advance(1_000)
  }
  assert.deepEqual(toldAtSec.slice(0, 10), [0, 1, 2, 12, 32, 72, 152, 312, 632, 1_232])
  assert.ok(toldAtSec.length < 25)
  assert.equal(repeated + toldAtSec.length + 599 >= 7_200, true, 'nothing is lost from the count')
  assert.equal(
    r.written(1, () => ({ evt: 'listener.failed', listener: 'two', err: new MeshError('MESH_PORT_IN_USE', 'x') })),
    1,
    'another port is another thing',
  )
  await r.clock.advance(1_200_000)
  assert.equal(
    r.written(3, () => ({ evt: 'listener.failed', listener: 'one', err: new MeshError('MESH_PORT_IN_USE', 'x') })),
    3,
    'after a long peace it is news',
  )
})

test('a thousand refused resources of a push are a thousand things', () => {
  const r = rig()
  assert.equal(
    r.written(1_000, (i) => ({
      evt: 'config.rejected',
      code: 'MESH_CONFIG_REJECTED',
      kind: 'listener',
      name: `l${i}`,
    })),
    1_000,
  )
})

test('what a child is bound to tells things apart: two bridges that are down are two', async () => {
  const clock = new SimClock()
  const evts: string[] = []
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => {
      evts.push(String((JSON.parse(line) as Record<string, unknown>)['cluster']))
      done()
    },
  })
  const log = createBoundedLog('info', new LogOutput(stream, { isJournal: false }), clock)
  for (let i = 0; i < 100; i++) {
    for (const cluster of ['one', 'two'])
      log
        .child({ cluster, clientId: `edge/${cluster}` })
        .warn({ evt: 'mqtt.bridge.down', waitMs: i, err: new MeshError('MESH_CONNECT_FAILED', 'x') }, 'no connection')
    await clock.advance(1_000)
  }
  assert.deepEqual(evts.toSorted(), [
    ...Array.from({ length: 6 }, () => 'one'),
    ...Array.from({ length: 6 }, () => 'two'),
  ])
})

test('what a client made up is cut: a topic of 64 kB is no line of 64 kB', () => {
  let written = ''
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => {
      written += line
      done()
    },
  })
  const log = createBoundedLog('info', new LogOutput(stream, { isJournal: false }), new SimClock())
  log.warn(
    {
      evt: 'mqtt.publish.denied',
      clientId: 'c',
      topic: 't'.repeat(65_000),
      err: new MeshError('MESH_MQTT_NOT_AUTHORIZED', 'm'.repeat(65_000), { cause: new Error('w'.repeat(65_000)) }),
    },
    'no',
  )
  const line = JSON.parse(written) as { topic: string; clientId: string; err: { message: string } }
  assert.deepEqual([line.clientId, line.topic.length, line.err.message.length], ['c', 513, 2_049])
  assert.ok(written.length < 6_000, `${written.length}`)
})

test('the log itself: lines of children count, what is left out is told and counted', async () => {
  const clock = new SimClock()
  const written: string[] = []
  const stream = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => {
      written.push(line)
      done()
    },
  })
  const log = createBoundedLog('info', new LogOutput(stream, { isJournal: false }), clock)
  for (let i = 0; i < 30; i++) log.child({ bound: i }).warn(refused('10.0.0.1:5'), 'refused')
  for (let i = 0; i < 5; i++) log.error({ evt: 'spool.commit', code: 'MESH_STORAGE_FULL' }, 'no')
  await clock.advance(10_000)
  log.error({ evt: 'spool.commit', code: 'MESH_STORAGE_FULL' }, 'no')
  const lines = written.map((l) => JSON.parse(l) as Record<string, unknown>)
  assert.equal(lines.filter((l) => l['evt'] === 'connection.refused').length, 10)
  assert.deepEqual(
    lines.filter((l) => l['evt'] === 'log.left-out').map((l) => [l['of'], l['code'], l['lines'], l['level']]),
    [['connection.refused', 'MESH_MALFORMED_INPUT', 20, 'warn']],
  )
  assert.deepEqual(
    lines.filter((l) => l['evt'] === 'spool.commit').map((l) => l['repeated']),
    [undefined, undefined, undefined, 2],
  )
  assert.deepEqual(logCounts(log), { leftOut: 22, dropped: 0 })
})
