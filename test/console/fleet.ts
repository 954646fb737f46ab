/** A fleet in the registry of a hub that runs, with something of everything that the console shows. */
import { REPORT } from '../helpers/control-plane/report.ts'
import type { Hub } from '../../hub/hub.ts'
import { abortRollout, startRollout } from '../../hub/rollout/operate.ts'
import { findWave } from '../../hub/rollout/waves.ts'
import type { RolloutRecord } from '../../hub/registry/rollout/rollouts.ts'
import type { HistoryChange } from '../../hub/registry/reports.ts'
import { EVERYBODY } from '../../hub/rollout/scope.ts'
import { KEY_HOLDER } from '../../hub/registry/enrollments.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
export const REVISIONS = ['3f9a1c20b7d44e01', '91be07aa5c1d2f33'] as const
/** What whoever has a device may write into names and texts, to be shown as it is. */
export const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

const SITES = ['north', 'south', 'harbour', 'mill', 'depot']
/** The last of them says nowhere where it is. */
const PLACES = [
  ['53.5', '10'],
  ['48.1', '11.6E'],
  ['53.9', '8.1'],
  ['51.2', '6.8'],
] as const
const pad = (i: number): string => String(i).padStart(5, '0')

/** `gw-00000` and so on: most are connected. */
export async function seedDevices({ registry }: Hub, count: number, nowMs: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const name = `gw-${pad(i)}`
    const keyId = `key-${pad(i)}`
    const place = PLACES[i % SITES.length]
    const labels = {
      site: SITES[i % SITES.length]!,
      line: String(i % 7),
      ...(place && { lat: place[0], lon: place[1] }),
    }
    const address = `10.${(i >> 8) % 250}.${i % 250}.7`
    const of = { namespace: i % 10 === 9 ? 'lab' : 'edge', serviceAccount: 'gateway' }
    const spiffeUri = `spiffe://demo.mesh/ns/${of.namespace}/sa/gateway`
    await registry.enrollments.enroll({ name, keyId, ...of, jti: null, labels, address }, nowMs - 30 * DAY_MS)
    await registry.addCertificate({
      serial: `5e${pad(i)}a0c4`,
      spiffeUri,
      jti: null,
      device: KEY_HOLDER + keyId,
      ip: address,
      issuedMs: nowMs - 6 * HOUR_MS,
      notAfterMs: nowMs + 18 * HOUR_MS,
    })
    await registry.enrollments.renewed(name, {
      counter: 1,
      chain: 'c',
      previousChain: '',
      nonce: 'n',
      address,
      nowMs: nowMs - 6 * HOUR_MS,
      notAfterMs: nowMs + (i % 50 === 3 ? 3 * DAY_MS : 18 * HOUR_MS),
    })
    await registry.claimName({
      name,
      nodeId: `sidecar~${address}~${name}.edge~edge.svc.cluster.local`,
      spiffeUri,
      ip: address,
      holder: KEY_HOLDER + keyId,
      jti: undefined,
      nowMs: nowMs - DAY_MS,
    })
  }
  await markSeen({ registry }, count, nowMs)
  const problems = [{ code: 'MESH_CLOCK_WRONG', text: HOSTILE }]
  const report = { ...REPORT, problems, bridges: [{ cluster: 'upstream', state: 'waits', error: HOSTILE }] }
  await registry.reports.write(
    [{ name: 'gw-00005', atMs: nowMs, restarts: 2, expected: '', report }],
    listHistory(nowMs),
  )
}

const listHistory = (nowMs: number): HistoryChange[] =>
  Array.from({ length: 120 }, (_, i) => ({
    name: 'gw-00005',
    atMs: nowMs - (120 - i) * 60_000,
    connected: true,
    connects: i === 60 ? 1 : 0,
    rttMs: 40 + ((i * 7) % 23),
    bytes: 2_000 + i * 50,
    spool: i > 50 && i < 61 ? (i - 50) * 8 : 0,
    requests: 10,
    failures: 0,
    drops: 0,
    problems: 0,
  }))

/** Another hub on the same registry, which has the devices. */
const REPLICA = 'seed'
const BEAT_MS = 5_000

async function markSeen({ registry }: Pick<Hub, 'registry'>, count: number, nowMs: number): Promise<void> {
  await registry.registerReplica({ id: REPLICA, nowMs, isAlone: false })
  await registry.devicesChanged(
    Array.from({ length: count }, (_, i) => ({
      name: `gw-${pad(i)}`,
      connectedMs: i % 40 === 7 ? null : nowMs - (i % 300) * 60_000,
      lastSeenMs: i % 40 === 7 ? nowMs - 2 * HOUR_MS : nowMs,
      inForce: REVISIONS[i % 20 === 0 ? 1 : 0],
      inForceMs: nowMs - HOUR_MS,
      refused: i % 60 === 11 ? `listener inbound: ${HOSTILE}` : undefined,
    })),
    nowMs,
    REPLICA,
  )
}

const FILES = [
  'name: svc\ntimeout: 1s\n',
  'name: svc\ntimeout: 2s\nretries: 3\n# <script>document.title="owned"</script>\n',
] as const

/** Two revisions, of which the second is on its way to all in waves; and one that has halted before. */
export async function seedRollouts({ registry }: Pick<Hub, 'registry'>, nowMs: number): Promise<string> {
  for (const [i, id] of REVISIONS.entries())
    await registry.revisions.add({
      revision: { id, files: [{ path: 'svc.yaml', hash: `h${i}`, content: { resources: [], problems: [] } as never }] },
      nowMs: nowMs - (2 - i) * HOUR_MS,
      readSource: async () => Buffer.from(FILES[i]!),
    })
  const by = { actor: 'operator:root', address: '', nowMs: nowMs - HOUR_MS }
  const of = { scope: EVERYBODY, waves: '10%,50%,100%', halt: 'rejected>50, lost>20%, errors>2x' }
  const plan = { ...of, soakMs: 600_000, awayMs: 300_000 }
  await startRollout(registry, { ...plan, to: REVISIONS[0], now: true }, by)
  await startRollout(registry, { ...plan, to: REVISIONS[1] }, { ...by, nowMs: nowMs - 60_000 })
  await abortRollout(registry, { ...by, nowMs: nowMs - 50_000, why: HOSTILE })
  return (await startRollout(registry, { ...plan, to: REVISIONS[1] }, { ...by, nowMs })).id
}

/** The first wave takes what it is sent, but for some. @returns its devices */
export async function takeFirstWave(
  { registry }: Pick<Hub, 'registry'>,
  rollout: RolloutRecord,
  p: { readonly refusing: number },
): Promise<readonly string[]> {
  const nowMs = Date.now()
  const inWave = (await registry.fleet.states()).filter(({ name }) => findWave(rollout, name) === 0)
  // What a device that was away refuses when it comes is taken for what it refused before.
  const wave = inWave.toSorted((a, b) => Number(b.isConnected) - Number(a.isConnected)).map(({ name }) => name)
  await registry.devicesChanged(
    wave.map((name, i) => ({
      name,
      connectedMs: nowMs,
      lastSeenMs: nowMs,
      inForce: i < p.refusing ? REVISIONS[0] : rollout.to,
      inForceMs: nowMs,
      refused: i < p.refusing ? `cluster svc: ${HOSTILE}` : undefined,
    })),
    nowMs,
    REPLICA,
  )
  return wave
}

/** @returns its end */
export function keepAlive({ registry }: Pick<Hub, 'registry'>): () => void {
  const beat = setInterval(() => {
    registry.devicesChanged([], Date.now(), REPLICA).catch(() => {
      /* the hub has stopped */
    })
  }, BEAT_MS)
  return () => clearInterval(beat)
}

/** Who waits, who was found twice, who was revoked; tokens; and names that try to be more than names. */
export async function seedEnrolment(hub: Hub, nowMs: number): Promise<void> {
  const { registry } = hub
  const asks = { namespace: 'edge', serviceAccount: 'gateway', jti: null, askedMs: nowMs - 5 * 60_000 }
  const why = 'every device of its token does'
  await registry.enrollments.ask({
    ...asks,
    name: 'gw-new',
    keyId: 'key-new',
    labels: { site: 'mill' },
    address: '10.9.9.9',
    why,
  })
  await registry.enrollments.ask({
    ...asks,
    name: 'gw-00001',
    keyId: 'key-other',
    labels: { note: HOSTILE },
    address: HOSTILE,
    why: `the name belongs to another key, last seen at ${HOSTILE}`,
  })
  await registry.enrollments.markCloned('gw-00002', {
    addresses: '10.0.2.7, 198.51.100.3',
    nowMs: nowMs - HOUR_MS,
    state: 'suspended',
  })
  await registry.enrollments.revoke('gw-00004', nowMs - 2 * HOUR_MS)
  const token = { namespace: 'edge', serviceAccount: 'gateway', ttlSec: 86_400 }
  await hub.createToken({ ...token, nodes: 'gw-*', labels: { site: 'north' } })
  await hub.createToken({ ...token, nodes: 'gw-17', maxUses: 1, approval: true })
  const { jti } = await hub.createToken({ ...token, namespace: 'lab', nodes: 'lab-*' })
  await registry.revokeToken(jti, nowMs)
  const events = ['device.joined', 'device.approved', 'device.cloned', 'token.created'] as const
  for (let i = 0; i < 130; i++)
    await registry.audit.add({
      atMs: nowMs - (130 - i) * 60_000,
      actor: i % 3 === 0 ? 'operator:root' : `device:gw-${pad(i)}`,
      event: events[i % events.length]!,
      subject: `gw-${pad(i)}`,
      address: i % 3 === 0 ? '' : '10.0.0.7',
      detail: i === 128 ? HOSTILE : `key key-${pad(i)}, token 0b1f`,
      namespace: 'edge',
    })
}
