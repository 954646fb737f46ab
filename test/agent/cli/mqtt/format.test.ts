import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MessageFormat, type Received } from '../../../../agent/cli/mqtt/format.ts'
import type { OutputOptions } from '../../../../agent/cli/mqtt/options.ts'

const AT_MS = Date.UTC(2026, 10, 29, 19, 7, 5, 42)
const message = (payload: string | Buffer, properties?: object): Received => ({
  topic: 'a/b',
  payload: Buffer.from(payload),
  packet: {
    cmd: 'publish',
    topic: 'a/b',
    payload,
    qos: 1,
    retain: true,
    dup: false,
    messageId: 9,
    ...(properties ? { properties } : {}),
  },
})
const print = (o: Partial<OutputOptions>, m: Received = message('text'), isTerminal = false): string =>
  new MessageFormat({ eol: true, ...o }, isTerminal).format(m, AT_MS).bytes.toString('latin1')

test('payload, topic and payload, and what an empty message is', () => {
  assert.equal(print({}), 'text\n')
  assert.equal(print({ eol: false }), 'text')
  assert.equal(print({ verbose: true }), 'a/b text\n')
  assert.equal(print({}, message('')), '')
  assert.equal(print({ verbose: true }, message('')), 'a/b (null)\n')
  assert.equal(print({}, message(Buffer.of(0, 255))), '\x00\xff\n')
})

for (const [format, expected] of [
  ['%t %q %r %m %l %p %x %X %%', 'a/b 1 1 9 4 text 74657874 74657874 %'],
  ['[%6t][%-6t][%.1t][%05l][%-5l]', '[   a/b][a/b   ][a][00004][4    ]'],
  ['[%-05l]', '[4    ]'],
  ['\\t\\\\\\e\\0|', '\t\\\x1b\x00|'],
  ['@@ @Y @N', '@ 2026 042000000'],
  ['%C|%R|%D|%P|%F|%E|%S', 'text/plain|re|cd|a:1 a:2|1|5|7'],
] as const)
  test(`-F ${format}`, () => {
    const properties = {
      contentType: 'text/plain',
      responseTopic: 're',
      correlationData: Buffer.from('cd'),
      userProperties: { a: ['1', '2'] },
      payloadFormatIndicator: true,
      messageExpiryInterval: 5,
      subscriptionIdentifier: [7, 8],
    }
    assert.equal(print({ format }, message('text', properties)), `${expected}\n`)
  })

test('JSON: text, bytes that are no text, nothing, and a payload that is JSON itself', () => {
  const json = (format: string, payload: string | Buffer): unknown =>
    (JSON.parse(print({ format }, message(payload))) as { payload: unknown }).payload
  assert.equal(json('%j', '"x"\n'), '"x"\n')
  assert.deepEqual(json('%j', Buffer.of(255, 1)), [255, 1])
  assert.equal(json('%j', ''), null)
  assert.deepEqual(json('%J', '{"t": 27.0}'), { t: 27 })
  const { bytes, error } = new MessageFormat({ eol: true, format: '%J' }, false).format(message('text'), AT_MS)
  assert.deepEqual([bytes.toString(), error], ['\n', 'the payload on topic a/b is not valid JSON'])
})

test('what is no format is refused at once', () => {
  for (const format of ['%', 'a%Q', '\\z', '@', '%3'])
    assert.throws(() => new MessageFormat({ eol: true, format }, false), /MESH_CONFIG_INVALID|-F: /, format)
})

test('a message does not command the terminal that shows it, a format may', () => {
  const evil = message('\x1b[2J')
  assert.equal(print({}, evil, true), '\\u001b[2J\n')
  assert.equal(print({ format: '\\e%p' }, evil, true), '\x1b\\u001b[2J\n')
  assert.equal(print({}, evil), '\x1b[2J\n')
})
