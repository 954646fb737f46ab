import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { MeshError } from '../../core/errors.ts'
import { createBoundedLog, createLog, logCounts, silentLog, type Log } from '../../core/log.ts'
import { LogOutput } from '../../core/log-output.ts'
import { SimClock } from '../helpers/sim-clock.ts'

type Line = Record<string, unknown>
function rig(level = 'info'): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = []
  return { log: createLog(level, { write: (text: string) => void lines.push(JSON.parse(text) as Line) }), lines }
}
function bounded(level = 'info') {
  const lines: Line[] = []
  const stream = new Writable({
    decodeStrings: false,
    write: (text: string, _encoding, done) => {
      lines.push(JSON.parse(text) as Line)
      done()
    },
  })
  const clock = new SimClock()
  return { log: createBoundedLog(level, new LogOutput(stream, { isJournal: false }), clock), lines, clock }
}
const errorOf = (log: { readonly log: Log; readonly lines: Line[] }, err: unknown): Line => {
  log.log.warn({ evt: 'x', err }, 'y')
  return log.lines.at(-1)!['err'] as Line
}

test('a line is an event with its level in words, a time, its fields and a message', () => {
  const { log, lines } = rig()
  log.child({ listener: 'l' }).warn({ evt: 'a.b', ms: 5 }, 'what happened')
  const [{ time, ...line }] = lines as [Line]
  assert.deepEqual(line, { level: 'warn', listener: 'l', evt: 'a.b', ms: 5, msg: 'what happened' })
  assert.equal(new Date(String(time)).toISOString(), time)
})

test('what is below the level is not written; a level that is set later counts', () => {
  const { log, lines } = rig('warn')
  log.info({ evt: 'a' }, 'x')
  log.level = 'debug'
  log.debug({ evt: 'b' }, 'x')
  assert.deepEqual(
    lines.map((l) => l['evt']),
    ['b'],
  )
  assert.equal(silentLog.level, 'silent')
})

test('secrets are not written, neither by themselves nor within another field', () => {
  const { log, lines } = rig()
  const secrets = { authorization: 's3', password: 's3', token: 's3', key: 's3', keyPem: 's3' }
  log.info({ evt: 'a', ...secrets, inner: secrets }, 'x')
  assert.doesNotMatch(JSON.stringify(lines), /s3/)
  assert.equal(lines[0]!['token'], '[redacted]')
})

test('an error of ours is told with code and cause, without a stack; one that nobody foresaw has it', () => {
  const r = rig()
  const cause = new Error('ECONNREFUSED')
  assert.deepEqual(errorOf(r, new MeshError('MESH_CONNECT_FAILED', 'no way', { cause })), {
    message: 'no way',
    code: 'MESH_CONNECT_FAILED',
    cause: 'ECONNREFUSED',
  })
  assert.deepEqual(errorOf(r, new MeshError('MESH_DRAINING', 'x', { cause: { n: 1 } }))['cause'], '{"n":1}')
  for (const err of [new MeshError('MESH_INTERNAL', 'x'), new TypeError('x')])
    assert.match(String(errorOf(r, err)['stack']), /log\.test\.ts/)
  assert.equal(errorOf(r, 'a text'), 'a text')
})

test('what a peer can make long is cut: a message of an error and of its cause', () => {
  const made = errorOf(
    rig(),
    new MeshError('MESH_DRAINING', 'm'.repeat(3_000), { cause: new Error('c'.repeat(3_000)) }),
  )
  assert.deepEqual([String(made['message']).length, String(made['cause']).length], [2_049, 2_049])
  assert.ok(String(made['message']).endsWith('m…'))
})

test('texts of a bounded log are cut, its own object is left as it is, and access logs are written whole', () => {
  const { log, lines } = bounded()
  const fields = { evt: 'a', topic: 't'.repeat(600), exact: 'e'.repeat(512) }
  log.info(fields, 'x')
  assert.equal(lines[0]!['topic'], `${'t'.repeat(512)}…`)
  assert.equal(lines[0]!['exact'], fields.exact)
  assert.equal(fields.topic.length, 600)
})

test('lines that are left out are counted, and told once the window is over', async () => {
  const { log, lines, clock } = bounded()
  for (let i = 0; i < 30; i++) log.warn({ evt: 'connection.refused', peer: '10.0.0.1:1' }, 'x')
  assert.deepEqual([lines.length, logCounts(log)], [10, { leftOut: 20, dropped: 0 }])
  await clock.advance(10_000)
  const { evt, of, lines: count } = lines.at(-1)!
  assert.deepEqual([evt, of, count], ['log.left-out', 'connection.refused', 20])
})

test('a child is known by the fields that it was made with: two of them do not share a bound', () => {
  const { log, lines } = bounded()
  for (const peer of ['10.0.0.1:1', '10.0.0.2:1']) {
    const child = log.child({ peer })
    for (let i = 0; i < 15; i++) child.warn({ evt: 'connection.refused' }, 'x')
  }
  assert.equal(lines.length, 20)
})

test('debug was asked for, and is not bounded; at the end everything is told', () => {
  const { log, lines } = bounded('debug')
  for (let i = 0; i < 100; i++) log.debug({ evt: 'a', peer: '10.0.0.1:1' }, 'x')
  assert.equal(lines.length, 100)
  for (let i = 0; i < 11; i++) log.warn({ evt: 'b', peer: '10.0.0.1:1' }, 'x')
  log.flushLimits()
  assert.equal(lines.at(-1)!['evt'], 'log.left-out')
})

test('a log that nobody bounds counts nothing', () => {
  assert.deepEqual(logCounts(rig().log), { leftOut: 0, dropped: 0 })
})
