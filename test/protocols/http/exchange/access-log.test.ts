import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../../core/log.ts'
import { formatAccess, logAccess, type AccessRecord } from '../../../../protocols/http/exchange/access-log.ts'

const record: AccessRecord = {
  startedMs: 1_700_000_000_000,
  method: 'GET',
  path: '/a',
  protocol: 'HTTP/1.1',
  status: 503,
  flags: 'UH',
  errorCode: 'MESH_NO_ENDPOINT',
  receivedBytes: 1,
  sentBytes: 2,
  durationMs: 3.4,
  upstreamServiceMs: undefined,
  forwardedFor: undefined,
  userAgent: 'x"\n\\',
  requestId: 'id',
  authority: 'a',
  upstreamHost: undefined,
  upstreamCluster: undefined,
  downstreamLocal: 'l',
  downstreamRemote: 'r',
  serverName: '',
  routeName: undefined,
  peer: undefined,
  tries: 1,
}
test("the text form is Envoy's default, with header values that cannot end their quotes or the line", () => {
  assert.equal(
    formatAccess(record),
    '[2023-11-14T22:13:20.000Z] "GET /a HTTP/1.1" 503 UH 1 2 3 - "-" "x\\"\\x0a\\\\" "id" "a" "-"',
  )
})
test("the JSON form is one event with the record's fields", () => {
  let line = ''
  logAccess(
    createLog('info', {
      write: (text: string) => {
        line += text
      },
    }),
    'json',
    record,
  )
  const parsed = JSON.parse(line) as Record<string, unknown>
  assert.deepEqual([parsed['evt'], parsed['status'], parsed['errorCode']], ['http.access', 503, 'MESH_NO_ENDPOINT'])
})
