import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { createSecretPrompt } from '../../../core/os/secret-prompt.ts'

class Terminal extends EventEmitter {
  isTTY = true
  isRaw = false
  shown = ''
  setRawMode(on: boolean): this {
    this.isRaw = on
    return this
  }
  resume(): this {
    return this
  }
  pause(): this {
    return this
  }
  ask(): Promise<string> {
    return createSecretPrompt(this as never, { write: (text) => (this.shown += text) })!('Password: ')
  }
}

test('what is typed is not shown; keys that take back work; the terminal is as before', async () => {
  for (const [typed, answer] of [
    ['secret\r', 'secret'],
    ['sec\x7f\x7fret\n', 'sret'],
    ['\x7fwrong\x15right\x04', 'right'],
    ['pä😀\x7f\r', 'pä'],
  ] as const) {
    const terminal = new Terminal()
    const answered = terminal.ask()
    assert.equal(terminal.isRaw, true)
    for (const part of typed) terminal.emit('data', Buffer.from(part))
    assert.equal(await answered, answer)
    assert.deepEqual([terminal.shown, terminal.isRaw, terminal.listenerCount('data')], ['Password: \n', false, 0])
  }
})

test('Ctrl-C breaks it off, and without a terminal nothing is asked', async () => {
  const terminal = new Terminal()
  const answered = terminal.ask()
  terminal.emit('data', Buffer.from('sec\x03'))
  await assert.rejects(answered, /broken off/)
  assert.equal(terminal.isRaw, false)
  assert.equal(createSecretPrompt({ isTTY: false } as never, { write: () => {} }), undefined)
})
