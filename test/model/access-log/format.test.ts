import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DEFAULT_FORMAT } from '../../../model/access-log/access-log.ts'
import {
  formatLine,
  formatLogLine,
  parseFormat,
  type FormatPart,
  type LogFormat,
} from '../../../model/access-log/format.ts'
import { OPERATOR_NAMES } from '../../../model/access-log/operators.ts'
import { factsOf } from '../access-log-facts.ts'

const partsOf = (text: string): readonly FormatPart[] => {
  const parts = parseFormat(text)
  return 'unknown' in parts ? assert.fail(parts.unknown) : parts
}
const facts = factsOf({ fields: { ':path': '/p', 'x-a': 'value', 'x-b': '"\u00c3\u00a9', 'x-c': '\u00e9\\' } })

for (const [text, want, omitted = want] of [
  ['', ''],
  ['plain\n', 'plain\n'],
  ['100%%', '100%'],
  ['%REQ(x-a)%|%REQ(none)%', 'value|-', 'value|'],
  ['%REQ(x-a):3% %REQ(x-a):99%', 'val value'],
  ['%RESPONSE_CODE:1%', '200'],
  ['é %REQ(x-b)%', '\u00c3\u00a9 "\u00c3\u00a9'],
  ['%DYNAMIC_METADATA(f)%', '-', ''],
] as const)
  test(`text: ${JSON.stringify(text)}`, () => {
    const parts = partsOf(text)
    assert.equal(formatLine({ kind: 'text', parts, omitEmpty: false }, facts), want)
    assert.equal(formatLine({ kind: 'text', parts, omitEmpty: true }, facts), omitted)
  })

for (const [text, unknown] of [
  ['a %NO_SUCH% b', '%NO_SUCH%'],
  ['%REQ(a?b?c)%', '%REQ(a?b?c)%'],
  ['50% of', '% of'],
  ['%REQ(a)', '%REQ(a)'],
  ['a % %RESPONSE_CODE%', '% '],
] as const)
  test(`what is no operator is named: ${text}`, () => {
    assert.deepEqual(parseFormat(text), { unknown })
  })

/** As a token, a certificate, a TLV of a PROXY header or a name of the configuration may say it. */
const EVIL = 'a\r\n[2026-01-01] "GET /forged" \x1b[2J\0\x7f'
const PEER = { spiffeId: undefined, uriSans: [EVIL], dnsSans: [EVIL], subject: EVIL, sha256: EVIL, notAfterMs: 0 }
const EVIL_FACTS = factsOf({
  request: () => EVIL,
  response: () => EVIL,
  trailer: () => EVIL,
  protocol: EVIL,
  upstreamProtocol: EVIL,
  localReplyBody: EVIL,
  codeDetails: EVIL,
  terminationDetails: EVIL,
  flags: [EVIL],
  metadata: { f: { k: EVIL, o: { [EVIL]: EVIL } } },
  routeName: EVIL,
  filterChain: EVIL,
  cluster: EVIL,
  upstream: { host: EVIL, port: 1 },
  upstreamName: EVIL,
  upstreamLocal: { host: EVIL, port: 1 },
  upstreamPeer: PEER,
  upstreamFailure: EVIL,
  upstreamOwnUri: EVIL,
  remote: { host: EVIL, port: 1 },
  client: { host: EVIL, port: 1 },
  local: { host: EVIL, port: 1 },
  serverName: EVIL,
  tlsVersion: EVIL,
  peer: PEER,
  ownUri: EVIL,
  traceId: EVIL,
  spanId: EVIL,
})
const ARGUMENTS: Readonly<Record<string, string>> = {
  START_TIME: '%s',
  EMIT_TIME: '%s',
  COMMON_DURATION: 'DS_RX_BEG:DS_TX_END',
  GRPC_STATUS: 'NUMBER',
  DYNAMIC_METADATA: 'f:k',
  PATH: 'NQ:ORIG',
}
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const findControls = (line: string): string => line.replaceAll(/[^\0-\x1f\x7f]/g, '')
const OPERATORS = [
  ...OPERATOR_NAMES.plain,
  ...OPERATOR_NAMES.withArgument.map((name) => `${name}(${ARGUMENTS[name] ?? 'x'})`),
  'DYNAMIC_METADATA(f)',
]
for (const operator of OPERATORS)
  test(`whatever a peer says is one line of the log: ${operator}`, () => {
    const parts = partsOf(`%${operator}%|\n`)
    const line = formatLogLine({ kind: 'text', parts, omitEmpty: false }, EVIL_FACTS)
    assert.deepEqual([line.slice(-2), findControls(line.slice(0, -1))], ['|\n', ''])
    const inJson = { kind: 'json', omitEmpty: false, value: { kind: 'text', parts } } as const
    // DEL stands as it is in JSON (RFC 8259 §7).
    assert.deepEqual(findControls(formatLogLine(inJson, EVIL_FACTS).replaceAll('\x7f', '')), '\n')
  })
test('line breaks of the format itself stay', () => {
  const parts = partsOf('%REQ(x)%\t\n%REQ(x-a)%\n')
  const odd = factsOf({ fields: { x: 'a\n', 'x-a': 'b\tc' } })
  assert.equal(formatLogLine({ kind: 'text', parts, omitEmpty: false }, odd), 'a\\n\t\nb\tc\n')
})

const json = (omitEmpty: boolean): LogFormat => ({
  kind: 'json',
  omitEmpty,
  value: {
    kind: 'struct',
    fields: [
      ['code', { kind: 'text', parts: partsOf('%RESPONSE_CODE%') }],
      ['none', { kind: 'text', parts: partsOf('%REQ(none)%') }],
      ['text', { kind: 'text', parts: partsOf('%RESPONSE_CODE% %REQ(none)%') }],
      ['utf8', { kind: 'text', parts: partsOf('%REQ(x-b)%') }],
      ['bytes', { kind: 'text', parts: partsOf('%REQ(x-c)%') }],
      ['literal', { kind: 'literal', value: null }],
      [
        'list',
        {
          kind: 'list',
          items: [
            { kind: 'literal', value: 1 },
            { kind: 'text', parts: partsOf('%REQ(none)%') },
          ],
        },
      ],
      ['within', { kind: 'struct', fields: [['é', { kind: 'text', parts: partsOf('%REQ(none)%') }]] }],
    ],
  },
})
test('JSON keeps types, and bytes that are no text are told one by one, as in Envoy', () => {
  const [whole, omitted] = [false, true].map((omitEmpty) =>
    Buffer.from(formatLine(json(omitEmpty), facts), 'latin1').toString(),
  )
  assert.equal(
    whole,
    '{"code":200,"none":null,"text":"200 -","utf8":"\\"é","bytes":"\\u00e9\\u005c","literal":null,"list":[1,null],"within":{"é":null}}\n',
  )
  assert.equal(omitted, '{"code":200,"text":"200 ","utf8":"\\"é","bytes":"\\u00e9\\u005c","literal":null,"list":[1]}\n')
})
test("Envoy's default", () => {
  assert.equal(
    formatLine(
      DEFAULT_FORMAT,
      factsOf({ fields: { ':method': 'GET', ':path': '/p' }, times: { DS_RX_BEG: 0, DS_TX_END: 1 } }),
    ),
    '[2026-01-02T03:04:05.006Z] "GET /p HTTP/1.1" 200 - 0 0 1 - "-" "-" "-" "-" "-"\n',
  )
})
