/** RFC 9113 §8.1 to §8.3, §8.5 and RFC 8441 §4, row by row. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  readDeclaredLength,
  findEmptyBodyProblem,
  findLengthProblem,
  readMethod,
  findRequestProblem,
  findResponseProblem,
  findTrailersProblem,
} from '../../../../protocols/http/codec/h2-message-rules.ts'

const list = (text: string): string[] =>
  text === ''
    ? []
    : text.split(' | ').flatMap((field) => {
        const at = field.indexOf('=', 1)
        return [field.slice(0, at), field.slice(at + 1)]
      })
const GET = ':method=GET | :scheme=https | :authority=a.test | :path=/'

/** [fields, what the problem says; undefined = none] */
const REQUESTS: readonly (readonly [fields: string, problem: RegExp | undefined])[] = [
  [GET, undefined],
  [':path=/ | :authority=a.test | :scheme=https | :method=GET', undefined],
  [':method=GET | :scheme=https | :path=/', undefined],
  [`${GET} | accept=*/* | cookie=a | cookie=b`, undefined],
  [':method=OPTIONS | :scheme=https | :path=*', undefined],
  ['', /:method is missing/],
  ['accept=*/*', /:method is missing/],
  [':scheme=https | :path=/', /:method is missing/],
  [':method= | :scheme=https | :path=/', /:method is missing/],
  [':method=GET | :path=/', /:scheme is missing/],
  [':method=GET | :scheme=https', /:path is missing/],
  [':method=GET | :scheme=https | :path=', /:path is missing/],
  [`${GET} | :method=GET`, /:method twice/],
  [`${GET} | :path=/b`, /:path twice/],
  [`${GET} | :authority=b.test`, /:authority twice/],
  [`${GET} | :status=200`, /no pseudo-header field of a request: :status/],
  [`${GET} | :unknown=1`, /no pseudo-header field of a request: :unknown/],
  [`${GET} | :=1`, /no pseudo-header field of a request: :/],
  [`${GET} | accept=*/* | :path=/`, /in the wrong place: :path/],
  [':method=GET | accept=*/* | :scheme=https | :path=/', /:scheme is missing/],
  [`${GET} | connection=close`, /one HTTP\/1\.1 connection: connection/],
  [`${GET} | keep-alive=1`, /keep-alive/],
  [`${GET} | proxy-connection=close`, /proxy-connection/],
  [`${GET} | transfer-encoding=chunked`, /transfer-encoding/],
  [`${GET} | upgrade=h2c`, /upgrade/],
  [`${GET} | te=trailers`, undefined],
  [`${GET} | te=Trailers`, undefined],
  [`${GET} | te=gzip`, /te says/],
  [`${GET} | te=trailers, gzip`, /te says/],
  [':method=CONNECT | :authority=a.test:443', undefined],
  [':method=CONNECT', /CONNECT has an authority/],
  [':method=CONNECT | :authority=a.test:443 | :path=/', /CONNECT has/],
  [':method=CONNECT | :authority=a.test:443 | :scheme=https', /CONNECT has/],
]
const EXTENDED: typeof REQUESTS = [
  [':method=CONNECT | :protocol=websocket | :scheme=https | :authority=a.test | :path=/', undefined],
  [':method=CONNECT | :protocol=websocket | :authority=a.test', /:scheme is missing/],
  [':method=CONNECT | :protocol=websocket | :scheme=https | :authority=a.test', /:path is missing/],
  [`${GET} | :protocol=websocket`, /:protocol, which was not permitted/],
]
const RESPONSES: typeof REQUESTS = [
  [':status=200', undefined],
  [':status=100', undefined],
  [':status=999 | server=x', undefined],
  ['', /:status is missing/],
  ['server=x', /:status is missing/],
  ['server=x | :status=200', /:status is missing/],
  [':status=20', /no status/],
  [':status=2000', /no status/],
  [':status=099', /no status/],
  [':status=2x0', /no status/],
  [':status=200 | :status=200', /wrong place: :status/],
  [':status=200 | :path=/', /wrong place: :path/],
  [':status=200 | connection=close', /connection/],
  [':status=200 | te=trailers', undefined],
  [':status=200 | te=gzip', /te says/],
]
const TRAILERS: typeof REQUESTS = [
  ['', undefined],
  ['grpc-status=0 | grpc-message=', undefined],
  [':status=200', /wrong place/],
  ['grpc-status=0 | :path=/', /wrong place/],
  ['transfer-encoding=chunked', /transfer-encoding/],
]
const TABLES = [
  ['request', REQUESTS, (fields: string[]) => findRequestProblem(fields, false)],
  [
    'request where extended CONNECT is permitted',
    [...REQUESTS, ...EXTENDED],
    (fields: string[]) => findRequestProblem(fields, true),
  ],
  ['response', RESPONSES, findResponseProblem],
  ['trailers', TRAILERS, findTrailersProblem],
] as const
for (const [what, rows, problemOf] of TABLES) {
  for (const [fields, problem] of rows) {
    test(`${what} ${fields === '' ? 'of nothing' : fields}: ${problem === undefined ? 'may be' : 'malformed'}`, () => {
      const found = problemOf(list(fields))
      if (problem === undefined) assert.equal(found, undefined)
      else assert.match(found ?? 'nothing', problem)
    })
  }
}
for (const [fields] of EXTENDED)
  test(`without extended CONNECT: ${fields} is malformed`, () => {
    assert.match(findRequestProblem(list(fields), false) ?? '', /:protocol, which was not permitted/)
  })

test('a long name is cut where it is told', () => {
  assert.equal(
    findRequestProblem([`:${'x'.repeat(5000)}`, ''], false)?.length,
    64 + 'no pseudo-header field of a request: '.length,
  )
})

const LENGTHS: readonly (readonly [fields: string, length: number])[] = [
  ['', -1],
  ['content-length=0', 0],
  ['content-length=12', 12],
  ['content-length=12 | content-length=12', 12],
  ['a=1 | content-length=999999999999999', 999_999_999_999_999],
  ['content-length=', NaN],
  ['content-length=1x', NaN],
  ['content-length=-1', NaN],
  ['content-length=+1', NaN],
  ['content-length=1, 1', NaN],
  ['content-length= 1', NaN],
  ['content-length=1 | content-length=2', NaN],
  ['content-length=x | content-length=1', NaN],
  ['content-length=1000000000000000', NaN],
  ['x=content-length | content-length=3', 3],
]
for (const [fields, length] of LENGTHS)
  test(`the length that "${fields}" declares is ${length} (RFC 9110 §8.6)`, () => {
    assert.equal(readDeclaredLength(list(fields)), length)
  })

for (const [declared, end, problem] of [
  [-1, true, false],
  [-1, false, false],
  [0, true, false],
  [3, false, false],
  [3, true, true],
  [NaN, false, true],
  [NaN, true, true],
] as const) {
  test(`a length of ${declared} ${end ? 'without' : 'before'} DATA ${problem ? 'is malformed' : 'may be'}`, () => {
    assert.equal((end ? findEmptyBodyProblem : findLengthProblem)(declared) !== undefined, problem)
  })
}

test('the method is the one of :method, not a value that looks like its name', () => {
  assert.equal(readMethod([':authority', ':method', ':method', 'HEAD']), 'HEAD')
  assert.equal(readMethod([':authority', ':method', ':path', '/']), '')
  assert.equal(readMethod(['accept', '*/*', ':method', 'HEAD']), '')
  assert.equal(readMethod([]), '')
})
