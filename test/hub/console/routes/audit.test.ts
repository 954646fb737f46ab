import { test } from 'node:test'
import assert from 'node:assert/strict'
import { consoleRig } from '../console-rig.ts'

test('the audit log is narrowed by event, actor and time, and comes as CSV that no spreadsheet runs', async (t) => {
  const rig = await consoleRig(t)
  const { audit } = rig.hub.registry
  const cookie = await rig.login()
  const base = { address: '', detail: '', subject: 'gw-1' }
  await audit.add({ ...base, atMs: 1_000, actor: 'operator:ann', event: 'device.approved' })
  await audit.add({ ...base, atMs: 2_000, actor: 'operator:bob', event: 'device.revoked', detail: '=cmd|x!A0' })
  await audit.add({ ...base, atMs: 3_000, actor: 'operator:bob', event: 'token.revoked', detail: 'a,"b"\nc' })
  const ask = (path: string, q: string) => rig.ask({ path: `/api/v1/${path}?${q}`, cookie })
  const events = async (q: string) =>
    ((await ask('audit', `subject=gw-1&${q}`)).body['entries'] as { event: string }[]).map(({ event }) => event)
  assert.deepEqual(await events('event=device.'), ['device.revoked', 'device.approved'])
  assert.deepEqual(await events('event=device.revoked'), ['device.revoked'])
  assert.deepEqual(await events('event=device'), [], 'a whole name, or how it begins with its point')
  assert.deepEqual(await events('event=%25.'), [], 'no pattern')
  assert.deepEqual(await events('actor=operator:bob&since=2000&until=3000'), ['device.revoked'])
  assert.equal((await ask('audit', 'since=yesterday')).status, 400)
  const csv = await ask('audit.csv', 'subject=gw-1&actor=operator:bob')
  assert.match(String(csv.headers['content-type']), /^text\/csv/)
  assert.match(String(csv.headers['content-disposition']), /attachment/)
  assert.deepEqual(csv.text.split('\r\n').slice(0, 3), [
    'at,who,what,about,from,detail',
    '1970-01-01T00:00:03.000Z,operator:bob,token.revoked,gw-1,,"a,""b""\\u000ac"',
    `1970-01-01T00:00:02.000Z,operator:bob,device.revoked,gw-1,,"'=cmd|x!A0"`,
  ])
})
