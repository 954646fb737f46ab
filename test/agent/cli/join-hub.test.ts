/** A device joins its hub by one command and lives by its key from then on; real sockets, real agents. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { listPins } from '../../../core/pki/pin.ts'
import { passage } from '../../control-sync/fleet/passage.ts'
import { meshlet } from '../../scenarios/cli.ts'
import { until } from '../../scenarios/site.ts'
import { API, device, startDevice } from '../../scenarios/fleet/device.ts'
import { testHub } from '../../hub/start-hub.ts'

const edge = (nodes: string) => ({ namespace: 'edge', serviceAccount: 'gateway', nodes })

test('one command: key, certificate and agent.yaml; the token is spent, the key renews, the name is the device’s', async (t) => {
  const h = await testHub(t, API)
  const d = device(t, h)
  const token = (await h.hub.createToken({ ...edge('gw-17'), maxUses: 1, labels: { site: 'north' } })).token
  const joined = await d.join(token)
  assert.deepEqual([joined.code, joined.err], [0, ''])
  assert.match(joined.out, /^joined as gw-17, spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway, certificate valid until /)
  assert.equal(fs.statSync(`${d.state}/identity/device-key.pem`).mode & 0o777, 0o600)
  assert.equal(fs.statSync(`${d.state}/identity/enrollment.json`).mode & 0o777, 0o600)
  const yaml = fs.readFileSync(d.file, 'utf8')
  assert.match(yaml, /^# mine\n/, 'comments stay')
  assert.equal(yaml.includes(token), false)
  const known = (await h.hub.registry.enrollments.byName('gw-17'))!
  assert.deepEqual([known.state, known.counter, known.labels], ['active', 1, { site: 'north' }])
  assert.deepEqual(await h.hub.registry.devicesOfToken(known.jti!), ['gw-17'])

  const agent = await startDevice(t, d)
  await agent.connected()
  await until('the hub shows it', async () =>
    (await h.hub.registry.devices()).find((r) => r.name === 'gw-17' && r.connectedMs !== null),
  )
  assert.deepEqual(
    (await h.hub.registry.audit.list({ subject: 'gw-17', most: 9 })).map((r) => r.event),
    ['device.joined'],
  )
  const second = device(t, h)
  const spent = await second.join(token)
  assert.equal(spent.code, 1)
  assert.match(spent.err, /MESH_TOKEN_INVALID: .*the join token is used up/)
  assert.equal(fs.existsSync(`${second.state}/identity/identity.json`), false)
  const again = await d.join(token)
  assert.equal(again.code, 2)
  assert.match(again.err, /this machine has joined already/)
})

test('the hub is known by the pin of the token, or of the command line; another hub gets nothing', async (t) => {
  const [h, other] = [await testHub(t, API), await testHub(t, API)]
  const token = (await h.hub.createToken(edge('gw-*'))).token
  const d = device(t, h)
  const wrong = await meshlet(['join', `https://127.0.0.1:${other.hub.apiPort}`, '-c', d.file, '--name', 'gw-1'], token)
  assert.equal(wrong.code, 1)
  assert.match(wrong.err, /MESH_CONTROL_TLS: .*has the pin that the token or --ca-pin names; it shows sha256:/)
  assert.deepEqual(
    other.lines.filter((line) => line['evt'] === 'hub.api-refused'),
    [],
    'the token was not sent',
  )
  const [pin] = listPins(h.hub.rootsPem)
  assert.equal((await d.join(token, '--name', 'gw-1', '--ca-pin', pin!)).code, 0)
  const foreign = await device(t, other).join(token, '--ca-pin', listPins(other.hub.rootsPem)[0]!)
  assert.match(foreign.err, /MESH_TOKEN_INVALID: .*is not signed by this hub/)
})

test('approval: who waits gets nothing, comes in by itself when an operator says so, and lost state waits again', async (t) => {
  const h = await testHub(t, API)
  const d = device(t, h)
  const { token } = await h.hub.createToken({ ...edge('gw-*'), approval: true })
  const said = await d.join(token, '--name', 'gw-5')
  assert.equal(said.code, 0)
  assert.match(said.out, /^gw-5 waits for approval, with the key [\w-]{43}/)
  assert.equal(fs.existsSync(`${d.state}/identity/identity.json`), false)
  const agent = await startDevice(t, d)
  await until('it says what it waits for', () => agent.problems().includes('MESH_DEVICE_PENDING'))
  const waits = (await h.hub.registry.enrollments.request({ name: 'gw-5' }))!
  await h.hub.registry.enrollments.enroll(waits, Date.now())
  await agent.connected()
  await agent.stop()

  fs.rmSync(`${d.state}/identity`, { recursive: true })
  const lost = await d.join((await h.hub.createToken(edge('gw-5'))).token)
  assert.match(lost.out, /^gw-5 waits for approval/)
  assert.match(
    (await h.hub.registry.enrollments.request({ name: 'gw-5' }))!.why,
    /belongs to another key, last seen at 127\.0\.0\.1/,
  )
})

test('agent.yaml could not be written: the same command again, with a token that is spent, is the same join', async (t) => {
  const h = await testHub(t, API)
  const d = device(t, h)
  const token = (await h.hub.createToken({ ...edge('gw-17'), maxUses: 1 })).token
  // What stands in the way of a new file, for root, too.
  const roots = `${d.state}/identity/hub-roots.pem`
  fs.mkdirSync(`${d.state}/identity`, { recursive: true, mode: 0o700 })
  fs.chmodSync(d.state, 0o700)
  fs.mkdirSync(`${roots}/in-the-way`, { recursive: true })
  const failed = await d.join(token)
  assert.match(failed.err, /MESH_STATE_UNUSABLE: .*cannot be written/)
  fs.rmSync(roots, { recursive: true })
  const again = await d.join(token)
  assert.deepEqual([again.code, again.err], [0, ''])
  assert.equal((await h.hub.registry.enrollments.byName('gw-17'))?.counter, 1)
})

/** Beside the one that opens the TCP connection. */
const FLIGHTS = 2
const ONE_WAY_MS = 300

test('joining takes three round trips, whatever the token is for: two seconds over a satellite', async (t) => {
  const h = await testHub(t, API)
  for (const nodes of ['gw-1', '*']) {
    const { state, port } = await passage(t, h.hub.apiPort!, undefined, ONE_WAY_MS)
    const { token } = await h.hub.createToken(edge(nodes))
    const beganMs = performance.now()
    const joined = await meshlet(['join', `https://127.0.0.1:${port}`, '-c', device(t, h).file], token)
    t.diagnostic(`joined over ${2 * ONE_WAY_MS} ms there and back: ${Math.round(performance.now() - beganMs)} ms`)
    assert.equal(joined.code, 0, joined.err)
    assert.deepEqual([state.connections, state.flights], [1, FLIGHTS], nodes)
  }
})
