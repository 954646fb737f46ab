import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import {
  createByteCount,
  createCallMetadata,
  createChannelCredentials,
  createChannelOptions,
  loadGrpc,
  chooseProof,
  reach,
  type ControlPlane,
} from '../../../control-sync/connection/control-plane.ts'
import { testCa } from '../../helpers/test-ca.ts'

const ca = testCa()
const control = (over: Partial<ControlPlane> = {}): ControlPlane => ({
  addresses: ['istiod.example:15012'],
  serverName: undefined,
  clusterId: 'Kubernetes',
  roots: () => Buffer.from(ca.rootsPem),
  token: () => 'TOKEN',
  ...over,
})
const code =
  (want: MeshError['code']) =>
  (err: unknown): boolean =>
    err instanceof MeshError && err.code === want

test('an address, and a name that nobody looks up here, are left to gRPC', async () => {
  assert.equal((await reach(control(), 'istiod.example:15012')).target, 'istiod.example:15012')
  const names = async (): Promise<string[]> => assert.fail('an address is not looked up')
  for (const address of ['10.0.0.1:15012', '[fd00::1]:15012'])
    assert.equal((await reach(control({ names }), address)).target, address)
})

test('of a name all addresses of one family are tried, the other family at the next turn', async () => {
  const names = async (host: string): Promise<string[]> => {
    assert.equal(host, 'istiod.example')
    return ['10.0.0.1', 'fd00::1', '10.0.0.2']
  }
  const targets = [0, 1, 2].map(async (turn) => (await reach(control({ names }), 'istiod.example:15012', turn)).target)
  assert.deepEqual(await Promise.all(targets), [
    'ipv4:10.0.0.1:15012,10.0.0.2:15012',
    'ipv6:[fd00::1]:15012',
    'ipv4:10.0.0.1:15012,10.0.0.2:15012',
  ])
})

test('through a proxy: it gets the name, nobody looks it up, and those of noProxy are reached directly', async () => {
  const names = async (): Promise<string[]> => ['10.0.0.1']
  const through = (host: string, noProxy: string[] = []) =>
    reach(
      control({ names, findProxy: () => ({ address: { host, port: 3128 }, credentials: 'a:b', noProxy }) }),
      'istiod.example:15012',
    )
  for (const [host, target] of [
    ['proxy.example', 'dns:proxy.example:3128'],
    ['10.0.0.9', 'ipv4:10.0.0.9:3128'],
    ['fd00::9', 'ipv6:[fd00::9]:3128'],
  ] as const) {
    const found = await through(host)
    assert.deepEqual(
      [found.target, found.options['grpc.http_connect_target'], found.options['grpc.http_connect_creds']],
      [target, 'dns:istiod.example:15012', 'a:b'],
    )
  }
  assert.equal((await through('proxy', ['.example'])).target, 'ipv4:10.0.0.1:15012')
})

test('the certificate is for the name that was looked up, or for control.serverName', async () => {
  const names = async (): Promise<string[]> => ['10.0.0.1']
  const nameOf = async (over: Partial<ControlPlane>): Promise<unknown> =>
    (await reach(control({ names, ...over }), 'a.example:1')).options['grpc.ssl_target_name_override']
  assert.deepEqual([await nameOf({}), await nameOf({ serverName: 'b.example' })], ['a.example', 'b.example'])
})

test('a channel keeps to what istiod allows and what agent.yaml says', () => {
  const options = createChannelOptions(control({ maxMessageBytes: 7 }))
  assert.equal(options['grpc.max_receive_message_length'], 7)
  assert.ok(options['grpc.keepalive_time_ms']! > 15_000, 'istiod closes connections that ping more often')
  assert.equal(options['grpc.enable_http_proxy'], 0)
  assert.equal(options['grpc.ssl_target_name_override'], undefined)
})

test('the proof is a certificate that is valid now; the token where there is none, or it was refused', () => {
  const identity = ca.issue('edge', 'gateway')
  const now = { wallMs: Date.now(), certificateRefused: false }
  const withCertificate = chooseProof(control(), identity, now)
  assert.deepEqual([withCertificate.identity, withCertificate.token], [identity, undefined])
  assert.match(withCertificate.shown, /spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway/)
  for (const proof of [
    chooseProof(control(), undefined, now),
    chooseProof(control(), identity, { ...now, certificateRefused: true }),
    chooseProof(control(), identity, { ...now, wallMs: identity.notAfterMs }),
  ])
    assert.deepEqual([proof.identity, proof.token], [undefined, 'TOKEN'])
  const noToken = control({ token: () => undefined })
  assert.equal(chooseProof(noToken, identity, { ...now, certificateRefused: true }).identity, identity)
  for (const [own, wallMs] of [
    [undefined, now.wallMs],
    [identity, identity.notAfterMs],
  ] as const)
    assert.throws(() => chooseProof(noToken, own, { ...now, wallMs }), code('MESH_NO_IDENTITY'))
})

test('whether a certificate is valid is asked of the certificate clock where there is one', () => {
  const identity = ca.issue('edge', 'gateway')
  const at = { wallMs: 0, certificateRefused: false }
  const certificateClock = { nowMs: () => identity.notAfterMs, clockIsWrong: true, seen: () => {} }
  assert.equal(chooseProof(control({ certificateClock }), identity, at).token, 'TOKEN')
})

test('a call carries the cluster, and the token where there is one', async () => {
  const grpc = await loadGrpc()
  assert.deepEqual(createCallMetadata(grpc, control(), 'T').getMap(), {
    clusterid: 'Kubernetes',
    authorization: 'Bearer T',
  })
  assert.deepEqual(createCallMetadata(grpc, control(), undefined).getMap(), { clusterid: 'Kubernetes' })
})

test('roots or a certificate that cannot be used are MESH_CONTROL_TLS; what the reader of roots says stays', async () => {
  const grpc = await loadGrpc()
  const identity = ca.issue('edge', 'gateway')
  assert.ok(createChannelCredentials(grpc, control(), identity))
  assert.throws(
    () => createChannelCredentials(grpc, control(), { ...identity, keyPem: ca.issue('edge', 'other').keyPem }),
    code('MESH_CONTROL_TLS'),
  )
  const roots = (): never => {
    throw new MeshError('MESH_CONFIG_INVALID', 'control.roots: there is no such file')
  }
  assert.throws(() => createChannelCredentials(grpc, control({ roots }), identity), code('MESH_CONFIG_INVALID'))
})

test('bytes are counted by purpose and direction', () => {
  const metrics = new Metrics()
  const count = createByteCount(metrics)
  count('cluster', 'received', 5)
  count('cluster', 'received', 6)
  count('certificate', 'sent', 1)
  assert.equal(metrics.total('mesh_control_bytes_total', { purpose: 'cluster', direction: 'received' }), 11)
  assert.equal(metrics.total('mesh_control_bytes_total'), 12)
})
