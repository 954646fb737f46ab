import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DEFAULT_FORMAT } from '../../../model/access-log/access-log.ts'
import { formatLine, parseFormat, type FormatPart, type LogFormat } from '../../../model/access-log/format.ts'
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
