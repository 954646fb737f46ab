import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { createBoundedLog, logCounts } from '../../core/log.ts'
import { asError, isJournal, LogOutput } from '../../core/log-output.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'

/** A reader that takes a line when it is told to. */
function reader(): { stream: Writable; lines: string[]; go(): void } {
  const lines: string[] = []
  let waiting: (() => void) | undefined
  let goes = false
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      lines.push(chunk)
      if (goes) done()
      else waiting = done
    },
  })
  return {
    stream,
    lines,
    go: () => {
      goes = true
      waiting?.()
    },
  }
}

test('a reader that stalls costs lines and no memory; when it reads again it is told how many', async () => {
  const { stream, lines, go } = reader()
  const log = createBoundedLog('info', new LogOutput(stream, { isJournal: false, maxBytes: 100_000 }), new SimClock())
  for (let i = 0; i < 5_000; i++) log.info({ evt: 'log.left-out', path: 'x'.repeat(100) }, 'request')
  assert.ok(stream.writableLength <= 100_000)
  const { dropped } = logCounts(log)
  assert.ok(dropped > 4_300, `${dropped}`)
  go()
  await settle()
  const told = lines.map((l) => JSON.parse(l) as Record<string, unknown>).filter((l) => l['evt'] === 'log.dropped')
  assert.deepEqual(
    told.map((l) => l['lines']),
    [dropped],
  )
  log.info({ evt: 'log.left-out' }, 'request')
  await settle()
  assert.equal(lines.length, 5_000 - dropped + 2)
})

test('a line of an access log goes as it is, in the journal with a priority, and is told as lost without room', async () => {
  for (const isJournal of [false, true]) {
    const { stream, lines, go } = reader()
    const output = new LogOutput(stream, { isJournal, maxBytes: 100 })
    assert.equal(output.writeLine(Buffer.from('GET / 200\n')), true)
    assert.equal(output.writeLine(Buffer.alloc(101)), false)
    go()
    await settle()
    assert.deepEqual(lines.map(String), [`${isJournal ? '<6>' : ''}GET / 200\n`])
  }
})

test('lines for a stream that broke or ended are counted, not thrown', () => {
  const { stream } = reader()
  stream.on('error', () => {})
  const output = new LogOutput(stream, { isJournal: false })
  stream.destroy(new Error('EPIPE'))
  output.write('x\n')
  assert.deepEqual([output.dropped, output.isPending], [1, false])
})

test('a file on a full disk costs the line and nothing else', () => {
  const stream = new Writable({
    write: () => {
      throw new Error('ENOSPC')
    },
  })
  const output = new LogOutput(stream, { isJournal: false })
  output.write('x\n')
  assert.equal(output.dropped, 1)
})

test('journald gets a priority in front of each line (sd-daemon(3)), nobody else does', () => {
  for (const journal of [true, false]) {
    const lines: string[] = []
    const stream = new Writable({
      decodeStrings: false,
      write: (chunk: string, _encoding, done) => {
        lines.push(chunk)
        done()
      },
    })
    const log = createBoundedLog('trace', new LogOutput(stream, { isJournal: journal }), new SimClock())
    for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const) log[level]({ evt: level }, 'x')
    assert.deepEqual(
      lines.map((l) => l.slice(0, l.indexOf('{'))),
      journal ? ['<2>', '<3>', '<4>', '<6>', '<7>', '<7>'] : ['', '', '', '', '', ''],
    )
  }
})

test('what is told on standard error is an error, line by line', () =>
  assert.equal(asError('MESH_X: no.\n\nDo this.\n'), '<3>MESH_X: no.\n\n<3>Do this.\n'))

test('JOURNAL_STREAM counts only when it is this very file', () => {
  assert.deepEqual(
    [
      isJournal('8:123', { dev: 8, ino: 123 }),
      isJournal('8:124', { dev: 8, ino: 123 }),
      isJournal(undefined, { dev: 8, ino: 123 }),
      isJournal('', { dev: 8, ino: 123 }),
    ],
    [true, false, false, false],
  )
})
